"""Suspects: the mark of a job that may have killed its process, and what takes it away."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Blame, OutcomeKind
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
