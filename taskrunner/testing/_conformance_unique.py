"""Unique jobs: who has a key, up to when, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskrunner.brokers.base import (
    ACCEPTED,
    Blame,
    Broker,
    JobKey,
    Limits,
    Note,
    OutcomeKind,
    Receipt,
    Tick,
    TickKind,
)
from taskrunner.message import EXISTING, REPLACE, UNTIL_STARTED, Lock, Message
from taskrunner.states import FINISHED, State
from taskrunner.testing._conformance_kit import BrokerKit, Damage, Store, make_message

KEY = "t =k"
LOCK = Lock(KEY)
TAKEN = Receipt(False, duplicate_of="a")
INSTEAD = Receipt(True, existing="a")


def unique(job_id: str, lock: Lock = LOCK, **fields: Any) -> Message:
    return replace(make_message(job_id, **fields), lock=lock)


def offer(store: Store, job_id: str, lock: Lock = LOCK, **fields: Any) -> Receipt:
    store.given[fields.get("queue", "q")].add(job_id)
    return store.broker.enqueue([unique(job_id, lock, **fields)])[0]


def run(store: Store, job_id: str = "a", lock: Lock = LOCK, **fields: Any) -> Any:
    """A unique job that is active."""
    store.join()
    assert offer(store, job_id, lock, **fields) == ACCEPTED
    return store.fetch_one()


class UniqueTests(BrokerKit):
    def test_a_second_job_with_the_key_is_refused_and_told_which_has_it(self, store: Store) -> None:
        assert offer(store, "a") == ACCEPTED
        assert offer(store, "b") == TAKEN
        assert store.find("b") is None
        assert offer(store, "b", Lock("t =other")) == ACCEPTED
        assert store.enqueue("c") == [ACCEPTED]
        assert offer(store, "d", queue="r") == ACCEPTED

    def test_two_of_one_call_are_in_each_others_way_too(self, store: Store) -> None:
        store.given["q"] |= {"a", "b"}
        found = store.broker.enqueue([unique("a"), make_message("x"), unique("b")])
        store.given["q"].add("x")
        assert found == [ACCEPTED, ACCEPTED, TAKEN]

    def test_a_repeat_is_no_conflict(self, store: Store) -> None:
        assert [offer(store, "a") for _ in range(2)] == [ACCEPTED, ACCEPTED]
        assert offer(store, "b", call="1") == TAKEN
        assert offer(store, "b", call="1") == TAKEN

    def test_a_long_key_is_a_key(self, store: Store) -> None:
        lock = Lock("ü" * 200)
        assert offer(store, "a", lock) == ACCEPTED
        assert offer(store, "b", lock) == TAKEN
        assert offer(store, "c", Lock("ü" * 201)) == ACCEPTED

    # -- up to when

    @pytest.mark.parametrize("state", sorted(set(State) - FINISHED))
    def test_the_key_stays_taken_while_the_job_is_unfinished(
        self, store: Store, state: State
    ) -> None:
        if state is State.SCHEDULED:
            offer(store, "a", delay=100.0)
        elif state is State.PENDING:
            offer(store, "a")
        else:
            delivery = run(store)
            if state is not State.ACTIVE:
                kind = OutcomeKind.RETRY if state is State.RETRYING else OutcomeKind.PARKED
                store.settle(delivery, kind, delay=100.0, park_key="k")
        assert store.state("a") is state
        assert offer(store, "b") == TAKEN

    @pytest.mark.parametrize("retention", [0.0, 100.0])
    @pytest.mark.parametrize(
        "kind",
        [OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.CANCELLED, OutcomeKind.EXPIRED],
    )
    def test_any_end_of_a_run_frees_the_key(
        self, store: Store, kind: OutcomeKind, retention: float
    ) -> None:
        state = store.settle(run(store), kind, retention=retention, blame=Blame.CRASH)
        assert state in FINISHED
        assert store.audit() == []  # and nothing of it is left
        assert offer(store, "b") == ACCEPTED
        assert offer(store, "c") == Receipt(False, duplicate_of="b")

    def test_a_cancel_frees_the_key_when_the_run_has_ended(self, store: Store) -> None:
        delivery = run(store)
        store.cancel("a")
        assert offer(store, "b") == TAKEN
        store.settle(delivery)
        assert offer(store, "b") == ACCEPTED
        store.cancel("b")
        assert store.audit() == []
        assert offer(store, "c") == ACCEPTED

    def test_expiry_and_deadline_free_the_key(self, store: Store) -> None:
        store.join()
        offer(store, "a", expires_in=10.0)
        store.later(11.0)
        store.sweep()
        assert offer(store, "b", deadline=store.broker.now() + 10.0) == ACCEPTED
        store.later(11.0)
        store.join()
        assert store.fetch() == []
        assert store.state("b") is State.FAILED
        assert offer(store, "c", expires_in=10.0) == ACCEPTED
        store.later(11.0)
        store.join()
        assert store.fetch() == []
        assert offer(store, "d") == ACCEPTED

    def test_a_parked_job_whose_time_is_up_frees_the_key(self, store: Store) -> None:
        store.settle(run(store), OutcomeKind.PARKED, started=False, park_key="k", delay=10.0)
        store.later(11.0)
        store.sweep()
        assert store.state("a") is State.FAILED
        assert offer(store, "b") == ACCEPTED

    def test_a_lost_node_keeps_the_key_and_frees_it_where_a_cancel_waits(
        self, store: Store
    ) -> None:
        run(store)
        store.lose()
        assert offer(store, "b") == TAKEN
        store.join("n2")
        store.fetch_one(node="n2")
        store.cancel("a")
        store.lose()
        assert store.state("a") is State.CANCELLED
        assert offer(store, "b") == ACCEPTED

    def test_a_retry_keeps_the_key(self, store: Store) -> None:
        store.settle(run(store), OutcomeKind.RETRY, blame=Blame.FAILURE)
        assert offer(store, "b") == TAKEN
        store.settle(store.fetch_one())
        assert offer(store, "b") == ACCEPTED

    def test_the_key_is_free_when_its_time_is_over_whatever_the_job_does(
        self, store: Store
    ) -> None:
        lock = Lock(KEY, seconds=30.0)
        first = run(store, lock=lock)
        store.later(25.0)
        assert offer(store, "b", lock) == TAKEN
        store.later(6.0)
        assert offer(store, "b", lock) == ACCEPTED
        store.join()
        store.settle(first)  # gives back nothing: the key is that of the other
        assert offer(store, "c", lock) == Receipt(False, duplicate_of="b")

    @pytest.mark.parametrize("how", ["noted", "settled"])
    def test_until_it_starts(self, store: Store, how: str) -> None:
        lock = Lock(KEY, until=UNTIL_STARTED)
        delivery = run(store, lock=lock)
        assert offer(store, "b", lock) == TAKEN
        if how == "noted":
            note = Note(delivery.queue, delivery.id, delivery.number, 1, 0.0)
            assert store.broker.note(delivery.node, [note]) == [True]
        else:
            store.settle(delivery, OutcomeKind.RETRY, delay=100.0)
        assert offer(store, "b", lock) == ACCEPTED
        assert offer(store, "c", lock) == Receipt(False, duplicate_of="b")
        store.cancel("a")
        assert offer(store, "c", lock) == Receipt(False, duplicate_of="b")

    def test_given_back_unstarted_it_has_the_key_still(self, store: Store) -> None:
        lock = Lock(KEY, until=UNTIL_STARTED)
        store.settle(run(store, lock=lock), OutcomeKind.RELEASED, started=False)
        assert offer(store, "b", lock) == TAKEN

    def test_the_id_of_a_finished_unique_job_may_be_used_again(self, store: Store) -> None:
        store.settle(run(store, call="1"))
        assert store.enqueue("a", call="2") == [ACCEPTED]
        assert offer(store, "b") == ACCEPTED
        store.cancel("a")
        assert offer(store, "a", call="3") == Receipt(False, duplicate_of="b")
        assert store.state("a") is State.CANCELLED

    @pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
    def test_a_job_that_begins_anew_takes_its_key_again_or_does_not_begin(
        self, store: Store, state: State
    ) -> None:
        a = JobKey("q", "a")
        if state is State.FAILED:
            store.settle(run(store), OutcomeKind.FAILED)
        else:
            offer(store, "a")
            store.cancel("a")
        offer(store, "b")
        assert store.broker.requeue([a]) == [False]
        assert store.state("a") is state
        store.cancel("b")
        assert store.broker.requeue([a]) == [True]
        assert offer(store, "c") == TAKEN
        assert store.broker.delete([a]) == [True]
        assert store.audit() == []
        assert offer(store, "c") == ACCEPTED

    def test_one_whose_window_is_over_begins_anew_beside_another(self, store: Store) -> None:
        store.settle(run(store, lock=Lock(KEY, seconds=30.0)), OutcomeKind.FAILED)
        store.later(31.0)
        offer(store, "b")
        assert store.broker.requeue([JobKey("q", "a")]) == [True]
        assert offer(store, "c") == Receipt(False, duplicate_of="b")

    # -- the job that is there

    @pytest.mark.parametrize("state", sorted(set(State) - FINISHED))
    def test_existing_answers_the_job_that_has_the_key(self, store: Store, state: State) -> None:
        if state in (State.SCHEDULED, State.PENDING):
            offer(store, "a", delay=100.0 if state is State.SCHEDULED else None)
        else:
            delivery = run(store)
            if state is not State.ACTIVE:
                kind = OutcomeKind.RETRY if state is State.RETRYING else OutcomeKind.PARKED
                store.settle(delivery, kind, delay=100.0, park_key="k")
        before = store.record("a")
        wanted = Lock(KEY, on_conflict=EXISTING)
        assert [offer(store, "b", wanted) for _ in range(2)] == [INSTEAD, INSTEAD]
        assert store.find("b") is None
        assert store.record("a") == before

    # -- debounce

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.PENDING, State.RETRYING])
    @pytest.mark.parametrize("delay", [None, 50.0])
    def test_replace_keeps_the_id_and_takes_the_rest(
        self, store: Store, state: State, delay: float | None
    ) -> None:
        bring_unique_to(store, state)
        before = store.record("a")
        wanted = Lock(KEY, on_conflict=REPLACE)
        new = {"body": b"new" * 40, "priority": 8, "delay": delay, "expires_in": 500.0}
        assert offer(store, "b", wanted, **new) == INSTEAD
        assert store.find("b") is None
        record = store.record("a")
        assert record.wire == make_message("a", body=b"new" * 40).wire
        assert record.state is (State.SCHEDULED if delay else State.PENDING)
        assert (record.priority, record.replaced, record.failures) == (8, 1, 0)
        assert record.created_at == before.created_at
        assert record.attempts == before.attempts
        assert record.expires_at == pytest.approx(store.broker.now() + 500.0, abs=2.0)
        store.check_counts()
        if delay:
            store.later(delay + 1.0)
            assert store.promote() == 1
        store.join()
        assert [d.id for d in store.fetch(5)] == ["a"]

    def test_replace_a_parked_one(self, store: Store) -> None:
        store.settle(run(store), OutcomeKind.PARKED, started=False, park_key="k", delay=100.0)
        assert offer(store, "b", Lock(KEY, on_conflict=REPLACE), body=b"new") == INSTEAD
        record = store.record("a")
        assert (record.state, record.park_key) == (State.PENDING, None)
        assert store.fetch_one().wire == make_message("a", body=b"new").wire

    @pytest.mark.parametrize("last", [None, 90.0])
    def test_replace_again_and_again_in_one_call(self, store: Store, last: float | None) -> None:
        wanted = Lock(KEY, on_conflict=REPLACE)
        store.given["q"].add("a")
        names = ["a", "b", "c", "d", "e"]
        delays = [None, 50.0, None, 80.0, last]
        sent = [unique(n, wanted, delay=d) for n, d in zip(names, delays, strict=True)]
        assert store.broker.enqueue(sent) == [ACCEPTED, *[INSTEAD] * 4]
        record = store.record("a")
        assert (record.state, record.replaced) == (State.SCHEDULED if last else State.PENDING, 4)
        if last:
            assert record.eta == pytest.approx(store.broker.now() + last, abs=2.0)
        store.check_counts()
        assert store.audit() == []

    def test_a_replacement_that_is_repeated_is_made_once(self, store: Store) -> None:
        wanted = Lock(KEY, on_conflict=REPLACE)
        offer(store, "a", wanted)
        assert offer(store, "b", wanted) == INSTEAD
        assert offer(store, "b", wanted) == INSTEAD
        assert store.record("a").replaced == 1
        store.join()
        store.settle(store.fetch_one())
        assert offer(store, "b", wanted) == INSTEAD  # and not a job that runs once more
        assert store.fetch() == []

    def test_what_runs_is_not_replaced(self, store: Store) -> None:
        wanted = Lock(KEY, on_conflict=REPLACE)
        run(store, lock=wanted)
        before = store.record("a")
        assert offer(store, "b", wanted) == TAKEN
        assert store.record("a") == before

    def test_a_late_settle_does_not_end_what_was_replaced_since(self, store: Store) -> None:
        wanted = Lock(KEY, on_conflict=REPLACE)
        delivery = run(store, lock=wanted)
        store.lose()
        assert offer(store, "b", wanted, body=b"new") == INSTEAD
        assert store.settle(delivery) is None
        assert store.state("a") is State.PENDING
        store.join("n2")
        assert store.fetch_one(node="n2").wire == make_message("a", body=b"new").wire

    def test_a_replacement_brings_its_own_window(self, store: Store) -> None:
        offer(store, "a", Lock(KEY, seconds=30.0))
        store.later(20.0)
        assert offer(store, "b", Lock(KEY, seconds=30.0, on_conflict=REPLACE)) == INSTEAD
        store.later(20.0)
        assert offer(store, "c") == TAKEN
        store.later(20.0)
        assert offer(store, "c") == ACCEPTED

    # -- schedules

    @pytest.mark.parametrize("on_conflict", ["reject", EXISTING])
    def test_a_slot_whose_job_would_not_be_unique_has_none(
        self, store: Store, on_conflict: str
    ) -> None:
        offer(store, "a")
        store.given["q"].add("b")
        lock = Lock(KEY, on_conflict=on_conflict)
        tick = Tick("s", unique("b", lock), 10.0, 0.0, 1, store.broker.now())
        assert [t.kind for t in store.broker.tick([tick])] == [TickKind.DUPLICATE]
        store.cancel("a")
        later = tick._replace(slot=20.0)
        assert [t.kind for t in store.broker.tick([later])] == [TickKind.SUBMITTED]
        assert offer(store, "c") == Receipt(False, duplicate_of="b")

    # -- whatever happens to the store

    def test_what_is_swept_has_no_key(self, fresh_broker: Callable[..., Broker]) -> None:
        store = Store(fresh_broker(limits=Limits(failed_retention=10.0)))
        store.settle(run(store), OutcomeKind.FAILED)
        store.later(11.0)
        store.sweep()
        assert store.find("a") is None
        assert offer(store, "b") == ACCEPTED
        assert store.audit() == []

    def test_a_key_whose_job_is_gone_is_free_and_an_audit_says_so(self, store: Store) -> None:
        offer(store, "a", delay=100.0)
        if not self.damage(store.broker, Damage.DROPPED_RECORD, JobKey("q", "a")):
            pytest.skip("this store cannot be damaged like that")
        assert {f.subject for f in store.audit(repair=True)} >= {"a"}
        assert store.audit() == []
        assert offer(store, "b") == ACCEPTED


def bring_unique_to(store: Store, state: State) -> None:
    if state is State.RETRYING:
        store.settle(
            run(store), OutcomeKind.RETRY, delay=100.0, blame=Blame.FAILURE, reason="r" * 80
        )
    else:
        offer(store, "a", delay=100.0 if state is State.SCHEDULED else None, expires_in=90.0)
    assert store.state("a") is state
