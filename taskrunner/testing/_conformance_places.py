"""Runs at once: who has a place, and who gets it next."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskrunner.brokers.base import BellKind, OutcomeKind
from taskrunner.limits import WHOLE_QUEUE, Limit
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store
from taskrunner.testing._limits_kit import TASK, ids, of_key, own, state_of


class RunningTests(BrokerKit):
    def test_no_more_run_at_once_and_each_settle_lets_one_go(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        store.join()
        store.broker.declare_limits(["q"], {"t": Limit(None, 2)})
        store.enqueue("a", "b", "c", "d")
        first, second = store.fetch(10)
        assert (first.id, second.id) == ("a", "b")
        assert store.record("c").park_key == "limit:running:task:t"
        assert ids(store) == []
        node = ear("n1")
        assert store.settle(first) is State.SUCCEEDED
        assert node.hears(BellKind.READY)
        assert ids(store) == ["c"]
        store.settle(second, OutcomeKind.RELEASED, started=False)
        assert ids(store) == ["b"]

    @pytest.mark.parametrize("kind", OutcomeKind)
    def test_every_way_to_settle_gives_the_place_back_once(
        self, store: Store, kind: OutcomeKind
    ) -> None:
        store.join()
        store.enqueue("a", "b", "c", header=own(max_running=1))
        (delivery,) = store.fetch(10)
        for _ in range(2):
            store.settle(delivery, kind, delay=1000.0)
        assert len(ids(store)) == 1
        assert ids(store) == []
        assert state_of(store, TASK, "c").running == 1

    def test_a_place_is_given_back_when_the_node_is_lost(self, store: Store) -> None:
        store.join("n1")
        store.enqueue("a", "b", header=own(max_running=1, running_key="k"))
        (delivery,) = store.fetch(10, node="n1")
        assert store.lose() == 1
        assert ids(store, node="observer") == ["a"]
        assert store.settle(delivery) is None
        assert ids(store, node="observer") == []

    def test_a_late_settle_gives_no_place_back_again(self, store: Store) -> None:
        store.join("n1")
        store.enqueue("a", "b", "c", header=own(max_running=1))
        (delivery,) = store.fetch(10, node="n1")
        assert store.lose() == 1
        assert store.settle(delivery) is State.SUCCEEDED
        assert ids(store, node="observer") == ["b"]
        assert ids(store, node="observer") == []

    def test_a_node_that_leaves_gives_its_places_back(self, store: Store) -> None:
        store.join("n1")
        store.join("n2")
        store.enqueue("a", "b", header=own(max_running=1))
        store.fetch(10, node="n1")
        store.broker.leave("n1", ["q"])
        assert ids(store, node="n2") == ["a"]

    def test_a_cancelled_job_keeps_its_place_until_it_settles(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", header=own(max_running=1))
        (delivery,) = store.fetch(10)
        assert store.cancel("a")
        assert ids(store) == []
        assert store.settle(delivery) is State.CANCELLED
        assert ids(store) == ["b"]

    def test_one_at_a_time_is_in_order_for_each_key(self, store: Store) -> None:
        store.join()
        for n in range(4):
            for key in "ab":
                header = own(max_running=1, running_key=key)
                store.enqueue(f"{key}{n}", header=header)
        seen = []
        while found := store.fetch(10):
            assert len({d.id[0] for d in found}) == len(found)
            seen += [d.id for d in found]
            for delivery in reversed(found):
                store.settle(delivery)
        assert [i for i in seen if i[0] == "a"] == ["a0", "a1", "a2", "a3"]
        assert [i for i in seen if i[0] == "b"] == ["b0", "b1", "b2", "b3"]

    def test_what_comes_back_is_before_those_who_wait(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", "c", header=own(max_running=1))
        (delivery,) = store.fetch(10)
        store.settle(delivery, OutcomeKind.RELEASED)
        (again,) = store.fetch(10)
        assert again.id == "a"
        store.join("n2")
        store.broker.reap(["q"], 10, ["n1"])
        assert ids(store, node="n2") == ["a"]

    def test_the_limit_of_a_queue_counts_what_runs_already(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", "c", "d")
        first, _ = store.fetch(2)
        store.broker.set_limit("q", WHOLE_QUEUE, Limit(None, 2))
        assert ids(store) == []
        store.settle(first)
        assert ids(store) == ["c"]
        assert state_of(store, WHOLE_QUEUE).running == 2

    def test_all_grants_are_taken_in_one_step_or_none(self, store: Store) -> None:
        store.join()
        both = own("1/h", "r", 1, "k")
        store.enqueue("a", header=own(max_running=1, running_key="k"))
        store.enqueue("b", "c", header=both)
        (running,) = store.fetch(10)
        assert running.id == "a"
        # Had `b` taken its grant of the rate, it would wait an hour now.
        store.settle(running)
        (second,) = store.fetch(10)
        assert second.id == "b"
        store.settle(second)
        assert ids(store) == []
        assert store.record("c").park_key == "limit:rate:key:r"
        assert state_of(store, of_key("k"), "c").running == 0
        store.later(3601.0)
        assert ids(store) == ["c"]

    def test_a_raised_limit_lets_more_go_and_a_lowered_one_waits(self, store: Store) -> None:
        store.join()
        store.broker.declare_limits(["q"], {"t": Limit(None, 1)})
        store.enqueue("a", "b", "c", "d")
        (first,) = store.fetch(10)
        store.broker.set_limit("q", TASK, Limit(None, 3))
        second, third = store.fetch(10)
        store.broker.set_limit("q", TASK, Limit(None, 1))
        store.settle(first)
        store.settle(second)
        assert ids(store) == []
        store.settle(third)
        assert ids(store) == ["d"]
