"""The scheduler, one pass at a time: when it looks after nodes that may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest

from taskrunner.brokers.base import NodeInfo
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.events import Events
from taskrunner.scheduler.house import LAPSE_S, next_lapse
from taskrunner.scheduler.scheduler import SchedulerService
from taskrunner.service import Mishaps
from taskrunner.testing.clock import FakeClock


class Broker(MemoryBroker):
    """Counts how often it is asked to reap."""

    def __init__(self, *others: NodeInfo) -> None:
        super().__init__()
        self.others = list(others)
        self.reaped = 0

    def nodes(self) -> list[NodeInfo]:
        return [NodeInfo("me", lease=15.0), *self.others]

    def reap(self, queues: Sequence[str], limit: int, dead: Sequence[str] = ()) -> int:
        self.reaped += 1
        return 0


class Me:
    id = "me"

    def kept(self) -> list[str]:
        return ["q"]


def scheduler_of(broker: Broker, clock: FakeClock) -> SchedulerService:
    events = Events()

    def ignore(_: Any) -> None: ...

    return SchedulerService(
        broker=broker,
        member=Me(),
        proven_dead=lambda _: [],
        failed=ignore,
        chores=(),
        clock=clock,
        events=events,
        mishaps=Mishaps(clock=clock, events=events, gave_up=ignore),
    )


def other(lease: float, seen_ago: float) -> NodeInfo:
    return NodeInfo("other", lease=lease, seen_ago=seen_ago)


@pytest.mark.parametrize(
    ("nodes", "seconds"),
    [
        ([], inf),
        ([other(15, 5)], 10 + LAPSE_S),
        ([other(15, 12), other(15, 14)], 1 + LAPSE_S),
        ([other(15, 15), other(15, 40)], inf),
    ],
)
def test_the_next_lease_that_may_run_out(nodes: list[NodeInfo], seconds: float) -> None:
    assert next_lapse(nodes) == seconds


def test_a_lease_that_runs_out_is_looked_at_then_and_not_seconds_later() -> None:
    clock, broker = FakeClock(), Broker(other(15, 12))
    scheduler = scheduler_of(broker, clock)
    scheduler.run_once()
    clock.advance(2.9)
    scheduler.run_once()
    assert broker.reaped == 1
    clock.advance(0.2)
    scheduler.run_once()
    assert broker.reaped == 2


def test_nodes_that_beat_are_looked_at_every_few_seconds() -> None:
    clock, broker = FakeClock(), Broker(other(15, 5))
    scheduler = scheduler_of(broker, clock)
    for _ in range(20):
        scheduler.run_once()
        clock.advance(1.0)
    assert broker.reaped == 4
