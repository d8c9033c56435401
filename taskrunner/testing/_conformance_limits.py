"""Pauses, and what is told of limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskrunner.brokers.base import BellKind, JobKey, OutcomeKind
from taskrunner.brokers.limits import MOST_KEYS
from taskrunner.errors import OptionError
from taskrunner.limits import NONE, WHOLE_QUEUE, Limit, Scope
from taskrunner.message import Header
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store
from taskrunner.testing._conformance_places import RunningTests
from taskrunner.testing._conformance_rates import RateTests
from taskrunner.testing._limits_kit import HOURLY, TASK, ids, of_key, own, state_of


class PauseTests(BrokerKit):
    def test_a_paused_queue_delivers_nothing_and_keeps_its_jobs(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        store.join()
        running = store.run("a")
        store.broker.pause("q", WHOLE_QUEUE)
        store.enqueue("b")
        assert ids(store) == []
        assert (store.state("b"), state_of(store, WHOLE_QUEUE).is_paused) == (State.PENDING, True)
        assert store.settle(running) is State.SUCCEEDED
        node = ear("n1")
        assert store.broker.resume("q", WHOLE_QUEUE)
        assert node.hears(BellKind.READY)
        assert ids(store) == ["b"]
        assert not store.broker.resume("q", WHOLE_QUEUE)

    @pytest.mark.parametrize("scope", [WHOLE_QUEUE, TASK, of_key("k"), of_key("other")])
    def test_a_pause_may_end_by_itself(self, store: Store, scope: Scope) -> None:
        store.join()
        store.broker.pause("q", scope, 100.0)
        store.enqueue("a", header=own("100/s", "k", 10, "other"))
        assert ids(store) == []
        assert 99.0 < (state_of(store, scope).paused_for or 0.0) <= 100.0
        (due,) = store.broker.due(["q"], 200.0, 10)
        assert 99.0 < due.wait <= 100.0
        store.later(101.0)
        store.promote()
        assert ids(store) == ["a"]
        assert not store.broker.resume("q", scope)

    def test_a_paused_task_holds_no_others(self, store: Store) -> None:
        store.join()
        store.broker.pause("q", TASK)
        store.enqueue("a")
        store.enqueue("b", header=Header(task="other"))
        assert ids(store) == ["b"]
        assert store.record("a").park_key == "limit:paused:task:t"
        store.broker.resume("q", TASK)
        assert ids(store) == ["a"]

    def test_one_that_waited_for_a_node_that_knows_its_task_waits_on(self, store: Store) -> None:
        """A node asks for it, and so knows the task: it is not to fail because nobody does."""
        store.park("a", ttl=5.0)
        store.broker.pause("q", TASK)
        assert store.fetch(parked=["k"]) == []
        store.later(10.0)
        store.sweep()
        assert store.state("a") is State.WAITING
        store.broker.resume("q", TASK)
        assert ids(store) == ["a"]
        assert store.audit() == []

    def test_those_that_were_held_go_on_in_their_order(self, store: Store) -> None:
        store.join()
        store.broker.pause("q", TASK)
        store.enqueue("a", "b")
        store.enqueue("u", priority=8)
        assert ids(store) == []
        store.broker.resume("q", TASK)
        store.enqueue("late")
        assert ids(store) == ["u", "a", "b", "late"]


class LimitStateTests(BrokerKit):
    def test_everything_that_is_said_of_a_queue_is_told(self, store: Store) -> None:
        store.join()
        assert store.broker.limits("q") == []
        store.broker.declare_limits(["q"], {"t": Limit(HOURLY, 2), "u": None})
        store.broker.set_limit("q", of_key("k"), Limit(NONE, 3))
        store.broker.pause("q", WHOLE_QUEUE)
        store.broker.resume("q", WHOLE_QUEUE)
        by_scope = {state.scope: state for state in store.broker.limits("q")}
        assert set(by_scope) == {TASK, of_key("k")}
        task, key = by_scope[TASK], by_scope[of_key("k")]
        assert (task.declared, task.set, task.holds) == (Limit(HOURLY, 2), None, Limit(HOURLY, 2))
        assert (key.set, key.holds) == (Limit(NONE, 3), Limit(None, 3))
        assert (task.running, task.opens_in, task.waiting) == (0, 0.0, 0)
        store.broker.declare_limits(["q"], {"t": None})
        assert [state.scope for state in store.broker.limits("q")] == [of_key("k")]

    def test_what_concerns_a_job_is_told_with_its_numbers_now(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", header=own("1/h", "r", 2, "k"))
        assert ids(store) == ["a"]
        rate, place = state_of(store, of_key("r"), "b"), state_of(store, of_key("k"), "b")
        assert rate.holds.rate is not None
        assert 3590.0 < (rate.opens_in or 0.0) <= 3600.0
        assert (rate.waiting, rate.holds.max_running) == (1, None)
        assert (place.holds, place.running, place.opens_in) == (Limit(None, 2), 1, None)
        assert state_of(store, TASK, "b").own is not None
        assert not state_of(store, WHOLE_QUEUE, "b").is_paused
        assert store.broker.limits("q", "nobody") == []

    def test_so_many_keys_may_have_something_of_their_own(self, store: Store) -> None:
        store.join()
        for n in range(MOST_KEYS):
            store.broker.set_limit("q", of_key(f"k{n}"), Limit(None, 1))
        store.broker.set_limit("q", of_key("k0"), Limit(None, 2))
        for call in (
            lambda: store.broker.set_limit("q", of_key("more"), Limit(None, 1)),
            lambda: store.broker.pause("q", of_key("more")),
        ):
            with pytest.raises(OptionError, match="keys of the queue 'q'"):
                call()
        store.broker.set_limit("q", of_key("k1"), None)
        store.broker.pause("q", of_key("more"))

    def test_jobs_keep_what_they_say_when_they_are_scheduled_or_retried(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", header=own(max_running=1), delay=10.0)
        store.later(11.0)
        store.beat()
        store.promote()
        (first,) = store.fetch(10)
        store.settle(first, OutcomeKind.RETRY, delay=5.0)
        (second,) = store.fetch(10)
        store.later(6.0)
        store.promote()
        assert ids(store) == []
        assert store.record(first.id).state is State.WAITING
        store.settle(second)
        assert ids(store) == [first.id]

    def test_many_wait_behind_a_limit_in_order(self, store: Store) -> None:
        store.join()
        names = [f"j{n:04}" for n in range(1500)]
        for start in range(0, 1500, 500):
            store.enqueue(*names[start : start + 500], header=own("10/s burst 10"))
        found = []
        for _ in range(200):
            found += ids(store, 100)
            store.later(1.0)
        assert found == names

    def test_nothing_is_kept_of_what_is_over(self, store: Store) -> None:
        store.join()
        for n in range(5):
            store.enqueue(f"j{n}", header=own("1/m", f"r{n}", 1, f"k{n}"))
        for delivery in store.fetch(10):
            store.settle(delivery)
        store.later(70.0)
        store.sweep()
        found = store.broker.get([JobKey("q", "j0")])[0]
        assert found is not None
        assert state_of(store, of_key("r0"), "j0").opens_in == 0.0
        assert state_of(store, of_key("k0"), "j0").running == 0


class LimitTests(RateTests, RunningTests, PauseTests, LimitStateTests):
    """All of them."""
