"""Parking: out of the way under a key, until a node that can run it asks for that."""

from __future__ import annotations

from collections.abc import Callable

from taskrunner.brokers.base import BellKind, OutcomeKind
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store


class ParkTests(BrokerKit):
    def test_a_parked_job_waits_under_its_key(self, store: Store) -> None:
        delivery = store.run("a")
        fields = {"park_key": "task:mail", "delay": 60.0, "started": False}
        assert store.settle(delivery, OutcomeKind.PARKED, **fields) is State.WAITING
        record = store.record("a")
        assert (record.state, record.park_key, record.attempts) == (State.WAITING, "task:mail", 0)
        assert dict(store.stats().parked) == {"task:mail": 1}
        assert store.held() == {}
        assert store.fetch() == []

    def test_those_parked_first_come_first(self, store: Store) -> None:
        for job_id in ("a", "b", "c"):
            store.park(job_id)
        assert [d.id for d in store.fetch(2, parked=["k"])] == ["a", "b"]
        assert dict(store.stats().parked) == {"k": 1}
        assert [d.id for d in store.fetch(2, parked=["k"])] == ["c"]
        assert dict(store.stats().parked) == {}
        assert store.fetch(2, parked=["k"]) == []

    def test_they_come_before_the_ready_ones(self, store: Store) -> None:
        store.park("a")
        store.enqueue("urgent", priority=9)
        assert [d.id for d in store.fetch(5, parked=["k"])] == ["a", "urgent"]

    def test_only_those_under_the_keys_that_are_named(self, store: Store) -> None:
        for job_id, key in (("a", "k1"), ("b", "k2"), ("c", "k3")):
            store.park(job_id, key)
        assert {d.id for d in store.fetch(5, parked=["k1", "k3", "unknown"])} == {"a", "c"}
        assert store.state("b") is State.WAITING
        assert store.fetch(5, parked=[]) == []

    def test_a_job_taken_from_there_is_like_any_other(self, store: Store) -> None:
        parked = store.park("a")
        (delivery,) = store.fetch(1, parked=["k"])
        assert (delivery.attempts, delivery.failures, delivery.losses) == (0, 0, 0)
        assert store.state("a") is State.ACTIVE
        assert store.settle(parked) is None
        assert store.settle(delivery) is State.SUCCEEDED

    def test_a_fetch_that_took_some_may_be_repeated(self, store: Store) -> None:
        store.park("a")
        store.park("b")
        (first,) = store.fetch(1, parked=["k"])
        store._next_number["n1"] -= 1
        assert store.fetch(1, parked=["k"]) == [first]
        assert store.state("b") is State.WAITING

    def test_a_job_may_be_parked_again(self, store: Store) -> None:
        store.park("a", "k1")
        (delivery,) = store.fetch(1, parked=["k1"])
        store.settle(delivery, OutcomeKind.PARKED, park_key="k2", delay=60.0)
        assert store.fetch(1, parked=["k1"]) == []
        assert dict(store.stats().parked) == {"k2": 1}

    def test_it_fails_when_nobody_took_it_in_time(self, store: Store) -> None:
        for job_id, ttl in (("short", 10.0), ("long", 1000.0)):
            delivery = store.run(job_id)
            fields = {"park_key": "k", "delay": ttl, "reason": "unknown task"}
            store.settle(delivery, OutcomeKind.PARKED, **fields)
        store.sweep()
        assert store.state("short") is State.WAITING
        store.later(11.0)
        assert store.sweep() > 0
        record = store.record("short")
        assert (record.state, record.reason) == (State.FAILED, "unknown task")
        assert [d.id for d in store.fetch(5, parked=["k"])] == ["long"]

    def test_a_parked_job_expires(self, store: Store) -> None:
        delivery = store.run("a", expires_in=10.0)
        store.settle(delivery, OutcomeKind.PARKED)
        store.later(11.0)
        assert store.sweep() > 0
        assert store.state("a") is State.EXPIRED
        assert store.fetch(5, parked=[""]) == []

    def test_one_that_is_too_late_is_not_delivered(self, store: Store) -> None:
        delivery = store.run("a", expires_in=10.0)
        store.settle(delivery, OutcomeKind.PARKED, park_key="k", delay=1000.0)
        store.later(11.0)
        assert store.fetch(5, parked=["k"]) == []
        assert store.state("a") is State.EXPIRED
        assert dict(store.stats().parked) == {}

    def test_the_first_under_a_key_rings_every_node(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        store.join("n1")
        store.join("n2")
        one, two = ear("n1"), ear("n2")
        store.park("a", "task:mail")
        for node in (one, two):
            assert node.hears(BellKind.PARKED, job_id="task:mail")
