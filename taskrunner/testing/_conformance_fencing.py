"""Fencing: what a token may still do, and every call twice."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Blame, Delivery, Note, OutcomeKind
from taskrunner.states import State
from taskrunner.testing._conformance_kit import RETENTION, BrokerKit, Store

STATE_AFTER = [
    (OutcomeKind.SUCCEEDED, State.SUCCEEDED),
    (OutcomeKind.FAILED, State.FAILED),
    (OutcomeKind.RETRY, State.RETRYING),
    (OutcomeKind.RELEASED, State.PENDING),
    (OutcomeKind.CANCELLED, State.CANCELLED),
    (OutcomeKind.EXPIRED, State.EXPIRED),
    (OutcomeKind.PARKED, State.WAITING),
]
DELAY = 50.0


def is_fenced(store: Store, stale: Delivery) -> None:
    """Nothing written under this token changes the record."""
    before = store.record(stale.id)
    for kind in OutcomeKind:
        answer = store.settle(stale, kind, error=b"stale", blame=Blame.FAILURE, result=b"stale")
        assert answer is None, kind
    note = Note(stale.queue, stale.id, stale.number, 1, 0.0, b"stale")
    assert store.broker.note(stale.node, [note]) == [False]
    assert store.record(stale.id) == before
    store.check_counts()


class FencingTests(BrokerKit):
    # -- stale tokens

    def test_stale_after_a_retry(self, store: Store) -> None:
        stale = store.run("a")
        store.settle(stale, OutcomeKind.RETRY, delay=0.0)
        current = store.fetch_one()
        is_fenced(store, stale)
        assert store.settle(current) is State.SUCCEEDED
        is_fenced(store, stale)

    def test_stale_after_a_retry_that_waited(self, store: Store) -> None:
        stale = store.run("a")
        store.settle(stale, OutcomeKind.RETRY, delay=DELAY)
        store.later(DELAY + 1)
        store.promote()
        store.fetch_one()
        is_fenced(store, stale)

    def test_stale_after_an_unpenalised_give_back(self, store: Store) -> None:
        stale = store.run("a")
        store.settle(stale, OutcomeKind.RELEASED, started=False)
        store.join("n2")
        current = store.fetch_one(node="n2")
        is_fenced(store, stale)
        assert store.settle(current) is State.SUCCEEDED

    def test_stale_after_it_was_taken_back_and_fetched(self, store: Store) -> None:
        stale = store.run("a", node="lost")
        assert store.lose() == 1
        current = store.fetch_one(node="observer")
        is_fenced(store, stale)
        assert store.settle(current) is State.SUCCEEDED

    def test_another_node_or_number_is_no_token(self, store: Store) -> None:
        delivery = store.run("a")
        is_fenced(store, delivery._replace(number=delivery.number + 1))
        is_fenced(store, delivery._replace(node="n2"))
        assert store.settle(delivery) is State.SUCCEEDED

    def test_a_new_job_of_the_same_id_is_not_touched(self, store: Store) -> None:
        stale = store.run("a", call="first")
        store.settle(stale)
        store.enqueue("a", call="second")
        is_fenced(store, stale)
        store.fetch_one()
        is_fenced(store, stale)

    def test_no_delivery_no_token(self, store: Store) -> None:
        delivery = store.run("a")
        store.enqueue("b")
        is_fenced(store, delivery._replace(id="b"))

    # -- repeats

    @pytest.mark.parametrize(("kind", "state"), STATE_AFTER)
    def test_a_repeated_settle_is_answered_like_the_first(
        self, store: Store, kind: OutcomeKind, state: State
    ) -> None:
        delivery = store.run("a")
        fields = {"delay": DELAY, "error": b"error", "blame": Blame.FAILURE}
        assert store.settle(delivery, kind, **fields) is state
        before = store.record("a")
        assert store.settle(delivery, kind, **fields) is state
        assert store.record("a") == before

    def test_a_repeat_is_answered_the_same_when_the_job_has_moved_on(self, store: Store) -> None:
        delivery = store.run("a")
        assert store.settle(delivery, OutcomeKind.RETRY, delay=DELAY) is State.RETRYING
        store.later(DELAY + 1)
        store.promote()
        assert store.settle(delivery, OutcomeKind.RETRY, delay=DELAY) is State.RETRYING
        assert store.state("a") is State.PENDING
        store.cancel("a")
        assert store.settle(delivery, OutcomeKind.RETRY, delay=DELAY) is State.RETRYING
        assert store.state("a") is State.CANCELLED

    def test_a_repeated_settle_is_known_when_the_record_is_gone_already(self, store: Store) -> None:
        delivery = store.run("a")
        assert store.settle(delivery, retention=0.0) is State.SUCCEEDED
        assert store.settle(delivery, retention=0.0) is State.SUCCEEDED
        assert store.settle(delivery._replace(number=99), retention=0.0) is None
        assert store.stats().processed == 1

    def test_a_settled_token_settles_nothing_else(self, store: Store) -> None:
        delivery = store.run("a")
        store.settle(delivery, OutcomeKind.RELEASED, started=False)
        assert store.settle(delivery, OutcomeKind.SUCCEEDED) is State.PENDING
        assert store.state("a") is State.PENDING

    def test_a_settled_token_notes_nothing(self, store: Store) -> None:
        delivery = store.run("a")
        note = Note("q", "a", delivery.number, 1, 0.0, b"late")
        store.settle(delivery)
        assert store.broker.note("n1", [note]) == [False]
        assert store.record("a").progress is None

    # -- late, but not too late

    @pytest.mark.parametrize(("kind", "state"), STATE_AFTER)
    def test_a_late_settle_is_taken_while_nobody_has_fetched_the_job(
        self, store: Store, kind: OutcomeKind, state: State
    ) -> None:
        late = store.run("a", node="lost")
        assert store.lose() == 1
        assert store.settle(late, kind, delay=DELAY, result=b"late") is state
        record = store.record("a")
        assert (record.state, record.attempts, record.losses) == (state, 1, 1)
        store.check_counts()
        assert store.settle(late, kind, delay=DELAY, result=b"late") is state
        expected = ["a"] if state is State.PENDING else []
        assert [d.id for d in store.fetch(5, node="observer")] == expected

    def test_a_late_settle_is_taken_after_the_node_left(self, store: Store) -> None:
        late = store.run("a")
        store.broker.leave("n1", ["q"])
        assert store.state("a") is State.PENDING
        assert store.settle(late) is State.SUCCEEDED

    def test_a_late_retry_at_once_leaves_the_job_where_it_waits(self, store: Store) -> None:
        late = store.run("a", node="lost")
        store.lose()
        answer = store.settle(late, OutcomeKind.RETRY, delay=0.0, blame=Blame.CRASH)
        assert answer is State.PENDING
        assert store.record("a").crashes == 1
        assert [d.id for d in store.fetch(5, node="observer")] == ["a"]

    def test_a_late_note_is_not_taken(self, store: Store) -> None:
        late = store.run("a", node="lost")
        store.lose()
        assert store.broker.note("lost", [Note("q", "a", late.number, 1, 0.0)]) == [False]
        assert store.record("a").pid is None

    def test_too_late_when_the_job_was_cancelled_meanwhile(self, store: Store) -> None:
        late = store.run("a", node="lost")
        store.lose()
        assert store.cancel("a") is True
        is_fenced(store, late)

    def test_too_late_when_the_job_expired_meanwhile(self, store: Store) -> None:
        late = store.run("a", node="lost", expires_in=RETENTION)
        store.lose()
        store.later(RETENTION)
        store.sweep()
        assert store.state("a") is State.EXPIRED
        is_fenced(store, late)
