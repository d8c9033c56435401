"""Nodes without processes that share a store and a clock which a test moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taskrunner import App
from taskrunner.brokers.base import Due, NodeInfo, Tick, Ticked, TickKind
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import Event, Events
from taskrunner.scheduler.scheduler import SchedulerService
from taskrunner.schedules import Schedule
from taskrunner.schedulestore import ScheduleStore
from taskrunner.service import Mishaps
from taskrunner.testing.clock import FakeClock

LEASE = 15.0


class CountingBroker(MemoryBroker):
    """Counts calls, remembers what was submitted, and fails where it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.fake = clock
        self.calls: Counter[str] = Counter()
        self.fired: list[tuple[str, float]] = []
        """schedules and slots, in the order in which they were submitted"""
        self.late: list[float] = []
        """seconds by which each of them was"""
        self.away = False
        self.bad: set[str] = set()
        """queues whose slots cannot be asked for"""
        self.kinds: list[TickKind] = []

    def count(self, call: str) -> None:
        if self.away:
            raise BrokerUnavailable()
        self.calls[call] += 1

    def promote(self, queues: Sequence[str], limit: int) -> int:
        self.count("promote")
        return super().promote(queues, limit)

    def due(self, queues: Sequence[str], horizon: float, limit: int) -> list[Due]:
        self.count("due")
        return super().due(queues, horizon, limit)

    def now(self) -> float:
        if self.away:
            raise BrokerUnavailable()
        return super().now()

    def slots(self, queue: str, schedules: Sequence[str], *, firings: int = 0) -> Any:
        self.count("slots")
        if queue in self.bad:
            raise ValueError(f"queue {queue} is damaged")
        return super().slots(queue, schedules, firings=firings)

    def tick(self, ticks: Sequence[Tick]) -> list[Ticked]:
        self.count("tick")
        if any(tick.message.queue in self.bad for tick in ticks):
            raise ValueError("a queue is damaged")
        answers = super().tick(ticks)
        for tick, answer in zip(ticks, answers, strict=True):
            self.kinds.append(answer.kind)
            if answer.kind is TickKind.SUBMITTED and tick.slot is not None:
                self.fired.append((tick.schedule, tick.slot))
                self.late.append(super().now() - tick.due)
        return answers


class Scheduler(SchedulerService):
    """One that may be blind to the fleet."""

    node: Node

    def met(self, nodes: Sequence[NodeInfo]) -> None:
        if not self.node.is_blind:
            super().met(nodes)


class Node:
    """One scheduler, a pass at a time."""

    def __init__(self, name: str, broker: CountingBroker, queues: Iterable[str]) -> None:
        self.id = name
        self.broker = broker
        self.queues = list(queues)
        self.told: list[Event] = []
        self.failures: list[BrokerUnavailable] = []
        events = Events()
        events.subscribe(self.told.append)
        self.mishaps = Mishaps(clock=broker.fake, events=events, gave_up=lambda _: None)
        self.is_blind = False
        self.scheduler = Scheduler(
            broker=broker,
            member=self,
            proven_dead=lambda _: [],
            failed=self.failures.append,
            chores=(),
            clock=broker.fake,
            events=events,
            mishaps=self.mishaps,
        )
        self.scheduler.node = self

    def kept(self) -> list[str]:
        return self.queues

    def join(self) -> None:
        info = NodeInfo(self.id, lease=LEASE, queues=tuple(self.queues))
        self.broker.join(info, self.queues)

    def pass_(self) -> None:
        """What the thread does when it wakes, without the sleep after it."""
        try:
            self.scheduler.run_once()
        except BrokerUnavailable as error:
            self.failures.append(error)
            self.scheduler._next_look = self.broker.fake.monotonic() + 1.0

    def wakes_at(self) -> float:
        """When its thread would wake by itself (monotonic)."""
        scheduler = self.scheduler
        due = (scheduler._promoter.next_at(), scheduler._ticker.next_at())
        times = [scheduler._next_look, scheduler._house.next_at, scheduler._schedules_at]
        times += [scheduler._ticker.next_look, *(at for at in due if at is not None)]
        if scheduler._deployment is not None:
            times.append(scheduler._deploy_at)
        return min(times)

    def heard(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


class Fleet:
    """Nodes that wake when their threads would, in the order of time."""

    def __init__(self, count: int = 1, *, wall: float = 1_700_000_000.0, queue: str = "q") -> None:
        self.clock = FakeClock(wall=wall)
        self.broker = CountingBroker(self.clock)
        self.app = App(self.broker)
        self.queue = queue
        self.nodes = [Node(f"node-{n}", self.broker, [queue]) for n in range(count)]
        for node in self.nodes:
            node.join()

    def add(self, name: str, **said: Any) -> None:
        self.app.schedules.add(name, "t", queue=said.pop("queue", self.queue), **said)

    def stored(self, name: str) -> Schedule:
        found = ScheduleStore(self.broker).find(name)
        assert found is not None
        assert found.schedule is not None
        return found.schedule

    def run(self, seconds: float, *, awake: Callable[[Node], bool] = lambda _: True) -> None:
        """Let time pass."""
        end = self.clock.monotonic() + seconds
        beat_at = self.clock.monotonic()
        while True:
            awakes = [node for node in self.nodes if awake(node)]
            at = min([end, beat_at, *(node.wakes_at() for node in awakes)])
            if at > self.clock.monotonic():
                self.clock.advance(at - self.clock.monotonic())
            if self.clock.monotonic() >= beat_at:
                beat_at = self.clock.monotonic() + LEASE / 3
                for node in awakes:
                    node.join()
            for node in awakes:
                if node.wakes_at() <= self.clock.monotonic():
                    node.pass_()
            if self.clock.monotonic() >= end:
                return

    def fired(self, name: str) -> list[float]:
        return [slot for schedule, slot in self.broker.fired if schedule == name]


def every(fleet: Fleet, name: str, seconds: float, begin: float, until: float) -> bool:
    """Whether each slot was submitted, in order, and once."""
    first = begin - begin % seconds + seconds
    expected = [first + n * seconds for n in range(int((until - first) // seconds) + 1)]
    return fleet.fired(name) == expected
