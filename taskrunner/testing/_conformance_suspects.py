"""Suspects: the mark of a job that may have killed its process, and what takes it away."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Blame, Delivery, JobKey, Note, OutcomeKind
from taskrunner.message import ErrorInfo
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store

CLEARS = [
    (OutcomeKind.SUCCEEDED, Blame.NOBODY),
    (OutcomeKind.FAILED, Blame.FAILURE),
    (OutcomeKind.RETRY, Blame.FAILURE),
    (OutcomeKind.RETRY, Blame.NOBODY),
    (OutcomeKind.CANCELLED, Blame.NOBODY),
]
KEEPS = [
    (OutcomeKind.RETRY, Blame.CRASH, True),
    (OutcomeKind.FAILED, Blame.CRASH, True),
    (OutcomeKind.RETRY, Blame.SUSPICION, True),
    (OutcomeKind.RELEASED, Blame.NOBODY, True),
    (OutcomeKind.RELEASED, Blame.NOBODY, False),
    (OutcomeKind.PARKED, Blame.NOBODY, False),
]


class SuspectTests(BrokerKit):
    def suspected(self, store: Store, job_id: str = "a") -> None:
        """A job that is pending and marked."""
        delivery = store.run(job_id)
        assert not delivery.suspect
        state = store.settle(delivery, OutcomeKind.RETRY, blame=Blame.SUSPICION, error=b"died")
        assert state is State.PENDING

    def test_a_suspicion_is_no_crash_and_travels_with_the_next_delivery(self, store: Store) -> None:
        self.suspected(store)
        record = store.record("a")
        assert record.suspect
        assert (record.attempts, record.failures, record.crashes) == (1, 0, 0)
        assert record.errors == (b"died",)
        again = store.fetch_one()
        assert (again.id, again.suspect) == ("a", True)
        assert store.record("a").suspect

    @pytest.mark.parametrize(("kind", "blame"), CLEARS)
    def test_an_end_other_than_a_death_takes_the_mark_away(
        self, store: Store, kind: OutcomeKind, blame: Blame
    ) -> None:
        self.suspected(store)
        store.settle(store.fetch_one(), kind, blame=blame)
        assert not store.record("a").suspect

    @pytest.mark.parametrize(("kind", "blame", "started"), KEEPS)
    def test_a_death_or_no_run_at_all_leaves_it(
        self, store: Store, kind: OutcomeKind, blame: Blame, started: bool
    ) -> None:
        self.suspected(store)
        store.settle(store.fetch_one(), kind, blame=blame, started=started)
        assert store.record("a").suspect

    def test_a_crash_of_its_own_marks_nobody(self, store: Store) -> None:
        store.settle(store.run("a"), OutcomeKind.RETRY, blame=Blame.CRASH)
        assert (store.record("a").suspect, store.record("a").crashes) == (False, 1)
        assert not store.fetch_one().suspect

    def test_a_second_lost_node_marks_what_it_held(self, store: Store) -> None:
        store.enqueue("a")
        marked = []
        for n in range(3):
            store.join(f"lost-{n}")
            marked.append(store.fetch_one(node=f"lost-{n}").suspect)
            assert store.reap(dead=[f"lost-{n}"]) == 1
        assert marked == [False, False, True]
        store.join()
        last = store.fetch_one()
        assert (last.suspect, last.losses) == (True, 3)
        store.settle(last, OutcomeKind.RETRY, blame=Blame.FAILURE)
        again = store.fetch_one()
        assert (again.suspect, again.losses) == (False, 3)

    def test_what_its_node_gives_back_when_it_leaves_is_not_marked(self, store: Store) -> None:
        store.enqueue("a")
        for n in range(3):
            store.join(f"n-{n}")
            assert not store.fetch_one(node=f"n-{n}").suspect
            store.broker.leave(f"n-{n}", ["q"])
        assert not store.record("a").suspect

    def test_a_late_settle_judges_too(self, store: Store) -> None:
        delivery = store.run("a", node="lost")
        store.lose()
        assert store.settle(delivery, OutcomeKind.RETRY, blame=Blame.SUSPICION) is State.PENDING
        assert store.record("a").suspect

    def test_a_new_job_of_the_same_id_is_not_marked(self, store: Store) -> None:
        self.suspected(store)
        store.settle(store.fetch_one(), OutcomeKind.FAILED, blame=Blame.CRASH)
        store.enqueue("a", call="another")
        assert not store.fetch_one().suspect

    # -- alone on a node

    def lost_alone(self, store: Store, n: int, *words: int) -> Delivery:
        """One more delivery to a node of its own, which says these words about `alone` and is
        lost."""
        node = f"lost-{n}"
        store.join(node)
        delivery = store.fetch_one(node=node)
        for word in words:
            note = Note("q", delivery.id, delivery.number, 0, 0.0, alone=word)
            assert store.broker.note(node, [note]) == [True]
        assert store.reap(dead=[node]) == 1
        return delivery

    def test_the_loss_of_a_node_that_ran_nothing_else_is_a_crash(self, store: Store) -> None:
        store.enqueue("a")
        self.lost_alone(store, 0, 3)
        record = store.record("a")
        assert (record.state, record.losses, record.crashes) == (State.PENDING, 1, 1)
        error = ErrorInfo.unpack(record.errors[0])
        assert (error.type, error.attempt) == ("crashed", 1)
        assert "node lost-0 was lost" in error.message
        assert error.at == pytest.approx(store.broker.now(), abs=5.0)
        store.join()
        again = store.fetch_one()
        assert (again.losses, again.crashes) == (1, 1)

    def test_a_job_that_takes_too_many_nodes_down_has_crashed(self, store: Store) -> None:
        store.enqueue("a")
        for n in range(2):
            self.lost_alone(store, n, 3)
        assert store.state("a") is State.PENDING
        last = self.lost_alone(store, 2, 3)
        record = store.record("a")
        assert (record.state, record.reason) == (State.FAILED, "crashed")
        assert (record.losses, record.crashes) == (3, 3)
        (stats,) = store.broker.stats(["q"])
        assert (stats.failed, stats.counts[State.FAILED], stats.counts[State.ACTIVE]) == (1, 1, 0)
        assert store.settle(last, OutcomeKind.SUCCEEDED) is None
        assert store.state("a") is State.FAILED

    @pytest.mark.parametrize("words", [(), (0,), (1, 0), (1, 2, 0)])
    def test_the_loss_of_a_node_that_ran_something_else_too_is_none(
        self, store: Store, words: tuple[int, ...]
    ) -> None:
        store.enqueue("a")
        for n in range(3):
            self.lost_alone(store, n, *words)
        record = store.record("a")
        assert (record.state, record.losses, record.crashes) == (State.PENDING, 3, 0)

    def test_what_was_noted_is_forgotten_with_the_next_delivery(self, store: Store) -> None:
        store.enqueue("a")
        self.lost_alone(store, 0, 2)
        self.lost_alone(store, 1)
        record = store.record("a")
        assert (record.state, record.losses, record.crashes) == (State.PENDING, 2, 1)

    def test_a_note_of_it_says_nothing_else(self, store: Store) -> None:
        delivery = store.run("a")
        note = Note("q", "a", delivery.number, 7, 3.0, b"progress", alone=1)
        assert store.broker.note("n1", [note]) == [True]
        record = store.record("a")
        assert (record.started_at, record.pid, record.progress) == (None, None, None)
        started = Note("q", "a", delivery.number, 7, 3.0)
        assert store.broker.note("n1", [started]) == [True]
        assert store.reap(dead=["n1"]) == 1
        assert store.record("a").reason == "crashed", "what does not speak of it leaves it as it is"

    def test_a_node_that_ran_nothing_else_and_leaves_is_none(self, store: Store) -> None:
        delivery = store.run("a")
        note = Note("q", "a", delivery.number, 0, 0.0, alone=1)
        assert store.broker.note("n1", [note]) == [True]
        store.broker.leave("n1", ["q"])
        record = store.record("a")
        assert (record.state, record.losses, record.crashes) == (State.PENDING, 0, 0)

    def test_a_cancel_mark_wins_over_a_conviction(self, store: Store) -> None:
        delivery = store.run("a")
        note = Note("q", "a", delivery.number, 0, 0.0, alone=1)
        assert store.broker.note("n1", [note]) == [True]
        assert store.cancel("a")
        assert store.reap(dead=["n1"]) == 1
        assert store.state("a") is State.CANCELLED

    def test_a_convicted_job_that_is_requeued_begins_anew(self, store: Store) -> None:
        store.enqueue("a")
        self.lost_alone(store, 0, 1)
        assert store.broker.requeue([JobKey("q", "a")]) == [True]
        self.lost_alone(store, 1)
        record = store.record("a")
        assert (record.state, record.losses, record.crashes) == (State.PENDING, 1, 0)
