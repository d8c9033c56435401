"""Parking: out of the way under a key, until somebody can run it."""

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
        assert store.broker.unpark("q", ["k"], 2) == 2
        assert dict(store.stats().parked) == {"k": 1}
        assert [d.id for d in store.fetch(5)] == ["a", "b"]
        assert store.broker.unpark("q", ["k"], 2) == 1
        assert store.broker.unpark("q", ["k"], 2) == 0
        assert [d.id for d in store.fetch(5)] == ["c"]

    def test_only_those_under_the_keys_that_are_named(self, store: Store) -> None:
        for job_id, key in (("a", "k1"), ("b", "k2"), ("c", "k3")):
            store.park(job_id, key)
        assert store.broker.unpark("q", ["k1", "k3", "unknown"], 10) == 2
        assert {d.id for d in store.fetch(5)} == {"a", "c"}
        assert store.state("b") is State.WAITING
        assert store.broker.unpark("q", [], 10) == 0
        assert store.broker.unpark("nowhere", ["k2"], 10) == 0

    def test_an_unparked_job_is_like_any_other(self, store: Store) -> None:
        parked = store.park("a")
        store.broker.unpark("q", ["k"], 10)
        delivery = store.fetch_one()
        assert (delivery.attempts, delivery.failures, delivery.losses) == (0, 0, 0)
        assert store.settle(parked) is None
        assert store.settle(delivery) is State.SUCCEEDED

    def test_a_job_may_be_parked_again(self, store: Store) -> None:
        store.park("a", "k1")
        store.broker.unpark("q", ["k1"], 10)
        store.settle(store.fetch_one(), OutcomeKind.PARKED, park_key="k2", delay=60.0)
        assert store.broker.unpark("q", ["k1"], 10) == 0
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
        assert store.broker.unpark("q", ["k"], 10) == 1
        assert [d.id for d in store.fetch(5)] == ["long"]

    def test_a_parked_job_expires(self, store: Store) -> None:
        delivery = store.run("a", expires_in=10.0)
        store.settle(delivery, OutcomeKind.PARKED)
        store.later(11.0)
        assert store.sweep() > 0
        assert store.state("a") is State.EXPIRED
        assert store.broker.unpark("q", ["k"], 10) == 0

    def test_what_was_unparked_rings_an_idle_node(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        store.park("a")
        assert store.fetch() == []
        store.broker.unpark("q", ["k"], 10)
        assert node.hears(BellKind.READY)
