"""Queues whose only node is gone: the rest of the fleet keeps house there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from taskrunner.brokers.base import Broker, JobKey, Limits, NodeInfo
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.config import Config
from taskrunner.events import Events
from taskrunner.scheduler.scheduler import SchedulerService
from taskrunner.service import Mishaps
from taskrunner.states import State
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.plan import Planner
from taskrunner.testing._conformance_kit import LEASE, Store
from taskrunner.testing.clock import FakeClock

ORPHAN, SERVED = "special", "default"


class Caretaker:
    """A node that serves another queue; one `pass_` is what its threads do in five seconds."""

    def __init__(self, broker: Broker, dead: Callable[[list[NodeInfo]], list[str]]) -> None:
        config = Config(queues=((SERVED, 1),), lease_s=LEASE)
        common: dict[str, Any] = {"broker": broker, "clock": SYSTEM_CLOCK, "events": Events()}
        planner = Planner(config.queues or (), strict=False)
        self.clock = FakeClock()
        self.mishaps = Mishaps(
            clock=self.clock, events=Events(), gave_up=lambda error: pytest.fail(str(error))
        )
        self.broker = broker
        self.membership = Membership(**common, config=config, planner=planner)
        self.membership.join()
        self.scheduler = SchedulerService(
            **{**common, "clock": self.clock},
            member=self.membership,
            proven_dead=dead,
            failed=lambda error: pytest.fail(str(error)),
            chores=[self.membership.look_after_orphans],
            mishaps=self.mishaps,
        )

    def pass_(self, store: Store) -> None:
        store.later(5.0)
        self.clock.advance(5.0)
        self.broker.beat(self.membership.info, self.membership.queues())
        self.membership.beat_among_orphans()
        self.scheduler.run_once()
        assert not self.mishaps.counts


def nobody_is_proven_dead(_: list[NodeInfo]) -> list[str]:
    return []


def orphaned(store: Store) -> None:
    """A queue whose only node holds one job and is gone; others wait there."""
    store.join("gone", [ORPHAN])
    store.enqueue("held", queue=ORPHAN)
    store.fetch_one(node="gone", queue=ORPHAN)
    store.enqueue("late", queue=ORPHAN, expires_in=20.0)
    store.enqueue("due", queue=ORPHAN, delay=20.0)


def test_what_a_lost_node_held_is_taken_back_and_time_goes_on(broker: Broker) -> None:
    store = Store(broker)
    orphaned(store)
    store.join("gone", [ORPHAN])
    # The description of a node says what it serves; the kit's says nothing.
    broker.join(replace(NodeInfo("gone", LEASE), queues=(ORPHAN,)), [ORPHAN])
    caretaker = Caretaker(broker, nobody_is_proven_dead)
    for _ in range(20):
        caretaker.pass_(store)
    states = [store.state(job, queue=ORPHAN) for job in ("held", "late", "due")]
    assert states == [State.PENDING, State.EXPIRED, State.PENDING]
    assert store.record("held", queue=ORPHAN).losses == 1
    assert caretaker.membership.queues() == [SERVED]  # it takes no job from there
    # Whoever serves the queue next finds all of it ready, at once.
    store.join("next", [ORPHAN])
    assert {d.id for d in store.fetch(10, node="next", queue=ORPHAN)} == {"held", "due"}


def test_a_node_that_is_proven_dead_is_taken_from_in_all_its_queues(broker: Broker) -> None:
    store = Store(broker)
    orphaned(store)
    broker.join(replace(NodeInfo("gone", LEASE), queues=(ORPHAN,)), [ORPHAN])
    caretaker = Caretaker(broker, lambda nodes: [node.id for node in nodes if node.id == "gone"])
    caretaker.pass_(store)
    assert store.state("held", queue=ORPHAN) is State.PENDING


def test_a_queue_that_is_served_is_nobody_elses_business(broker: Broker) -> None:
    store = Store(broker)
    store.enqueue("a", queue=ORPHAN)
    server = replace(NodeInfo("server", LEASE), queues=(ORPHAN,))
    broker.join(server, [ORPHAN])
    caretaker = Caretaker(broker, nobody_is_proven_dead)
    for _ in range(8):
        caretaker.pass_(store)
        broker.beat(server, [ORPHAN])
    assert caretaker.membership.kept() == [SERVED]


def test_it_is_left_alone_again_when_somebody_serves_it(broker: Broker) -> None:
    store = Store(broker)
    store.enqueue("a", queue=ORPHAN)
    caretaker = Caretaker(broker, nobody_is_proven_dead)
    caretaker.pass_(store)
    assert caretaker.membership.kept() == [SERVED, ORPHAN]
    server = replace(NodeInfo("server", LEASE), queues=(ORPHAN,))
    broker.join(server, [ORPHAN])
    for _ in range(8):
        caretaker.pass_(store)
        broker.beat(server, [ORPHAN])
    assert caretaker.membership.kept() == [SERVED]


def test_an_orphan_that_is_wiped_out_costs_the_caretaker_nothing(redis_url: str) -> None:
    broker = RedisBroker.from_url(redis_url, namespace=uuid4().hex, limits=Limits())
    store = Store(broker)
    store.enqueue("a", queue=ORPHAN)
    caretaker = Caretaker(broker, nobody_is_proven_dead)
    caretaker.pass_(store)
    before = caretaker.membership.id
    (keys,) = broker._calls.ask([("KEYS", broker._keys.of_queue(ORPHAN, "*"))])
    broker._calls.ask([("DEL", *keys)])
    for _ in range(3):
        caretaker.pass_(store)
    assert caretaker.membership.id == before
    assert broker.get([JobKey(ORPHAN, "a")]) == [None]
    broker.close()
