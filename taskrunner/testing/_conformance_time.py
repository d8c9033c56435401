"""Time: what falls due when, and who is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskrunner.brokers.base import BellKind, OutcomeKind
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store


class TimeTests(BrokerKit):
    def test_the_clock_is_moved_for_everybody(self, store: Store) -> None:
        before = store.broker.now()
        store.later(1e6)
        assert store.broker.now() == pytest.approx(before + 1e6, abs=5.0)
        store.later(-2e6)
        assert store.broker.now() == pytest.approx(before - 1e6, abs=5.0)

    # -- due

    def test_what_falls_due_within_the_horizon_soonest_first(self, store: Store) -> None:
        for delay in (300.0, 100.0, 5000.0, 200.0):
            store.enqueue(f"in-{delay}", delay=delay)
        due = store.broker.due(["q"], 1000.0, 10)
        assert [d.queue for d in due] == ["q"] * 3
        assert [d.wait for d in due] == pytest.approx([100.0, 200.0, 300.0], abs=1.0)
        assert [d.wait for d in store.broker.due(["q"], 1000.0, 2)] == pytest.approx(
            [100.0, 200.0], abs=1.0
        )

    def test_what_is_overdue_waits_no_longer(self, store: Store) -> None:
        store.enqueue("a", delay=10.0)
        store.later(30.0)
        (due,) = store.broker.due(["q"], 0.0, 10)
        assert due.wait == pytest.approx(-20.0, abs=1.0)

    def test_retries_fall_due_too(self, store: Store) -> None:
        store.settle(store.run("a"), OutcomeKind.RETRY, delay=20.0)
        store.enqueue("b", delay=10.0)
        waits = [d.wait for d in store.broker.due(["q"], 60.0, 10)]
        assert waits == pytest.approx([10.0, 20.0], abs=1.0)

    def test_several_queues_each_up_to_the_limit(self, store: Store) -> None:
        for n in range(3):
            store.enqueue(f"job-{n}", queue="q", delay=10.0 + n)
            store.enqueue(f"job-{n}", queue="r", delay=20.0 + n)
        due = store.broker.due(["q", "r", "nowhere"], 60.0, 2)
        assert [d.queue for d in due] == ["q", "q", "r", "r"]
        assert store.broker.due([], 60.0, 2) == []

    def test_what_was_cancelled_does_not_fall_due(self, store: Store) -> None:
        store.enqueue("a", "b", delay=10.0)
        store.cancel("a")
        assert len(store.broker.due(["q"], 60.0, 10)) == 1
        store.later(11.0)
        assert store.promote() == 1
        assert store.broker.due(["q"], 60.0, 10) == []

    # -- promote

    def test_only_what_is_due_becomes_ready(self, store: Store) -> None:
        store.enqueue("soon", delay=10.0)
        store.enqueue("later", delay=100.0)
        assert store.promote() == 0
        store.later(11.0)
        assert store.promote() == 1
        assert store.promote() == 0
        record = store.record("soon")
        assert record.state is State.PENDING
        assert record.eta == pytest.approx(store.broker.now() - 1.0, abs=1.0)
        assert store.state("later") is State.SCHEDULED
        store.join()
        assert [d.id for d in store.fetch(5)] == ["soon"]

    def test_in_the_order_in_which_they_fell_due(self, store: Store) -> None:
        store.join()
        for delay in (30.0, 10.0, 40.0, 20.0):
            store.enqueue(f"in-{delay:g}", delay=delay)
        store.later(60.0)
        assert store.promote(3) == 3
        assert store.promote(3) == 1
        assert [d.id for d in store.fetch(5)] == ["in-10", "in-20", "in-30", "in-40"]

    def test_behind_those_that_are_ready_already(self, store: Store) -> None:
        store.join()
        store.enqueue("delayed", delay=10.0)
        store.enqueue("ready")
        store.enqueue("urgent", delay=10.0, priority=8)
        store.later(11.0)
        store.promote()
        assert [d.id for d in store.fetch(5)] == ["urgent", "ready", "delayed"]

    def test_of_each_queue_up_to_the_limit(self, store: Store) -> None:
        for queue in ("q", "r"):
            store.enqueue("a", "b", "c", queue=queue, delay=10.0)
        store.later(11.0)
        assert store.broker.promote(["q", "r", "nowhere"], 2) == 4
        assert store.broker.promote(["q", "r"], 2) == 2
        assert store.broker.promote([], 2) == 0

    def test_when_the_clock_goes_back_it_is_not_due(self, store: Store) -> None:
        store.enqueue("a", delay=10.0)
        store.later(-1000.0)
        assert store.promote() == 0
        store.later(1011.0)
        assert store.promote() == 1

    def test_an_expired_job_is_never_delivered(self, store: Store) -> None:
        store.join()
        store.enqueue("a", delay=10.0, expires_in=20.0)
        store.later(30.0)
        store.promote()
        assert store.fetch() == []
        store.sweep()
        assert store.state("a") is State.EXPIRED

    # -- bells

    def test_what_falls_due_sooner_than_all_else_is_told_to_every_node(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        store.enqueue("far", delay=500.0)
        nodes = [ear("n1"), ear("n2")]
        store.join("n1")
        store.join("n2")
        store.enqueue("near", delay=100.0)
        assert [node.hears(BellKind.DUE) for node in nodes] == [True, True]

    def test_a_retry_is_told_like_that_too(self, store: Store, ear: Callable[[str], Ear]) -> None:
        delivery = store.run("a")
        node = ear("n1")
        store.settle(delivery, OutcomeKind.RETRY, delay=5.0)
        assert node.hears(BellKind.DUE)

    def test_what_was_promoted_rings_an_idle_node(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        store.enqueue("a", delay=10.0)
        node = ear("n1")
        store.join("n1")
        assert store.fetch() == []
        store.later(11.0)
        store.promote()
        assert node.hears(BellKind.READY)
