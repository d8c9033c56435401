"""The audit: a sound store is sound, and what a hand has broken is found and mended."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Finding, FindingKind, JobKey, Outcome, OutcomeKind, Remark
from taskrunner.states import FINISHED, State
from taskrunner.testing._conformance_kit import BrokerKit, Damage, Store
from taskrunner.testing._conformance_submit import bring_to

KEY = JobKey("q", "a")
MANY = 1200


def bring(store: Store, state: State) -> None:
    """A job `a` in this state, beside others."""
    store.join()
    store.enqueue("z", priority=9)
    store.settle(store.fetch_one())
    if state is State.ACTIVE:
        store.run("a")
    else:
        bring_to(store, state)
    store.enqueue("b", "c", priority=1)
    store.enqueue("other", queue="r")


def kinds(findings: list[Finding]) -> set[FindingKind]:
    assert all(found.detail and found.subject for found in findings)
    return {found.kind for found in findings}


def finish(store: Store, *, fresh_node: str = "n2") -> None:
    """Let the job come to an end."""
    store.later(1000.0)
    store.promote()
    store.join(fresh_node)
    for delivery in store.fetch(10, node=fresh_node, parked=["k"]):
        if delivery.id == "a":
            assert store.settle(delivery) is State.SUCCEEDED


class AuditTests(BrokerKit):
    def _break(self, store: Store, how: Damage, *, state: State | None = None) -> None:
        if not self.damage(store.broker, how, KEY):
            pytest.skip(f"this store cannot be damaged like that: {how.value}, {state}")

    @pytest.mark.parametrize("repair", [False, True])
    def test_a_sound_store_is_left_alone(self, store: Store, repair: bool) -> None:
        store.join()
        for n, state in enumerate(sorted(set(State) - {State.ACTIVE})):
            bring_to(store, state, f"job-{n}")
            if state is State.PENDING:
                store.fetch_one()
        store.enqueue("cancelled", "expiring", expires_in=50.0)
        store.cancel("cancelled")
        store.cancel("job-1")
        before = [store.find(f"job-{n}") for n in range(8)]
        assert store.audit(repair=repair) == []
        assert [store.find(f"job-{n}") for n in range(8)] == before
        store.later(60.0)
        assert store.audit(repair=repair) == []

    def test_a_store_without_jobs(self, store: Store) -> None:
        assert store.audit() == []
        store.join("n1", ["empty"])
        assert store.audit() == []
        assert store.audit(queues=["nowhere"]) == []
        assert store.audit(queues=[]) == []

    def test_many_jobs_are_looked_at_in_slices(self, store: Store) -> None:
        sent = [f"job-{n}" for n in range(MANY)]
        store.join()
        store.enqueue(*sent)
        taken = store.fetch(MANY // 2)
        for delivery in taken[::3]:
            store.settle(delivery)
        assert store.audit() == []
        assert store.audit(repair=True) == []

    @pytest.mark.parametrize("state", sorted(State))
    def test_a_job_in_no_index(self, store: Store, state: State) -> None:
        bring(store, state)
        self._break(store, Damage.MISSING_ENTRY, state=state)
        expected = FindingKind.UNHELD if state is State.ACTIVE else FindingKind.UNINDEXED
        (found,) = store.audit()
        assert (found.kind, found.queue, found.subject) == (expected, "q", "a")
        assert not found.repaired
        assert store.audit() == [found]
        (mended,) = store.audit(repair=True)
        assert (mended.kind, mended.subject, mended.repaired) == (expected, "a", True)
        assert store.audit() == []
        store.check_counts()
        if state in FINISHED:
            assert store.state("a") is state
        else:
            finish(store)
            assert store.state("a") is State.SUCCEEDED

    def test_an_active_job_that_nobody_holds_has_a_loss(self, store: Store) -> None:
        bring(store, State.ACTIVE)
        self._break(store, Damage.MISSING_ENTRY)
        store.audit(repair=True)
        record = store.record("a")
        assert (record.state, record.losses) == (State.PENDING, 1)

    @pytest.mark.parametrize("state", sorted(set(State) - {State.SCHEDULED, State.RETRYING}))
    def test_a_job_in_two_indexes(self, store: Store, state: State) -> None:
        bring(store, state)
        before = store.record("a")
        self._break(store, Damage.DOUBLED_ID, state=state)
        findings = store.audit()
        assert {found.subject for found in findings} == {"a"}
        assert kinds(findings) == {FindingKind.MISPLACED}
        assert all(found.repaired for found in store.audit(repair=True))
        assert store.audit() == []
        assert store.record("a") == before

    def test_a_job_that_is_ready_twice_runs_once(self, store: Store) -> None:
        bring(store, State.PENDING)
        self._break(store, Damage.DOUBLED_ENTRY)
        assert kinds(store.audit()) == {FindingKind.DOUBLED}
        assert kinds(store.audit(repair=True)) == {FindingKind.DOUBLED}
        assert store.audit() == []
        assert [d.id for d in store.fetch(10)] == ["a", "b", "c"]
        store.check_counts()

    @pytest.mark.parametrize("state", sorted(State))
    def test_a_wrong_counter(self, store: Store, state: State) -> None:
        bring(store, state)
        self._break(store, Damage.WRONG_COUNTER, state=state)
        (found,) = store.audit()
        assert (found.kind, found.queue) == (FindingKind.COUNTER, "q")
        (mended,) = store.audit(repair=True)
        assert (mended.kind, mended.repaired) == (FindingKind.COUNTER, True)
        assert store.audit() == []
        store.check_counts()

    @pytest.mark.parametrize("state", sorted(State))
    def test_a_record_that_is_gone(self, store: Store, state: State) -> None:
        bring(store, state)
        self._break(store, Damage.DROPPED_RECORD, state=state)
        found = kinds(store.audit())
        # Where entries are dropped lazily, one without a job may be nothing but the counter's error.
        assert found
        assert found <= {FindingKind.LOST, FindingKind.LEFTOVER, FindingKind.COUNTER}
        assert all(one.repaired for one in store.audit(repair=True))
        assert store.audit() == []
        store.check_counts()
        assert [d.id for d in store.fetch(10) if d.id != "a"] == ["b", "c"]

    def test_a_message_that_is_left_is_no_lost_job(self, store: Store) -> None:
        store.enqueue("a", body=b"x" * 1000)
        wire = store.record("a").wire
        self._break(store, Damage.DROPPED_RECORD)
        assert store.find("a") is None
        assert FindingKind.LOST in kinds(store.audit(repair=True))
        record = store.record("a")
        assert record.wire == wire
        assert record.state in (State.PENDING, State.FAILED)
        assert store.audit() == []

    @pytest.mark.parametrize("how", [Damage.LOST_LEASE, Damage.ORPHAN_SET])
    def test_a_set_without_a_lease(self, store: Store, how: Damage) -> None:
        delivery = store.run("a")
        self._break(store, how)
        assert kinds(store.audit()) == {FindingKind.LEASE}
        assert kinds(store.audit(repair=True)) == {FindingKind.LEASE}
        assert store.audit() == []
        record = store.record("a")
        assert (record.state, record.losses) == (State.PENDING, 1)
        assert store.held("n1") == {}
        store.join("n2")
        again = store.fetch_one(node="n2")
        assert store.settle(delivery) is None
        assert store.settle(again) is State.SUCCEEDED

    def test_only_the_queues_that_are_named(self, store: Store) -> None:
        bring(store, State.SCHEDULED)
        self._break(store, Damage.MISSING_ENTRY)
        assert store.audit(queues=["r"], repair=True) == []
        assert len(store.audit(queues=["r", "q"], repair=True)) == 1
        assert store.audit() == []

    def test_a_repair_costs_a_sound_job_nothing(self, store: Store) -> None:
        bring(store, State.ACTIVE)
        active = store.record("a")
        store.audit(repair=True)
        assert store.record("a") == active
        assert store.held()["a"] == active.number
        outcome = Outcome("q", "a", active.number or 0, OutcomeKind.SUCCEEDED)
        assert store.broker.settle("n1", [outcome]) == [State.SUCCEEDED]

    def test_a_moved_clock_is_remarked_upon(self, store: Store) -> None:
        def risks() -> list[Remark]:
            return [remark for remark in store.broker.remarks() if remark.is_risk]

        assert risks() == []
        store.later(90.0)
        (remark,) = risks()
        assert "90 s" in remark.text
