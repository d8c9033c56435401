"""Settling: what each outcome makes of a job, and what is written down about it."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import ERRORS_KEPT, Blame, Note, OutcomeKind
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store, make_outcome

ENDS = [
    (OutcomeKind.SUCCEEDED, State.SUCCEEDED),
    (OutcomeKind.FAILED, State.FAILED),
    (OutcomeKind.CANCELLED, State.CANCELLED),
    (OutcomeKind.EXPIRED, State.EXPIRED),
]


class SettleTests(BrokerKit):
    # -- ends

    @pytest.mark.parametrize(("kind", "state"), ENDS)
    def test_an_end(self, store: Store, kind: OutcomeKind, state: State) -> None:
        delivery = store.run("a")
        assert store.settle(delivery, kind, ran=2.0, reason="why") is state
        record = store.record("a")
        now = store.broker.now()
        assert (record.state, record.attempts, record.reason) == (state, 1, "why")
        assert record.finished_at == pytest.approx(now, abs=1.0)
        assert record.started_at == pytest.approx(now - 2.0, abs=1.0)
        assert (record.node, record.number) == ("n1", delivery.number)
        assert store.held() == {}
        assert store.fetch() == []

    def test_a_reason_is_that_of_the_last_run(self, store: Store) -> None:
        store.join()
        store.enqueue("a")
        for reason in ("long " * 50, "short", "long " * 50, None):
            (delivery,) = store.fetch()
            store.settle(delivery, OutcomeKind.RELEASED, reason=reason)
            assert store.record("a").reason == reason

    def test_a_result_is_kept_where_the_broker_keeps_results(self, store: Store) -> None:
        results = [b"", b"short", bytes(range(256)) * 300]
        for n, result in enumerate(results):
            store.settle(store.run(f"job-{n}"), result=result)
        kept = [store.record(f"job-{n}").result for n in range(len(results))]
        assert kept == (results if store.broker.capabilities.results else [None] * 3)

    def test_a_success_without_a_result(self, store: Store) -> None:
        store.settle(store.run("a"))
        assert store.record("a").result is None

    def test_a_success_with_retention_0_goes_at_once(self, store: Store) -> None:
        assert store.settle(store.run("a"), retention=0.0) is State.SUCCEEDED
        assert store.find("a") is None
        assert store.stats().processed == 1
        assert sum(store.stats().counts.values()) == 0

    def test_ends_are_counted_for_ever(self, store: Store) -> None:
        for n, kind in enumerate([OutcomeKind.SUCCEEDED] * 2 + [OutcomeKind.FAILED] * 3):
            store.settle(store.run(f"job-{n}"), kind)
        store.settle(store.run("released"), OutcomeKind.RELEASED)
        assert (store.stats().processed, store.stats().failed) == (2, 3)

    # -- not the end

    def test_a_retry_waits_for_its_time(self, store: Store) -> None:
        delivery = store.run("a")
        fields = {"delay": 20.0, "blame": Blame.FAILURE, "error": b"error"}
        assert store.settle(delivery, OutcomeKind.RETRY, **fields) is State.RETRYING
        record = store.record("a")
        assert record.eta == pytest.approx(store.broker.now() + 20.0, abs=1.0)
        assert (record.attempts, record.failures, record.errors) == (1, 1, (b"error",))
        assert store.fetch() == []
        store.later(21.0)
        assert store.promote() == 1
        again = store.fetch_one()
        assert (again.id, again.attempts, again.failures, again.losses) == ("a", 1, 1, 0)

    @pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.RELEASED])
    def test_what_runs_again_at_once_is_the_next(self, store: Store, kind: OutcomeKind) -> None:
        store.join()
        store.enqueue("urgent", priority=9)
        store.enqueue("first", "second", "third")
        _, first = store.fetch(2)
        assert store.settle(first, kind, delay=0.0) is State.PENDING
        assert [d.id for d in store.fetch(3)] == ["first", "second", "third"]

    def test_a_release_before_the_start_leaves_no_trace(self, store: Store) -> None:
        delivery = store.run("a")
        assert store.settle(delivery, OutcomeKind.RELEASED, started=False) is State.PENDING
        record = store.record("a")
        assert (record.attempts, record.failures, record.crashes, record.losses) == (0, 0, 0, 0)
        again = store.fetch_one()
        assert again == delivery._replace(number=again.number)
        assert again.number > delivery.number

    def test_a_release_of_a_run_that_began_counts_as_an_attempt_only(self, store: Store) -> None:
        store.settle(store.run("a"), OutcomeKind.RELEASED, started=True)
        again = store.fetch_one()
        assert (again.attempts, again.failures, again.crashes, again.losses) == (1, 0, 0, 0)

    @pytest.mark.parametrize(
        ("blame", "counts"),
        [(Blame.NOBODY, (1, 0, 0)), (Blame.FAILURE, (1, 1, 0)), (Blame.CRASH, (1, 0, 1))],
    )
    @pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.FAILED])
    def test_whom_a_bad_run_is_blamed_on(
        self, store: Store, kind: OutcomeKind, blame: Blame, counts: tuple[int, int, int]
    ) -> None:
        store.settle(store.run("a"), kind, blame=blame)
        record = store.record("a")
        assert (record.attempts, record.failures, record.crashes) == counts

    def test_the_newest_errors_are_kept(self, store: Store) -> None:
        delivery = store.run("a")
        for n in range(ERRORS_KEPT + 3):
            store.settle(delivery, OutcomeKind.RETRY, error=b"error %d" % n)
            delivery = store.fetch_one()
        newest_first = [b"error %d" % n for n in reversed(range(3, ERRORS_KEPT + 3))]
        assert list(store.record("a").errors) == newest_first
        assert store.record("a").attempts == ERRORS_KEPT + 3

    # -- notes

    def test_a_start_is_written_down(self, store: Store) -> None:
        delivery = store.run("a")
        assert store.record("a").started_at is None
        note = Note("q", "a", delivery.number, pid=123, started_ago=2.0)
        assert store.broker.note("n1", [note]) == [True]
        record = store.record("a")
        assert record.started_at == pytest.approx(store.broker.now() - 2.0, abs=1.0)
        assert (record.state, record.pid, record.progress) == (State.ACTIVE, 123, None)
        assert record.attempts == 0

    def test_progress_is_written_down_and_stays(self, store: Store) -> None:
        note = Note("q", "a", store.run("a").number, pid=123, started_ago=0.0)
        store.broker.note("n1", [note._replace(progress=b"\x00half")])
        assert store.record("a").progress == b"\x00half"
        assert store.broker.note("n1", [note]) == [True]
        assert store.record("a").progress == b"\x00half"

    def test_the_next_delivery_has_no_notes_yet(self, store: Store) -> None:
        delivery = store.run("a")
        store.broker.note("n1", [Note("q", "a", delivery.number, 123, 0.0, b"half")])
        store.settle(delivery, OutcomeKind.RETRY)
        store.fetch_one()
        record = store.record("a")
        assert (record.started_at, record.pid, record.progress) == (None, None, None)

    # -- batches

    def test_nothing_to_settle_or_note(self, store: Store) -> None:
        assert store.broker.settle("n1", []) == []
        assert store.broker.note("n1", []) == []

    def test_what_is_unknown_is_fenced(self, store: Store) -> None:
        known = store.run("a")
        unknown, elsewhere = known._replace(id="x"), known._replace(queue="nowhere")
        done = [make_outcome(d, OutcomeKind.SUCCEEDED) for d in (unknown, known, elsewhere)]
        assert store.broker.settle("n1", done) == [None, State.SUCCEEDED, None]
        notes = [Note(d.queue, d.id, d.number, 1, 0.0) for d in (unknown, elsewhere)]
        assert store.broker.note("n1", notes) == [False, False]

    def test_outcomes_of_many_kinds_and_queues_in_one_call(self, store: Store) -> None:
        kinds = list(OutcomeKind)
        store.join("n1", ["q0", "q1"])
        outcomes = []
        for n, kind in enumerate(kinds):
            delivery = store.run(f"job-{n}", queue=f"q{n % 2}")
            outcomes.append(make_outcome(delivery, kind))
        assert store.broker.settle("n1", outcomes) == [
            State.SUCCEEDED,
            State.FAILED,
            State.PENDING,
            State.PENDING,
            State.CANCELLED,
            State.EXPIRED,
            State.WAITING,
        ]
