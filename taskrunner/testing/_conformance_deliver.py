"""Delivering: order, numbers, repeated fetches, what may not start any more."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Fetched, OutcomeKind, Take
from taskrunner.errors import NodeLost
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store, make_outcome


def ids(deliveries: list) -> list[str]:  # type: ignore[type-arg]
    return [delivery.id for delivery in deliveries]


class DeliverTests(BrokerKit):
    # -- order

    def test_the_most_urgent_first(self, store: Store) -> None:
        store.join()
        for priority in (5, 0, 9, 1, 8, 3, 7, 2, 6, 4):
            store.enqueue(f"p{priority}", priority=priority)
        assert ids(store.fetch(4)) == ["p9", "p8", "p7", "p6"]
        assert ids(store.fetch(6)) == ["p5", "p4", "p3", "p2", "p1", "p0"]

    def test_the_oldest_first_within_a_priority(self, store: Store) -> None:
        store.join()
        sent = [f"job-{n}" for n in range(20)]
        store.enqueue(*sent[:10])
        store.enqueue(*sent[10:])
        assert ids(store.fetch(7) + store.fetch(20)) == sent

    def test_an_urgent_newcomer_overtakes(self, store: Store) -> None:
        store.join()
        store.enqueue("old-1", "old-2")
        assert store.fetch_one().id == "old-1"
        store.enqueue("new", priority=6)
        assert ids(store.fetch(2)) == ["new", "old-2"]

    def test_no_more_than_asked_and_how_many_are_left(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", "c")
        found = store.broker.fetch("n1", [Take("q", 2)], 1)
        assert ids(found.deliveries) == ["a", "b"]
        assert found.left == {"q": 1}

    def test_a_delivery_says_what_the_node_must_know(self, store: Store) -> None:
        store.join()
        store.enqueue("a", expires_in=30.0, deadline=store.broker.now() + 60.0)
        store.enqueue("b")
        a, b = store.fetch(2)
        assert (a.queue, a.id, a.node, a.number, b.number) == ("q", "a", "n1", 1, 2)
        assert (a.attempts, a.failures, a.crashes, a.losses) == (0, 0, 0, 0)
        assert a.expires_in == pytest.approx(30.0, abs=1.0)
        assert a.deadline_in == pytest.approx(60.0, abs=1.0)
        assert (b.expires_in, b.deadline_in) == (None, None)
        record = store.record("a")
        assert (record.state, record.node, record.number) == (State.ACTIVE, "n1", 1)
        assert store.held() == {"a": 1, "b": 2}

    # -- plans

    @pytest.mark.parametrize("first", [1, 95, 999_995, 4_294_967_290, 900_000_000_000_095])
    def test_a_number_stays_what_it_was(self, store: Store, first: int) -> None:
        store.join()
        ids = [f"j{n}" for n in range(10)]
        store.enqueue(*ids)
        deliveries = store.broker.fetch("n1", [Take("q", 10)], first).deliveries
        assert [(d.id, d.number) for d in deliveries] == list(
            zip(ids, range(first, first + 10), strict=True)
        )
        assert {n for _, n in store.broker.held("n1", ["q"])} == {d.number for d in deliveries}
        again = store.broker.fetch("n1", [Take("q", 10)], first).deliveries
        assert again == deliveries
        outcomes = [make_outcome(delivery, OutcomeKind.SUCCEEDED) for delivery in deliveries]
        assert store.broker.settle("n1", outcomes) == [State.SUCCEEDED] * 10

    def test_each_entry_of_a_plan_has_as_many_numbers_as_its_limit(self, store: Store) -> None:
        store.join("n1", ["q", "r", "s"])
        store.enqueue("a", queue="q")
        store.enqueue("b", "c", queue="r")
        store.enqueue("d", queue="s")
        plan = [Take("q", 3), Take("r", 1), Take("s", 2)]
        found = store.broker.fetch("n1", plan, 10)
        numbered = [(d.queue, d.id, d.number) for d in found.deliveries]
        assert numbered == [("q", "a", 10), ("r", "b", 13), ("s", "d", 14)]
        assert found.left == {"q": 0, "r": 1, "s": 0}

    def test_nothing_is_asked_and_nothing_is_there(self, store: Store) -> None:
        store.join()
        assert store.broker.fetch("n1", [], 1) == Fetched([], {})
        assert store.broker.fetch("n1", [Take("q", 5)], 1) == Fetched([], {"q": 0})
        store.enqueue("a")
        assert store.broker.fetch("n1", [Take("q", 0)], 1) == Fetched([], {"q": 1})

    def test_two_nodes_never_get_the_same_job(self, store: Store) -> None:
        store.join("n1")
        store.join("n2")
        store.enqueue("a", "b", "c")
        assert ids(store.fetch(2, node="n1")) == ["a", "b"]
        assert ids(store.fetch(2, node="n2")) == ["c"]
        assert store.held("n1").keys() == {"a", "b"}
        assert store.held("n2").keys() == {"c"}

    def test_a_node_must_join_first(self, store: Store) -> None:
        store.enqueue("a")
        store.join("n1", ["other"])
        with pytest.raises(NodeLost):
            store.fetch(1)
        assert store.state("a") is State.PENDING

    # -- repeats

    def test_a_repeated_fetch_answers_the_same(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", "c", "d")
        first = store.broker.fetch("n1", [Take("q", 2)], 1)
        again = store.broker.fetch("n1", [Take("q", 2)], 1)
        assert again == first
        assert store.state("c") is State.PENDING
        assert ids(store.broker.fetch("n1", [Take("q", 2)], 3).deliveries) == ["c", "d"]

    def test_a_repeated_fetch_of_several_queues_answers_the_same(self, store: Store) -> None:
        store.join("n1", ["q", "r"])
        store.enqueue("a", queue="q")
        store.enqueue("b", "c", queue="r")
        plan = [Take("q", 2), Take("r", 1)]
        first = store.broker.fetch("n1", plan, 1)
        store.enqueue("late", queue="q")
        assert store.broker.fetch("n1", plan, 1).deliveries == first.deliveries
        assert store.state("late") is State.PENDING

    def test_a_repeat_leaves_out_what_was_settled_and_uses_no_number_twice(
        self, store: Store
    ) -> None:
        store.join()
        store.enqueue("a", "b", "c")
        a, b = store.broker.fetch("n1", [Take("q", 2)], 1).deliveries
        store.settle(a)
        assert store.broker.fetch("n1", [Take("q", 2)], 1).deliveries == [b]
        store.settle(b)
        assert store.broker.fetch("n1", [Take("q", 2)], 1).deliveries == []
        assert store.state("c") is State.PENDING

    def test_what_delivered_nothing_can_be_asked_anew(self, store: Store) -> None:
        store.join()
        assert store.broker.fetch("n1", [Take("q", 2)], 1).deliveries == []
        store.enqueue("a")
        assert ids(store.broker.fetch("n1", [Take("q", 2)], 1).deliveries) == ["a"]

    # -- too late to start

    def test_an_expired_job_is_settled_where_it_would_have_been_delivered(
        self, store: Store
    ) -> None:
        store.join()
        store.enqueue("late", expires_in=10.0, priority=9)
        store.enqueue("fine", expires_in=1000.0)
        store.later(11.0)
        assert ids(store.fetch(1)) == ["fine"]
        record = store.record("late")
        assert record.state is State.EXPIRED
        assert record.finished_at == pytest.approx(store.broker.now(), abs=1.0)

    def test_expiry_holds_for_a_job_that_has_run_before(self, store: Store) -> None:
        delivery = store.run("a", expires_in=10.0)
        store.later(11.0)
        assert store.settle(delivery, OutcomeKind.RETRY, delay=0.0) is State.PENDING
        assert store.fetch() == []
        assert store.state("a") is State.EXPIRED

    def test_a_job_past_its_deadline_fails(self, store: Store) -> None:
        store.join()
        store.enqueue("late", deadline=store.broker.now() + 10.0)
        store.enqueue("fine")
        store.later(11.0)
        found = store.broker.fetch("n1", [Take("q", 5)], 1)
        assert ids(found.deliveries) == ["fine"]
        assert found.left == {"q": 0}
        record = store.record("late")
        assert (record.state, record.reason) == (State.FAILED, "deadline")

    def test_what_runs_does_not_expire(self, store: Store) -> None:
        delivery = store.run("a", expires_in=10.0)
        store.later(11.0)
        store.sweep()
        assert store.state("a") is State.ACTIVE
        assert store.settle(delivery) is State.SUCCEEDED
