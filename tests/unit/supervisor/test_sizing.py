"""How the number of children is moved: by hand, and by the load that is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from taskrunner.brokers.base import Broker, QueueStats
from taskrunner.config import Config
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import Event, Events, PoolBounded, PoolResized
from taskrunner.states import State
from taskrunner.supervisor.autoscale import Means
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.plan import Planner
from taskrunner.supervisor.pool import Pool
from taskrunner.supervisor.sizing import Sizing
from taskrunner.testing.clock import FakeClock

ENOUGH = Means(cpus=64.0, wanted=0.1, free_bytes=2**40, child_bytes=2**20)


class Node:
    """Its children start at once; `busy` slots are in use, and `pending` jobs wait in the store."""

    def __init__(self, processes: int, most: int | None = None) -> None:
        self.clock = FakeClock()
        self.happened: list[Event] = []
        self.target = processes
        self.busy = self.pending = self.asked = 0
        self.is_rolling = False
        self.is_away = False
        self.planner = Planner([("q", 1)], strict=False)
        self.shown: dict[str, int] = {}
        self.means = ENOUGH
        events = Events()
        events.subscribe(self.happened.append)
        self.sizing = Sizing(
            config=Config(processes=processes, processes_max=most, grow_after_s=0.5),
            clock=self.clock,
            events=events,
            broker=cast(Broker, self),
            membership=cast(Membership, self),
            dispatcher=cast(Dispatcher, self),
            pool=cast(Pool, self),
            rolls=self,
        )
        self.sizing.measure = self._measure

    async def _measure(self, children: list[Child]) -> Means:
        return self.means

    # -- its parts

    def load(self) -> tuple[int, int, int]:
        in_use = min(self.busy, self.target)
        return in_use, self.target - in_use, 0

    @property
    def crew(self) -> list[Child]:
        return [cast(Child, SimpleNamespace(phase=Phase.READY))] * self.target

    def resize(self, target: int) -> None:
        self.target = target

    def queues(self) -> list[str]:
        return ["q"]

    def shows(self, **values: int) -> None:
        self.shown = values

    def stats(self, queues: list[str]) -> list[QueueStats]:
        self.asked += 1
        if self.is_away:
            raise BrokerUnavailable("away")
        return [QueueStats("q", {State.PENDING: self.pending})]

    # -- the test's

    async def live(self, seconds: float) -> None:
        """Looks, with the time they take, and whatever they set going."""
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)
            self.sizing.look()
            while tasks := [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]:
                await asyncio.wait(tasks)

    def events(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.happened if isinstance(event, kind)]


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await story()

    asyncio.run(run())


def test_by_hand_a_fixed_number_goes_up_and_down_and_never_below_one() -> None:
    node = Node(2)
    node.sizing.more()
    assert node.target == 3
    for _ in range(5):
        node.sizing.fewer()
    assert node.target == 1
    node.sizing.more()
    assert node.target == 2, "as many steps back undo it; those that led nowhere do not count"
    assert node.events(PoolResized)[-2] == PoolResized(1, 1, "there is no other number")


@pytest.mark.parametrize(("steps", "size"), [(1, 3), (3, 5), (-1, 1), (-3, 1)])
def test_by_hand_the_whole_range_moves(steps: int, size: int) -> None:
    async def story() -> None:
        node = Node(2, 4)
        for _ in range(abs(steps)):
            (node.sizing.more if steps > 0 else node.sizing.fewer)()
        assert node.target == size
        node.busy = node.pending = 100
        await node.live(10)
        assert node.target == 4 + steps
        node.busy = 0
        await node.live(120)
        assert node.target == max(1, 2 + steps)

    play(story)


def test_it_grows_when_the_store_says_that_work_waits() -> None:
    async def story() -> None:
        node = Node(1, 4)
        node.busy = 1
        await node.live(5)
        assert (node.target, node.events(PoolResized)) == (1, [])
        assert 3 <= node.asked <= 6, "about once a second"
        node.busy = node.pending = 9
        await node.live(5)
        assert node.target == 4
        assert node.events(PoolResized)[0] == PoolResized(2, 1, "work waits")
        asked = node.asked
        await node.live(5)
        assert node.asked == asked, "it could not grow any further"

    play(story)


def test_what_fetches_have_left_needs_no_question() -> None:
    async def story() -> None:
        node = Node(1, 2)
        node.busy = 1
        for _ in range(10):
            node.planner.learnt += 1
            node.planner._left["q"] = 5
            await node.live(0.2)
        assert (node.target, node.asked) == (2, 0)

    play(story)


def test_a_store_that_is_away_changes_nothing() -> None:
    async def story() -> None:
        node = Node(1, 4)
        node.is_away, node.busy, node.pending = True, 9, 9
        await node.live(5)
        assert node.target == 1
        node.is_away = False
        await node.live(5)
        assert node.target == 4

    play(story)


def test_an_idle_node_asks_nothing_and_a_fixed_one_never() -> None:
    async def story() -> None:
        idle, fixed = Node(1, 4), Node(2)
        fixed.busy = fixed.pending = 9
        await idle.live(5)
        await fixed.live(5)
        assert (idle.asked, fixed.asked, fixed.target) == (0, 0, 2)
        assert fixed.shown == {"processes": 2, "busy": 2}

    play(story)


def test_the_machine_bounds_it_and_that_is_said_once() -> None:
    async def story() -> None:
        node = Node(2, 16)
        node.means = Means(cpus=2.0, wanted=1.95, free_bytes=None, child_bytes=None)
        node.busy = node.pending = 50
        await node.live(20)
        assert node.target == 2
        (said,) = node.events(PoolBounded)
        assert said.why == "its processes want 1.9 of 2 processors"
        node.means = ENOUGH
        await node.live(20)
        assert node.target == 16

    play(story)


def test_while_children_are_replaced_it_waits() -> None:
    async def story() -> None:
        node = Node(1, 4)
        node.is_rolling, node.busy, node.pending = True, 9, 9
        await node.live(5)
        assert node.target == 1
        node.is_rolling = False
        await node.live(5)
        assert node.target == 4

    play(story)
