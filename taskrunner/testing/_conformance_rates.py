"""Rates: who is held back, and in which order they go on."""

from __future__ import annotations

from collections.abc import Callable

from taskrunner.brokers.base import BellKind, Take
from taskrunner.limits import NONE, WHOLE_QUEUE, Limit, Rate
from taskrunner.message import Header
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store
from taskrunner.testing._limits_kit import HOURLY, TASK, ids, of_key, own


class RateTests(BrokerKit):
    def test_no_more_start_than_the_rate_permits_and_the_others_wait_under_it(
        self, store: Store
    ) -> None:
        store.join()
        store.broker.declare_limits(["q"], {"t": Limit(Rate.parse("2/h burst 2"))})
        store.enqueue("a", "b", "c", "d")
        assert ids(store) == ["a", "b"]
        assert store.record("c").state is State.WAITING
        assert store.record("c").park_key == "limit:rate:task:t"
        assert dict(store.stats().parked) == {"limit:rate:task:t": 2}
        assert ids(store) == []
        store.later(1801.0)
        assert ids(store) == ["c"]
        store.later(1801.0)
        assert ids(store) == ["d"]

    def test_what_was_not_used_is_kept_up_to_the_burst(self, store: Store) -> None:
        store.join()
        store.broker.declare_limits(["q"], {"t": Limit(Rate.parse("1/m burst 3"))})
        store.later(100_000.0)
        store.beat()
        store.enqueue(*(f"j{n}" for n in range(9)))
        assert len(ids(store)) == 3
        store.later(125.0)
        assert len(ids(store)) == 2

    def test_the_most_urgent_go_first_and_of_those_the_oldest(self, store: Store) -> None:
        store.join()
        store.enqueue("first", header=own("1/h"))
        assert ids(store) == ["first"]
        store.enqueue("low", priority=1, header=own("1/h"))
        store.enqueue("a", "b", header=own("1/h"))
        assert ids(store) == []
        store.enqueue("high", priority=9, header=own("1/h"))
        for expected in ("high", "a", "b", "low"):
            store.later(3601.0)
            assert ids(store, 1) == [expected]

    def test_a_newcomer_does_not_overtake_those_who_wait(self, store: Store) -> None:
        store.join()
        fast = own("1000/s burst 100")
        store.enqueue(*(f"j{n:03}" for n in range(120)), header=fast)
        assert len(ids(store, 200)) >= 100
        store.enqueue("newcomer", header=fast)
        store.enqueue("urgent", priority=6, header=fast)
        found = []
        for _ in range(60):
            store.later(0.005)
            found += ids(store, 200)
        assert found.index("urgent") < len(found) - 1
        assert found[-1] == "newcomer"

    def test_each_key_has_a_rate_of_its_own(self, store: Store) -> None:
        store.join()
        store.enqueue("a1", "a2", header=own("1/h", "a"))
        store.enqueue("b1", "b2", header=own("1/h", "b"))
        assert sorted(ids(store)) == ["a1", "b1"]
        assert set(store.stats().parked) == {"limit:rate:key:a", "limit:rate:key:b"}
        store.later(3601.0)
        assert sorted(ids(store)) == ["a2", "b2"]

    def test_a_key_may_be_as_long_as_keys_may_be(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", header=own("1/h", "k" * 200))
        assert ids(store) == ["a"]
        assert store.record("b").park_key == "limit:rate:key:" + "k" * 200
        store.later(3601.0)
        assert ids(store) == ["b"]

    def test_other_jobs_go_on(self, store: Store) -> None:
        store.join()
        store.broker.declare_limits(["q"], {"slow": Limit(HOURLY)})
        store.enqueue("s1", "s2", header=Header(task="slow"))
        store.enqueue("free", header=Header(task="quick"))
        assert ids(store) == ["s1", "free"]

    def test_the_limit_of_a_queue_holds_all_its_jobs_where_they_are(self, store: Store) -> None:
        store.join()
        store.broker.set_limit("q", WHOLE_QUEUE, Limit(Rate.parse("2/h burst 2")))
        store.enqueue("a", "b", "c")
        store.enqueue("u", priority=9)
        assert ids(store) == ["u", "a"]
        assert ids(store) == []
        assert store.state("b") is State.PENDING
        store.later(1801.0)
        assert ids(store) == ["b"]

    def test_a_changed_limit_acts_on_those_who_wait(self, store: Store) -> None:
        store.join()
        store.broker.declare_limits(["q"], {"t": Limit(HOURLY)})
        store.enqueue("a", "b", "c", "d")
        assert ids(store) == ["a"]
        assert not store.broker.set_limit("q", TASK, Limit(Rate.parse("3/s burst 3")))
        assert ids(store) == []
        store.later(2.0)
        assert ids(store, 2) == ["b", "c"]
        store.broker.set_limit("q", TASK, Limit(HOURLY))
        assert ids(store) == []
        store.broker.set_limit("q", TASK, Limit(NONE))
        assert ids(store) == ["d"]
        store.enqueue("e", "f")
        assert store.broker.set_limit("q", TASK, None)
        store.later(3601.0)
        assert ids(store) == ["e"]

    def test_what_is_set_for_a_task_or_a_key_outranks_what_jobs_say(self, store: Store) -> None:
        store.join()
        store.enqueue("a1", "a2", "a3", header=own("1/h", "a"))
        store.enqueue("b1", "b2", "b3", header=own("1/h", "b"))
        assert sorted(ids(store)) == ["a1", "b1"]
        store.broker.set_limit("q", TASK, Limit(NONE))
        store.broker.set_limit("q", of_key("b"), Limit(HOURLY))
        assert ids(store) == ["a2", "a3"]
        store.broker.set_limit("q", of_key("b"), Limit(NONE))
        assert ids(store) == ["b2", "b3"]

    def test_cancelled_and_expired_ones_do_not_hold_up_the_others(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", header=own("1/h"))
        store.enqueue("c", header=own("1/h"), expires_in=100.0)
        store.enqueue("d", header=own("1/h"))
        assert ids(store) == ["a"]
        assert store.cancel("b")
        store.later(3601.0)
        assert ids(store) == ["d"]
        assert store.state("c") is State.EXPIRED

    def test_only_those_that_start_at_once_are_delivered(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", "c", header=own("1000/s burst 100"))
        store.enqueue("free", header=Header(task="other"), priority=1)
        fetched = store.broker.fetch("n1", [Take("q", 50, slots=2)], 1)
        assert [d.id for d in fetched.deliveries] == ["a", "b"]
        assert (set(fetched.withheld), fetched.left["q"] > 0) == ({"q"}, True)
        store._next_number["n1"] = 51
        fetched = store.broker.fetch("n1", [Take("q", 50, slots=2)], 51)
        assert [d.id for d in fetched.deliveries] == ["c", "free"]
        assert (len(fetched.withheld), fetched.left["q"]) == (0, 0)
        store._next_number["n1"] = 101

    def test_a_repeated_fetch_takes_no_grants(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", "c", header=own("1/h burst 2"))
        assert ids(store, 1) == ["a"]
        store._next_number["n1"] -= 1
        assert ids(store, 1) == ["a"]
        assert ids(store, 5) == ["b"]

    def test_its_time_is_told_and_rings_a_node(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        store.join()
        store.enqueue("a", "b", header=own("1/h"))
        assert ids(store) == ["a"]
        (due,) = store.broker.due(["q"], 4000.0, 10)
        assert 3590.0 < due.wait <= 3600.0
        assert ids(store) == []
        node = ear("n1")
        assert store.promote() == 0
        assert node.everything() == []
        store.later(3601.0)
        store.beat()
        store.promote()
        assert node.hears(BellKind.READY)
        assert ids(store) == ["b"]

    def test_they_cannot_be_asked_for_by_name(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", header=own("1/h"))
        assert ids(store) == ["a"]
        assert ids(store, parked=["limit:rate:task:t"]) == []

    def test_a_clock_that_goes_back_does_not_hold_jobs_for_ever(self, store: Store) -> None:
        store.join()
        store.later(1_000_000.0)
        store.beat()
        store.enqueue("a", "b", header=own("1/m"))
        assert ids(store) == ["a"]
        store.later(-1_000_000.0)
        store.sweep()
        assert ids(store) == []
        store.enqueue("c", header=own("1/m"))
        store.later(61.0)
        assert ids(store, 1) == ["b"]
        store.later(61.0)
        assert ids(store, 1) == ["c"]
