"""As many children as are needed: by hand, and by the load where a range was given.

    dispatcher: slots in use, free ───┐
    planner, else the store: waiting ─┴─▶ autoscale.decide ─▶ more? ─▶ what the machine bears ─▶ pool
    TTIN, TTOU, commands ──────────────────────────────────────────────────────────────────▶ pool

By hand the whole range moves by one, and the number of children with it. So what was done by hand
lasts, and the same number of steps back undoes it. Main thread; the store and the system are asked in
others.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from taskrunner._settings import MOST_PROCESSES
from taskrunner.brokers.base import Broker
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import Events, PoolBounded, PoolResized
from taskrunner.states import State
from taskrunner.supervisor import host, vitals
from taskrunner.supervisor.autoscale import Means, Memory, Rules, Sight, decide, within
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.pool import Pool
from taskrunner.supervisor.vitals import Vitals, read_in_thread
from taskrunner.supervisor.waits import apart

LOOK_S = 0.1
MEASURE_S = 0.4
"""For which the processors are watched before there is one more child."""
ASK_S = 1.0
"""Between two questions to the store, while no slot is free and nothing is known to wait."""


class Rolls(Protocol):
    """Whether children are being replaced by those of other code."""

    @property
    def is_rolling(self) -> bool: ...


class Sizing:
    """`measure` answers what the machine can give; it takes a moment."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        events: Events,
        broker: Broker,
        membership: Membership,
        dispatcher: Dispatcher,
        pool: Pool,
        rolls: Rolls,
    ) -> None:
        self._config = config
        self._clock = clock
        self._events = events
        self._broker = broker
        self._membership = membership
        self._dispatcher = dispatcher
        self._pool = pool
        self._rolls = rolls
        self._offset = 0
        """how far the range was moved by hand"""
        self._memory = Memory()
        self._next_look = clock.monotonic()
        self._asked_at = self._known_at = clock.monotonic() - ASK_S
        self._learnt = 0
        self._waiting = 0
        """jobs in the store that could start, as far as is known"""
        self._has_said = False
        """why there are not more, since work began to wait"""
        self._growing: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self.measure: Callable[[list[Child]], Awaitable[Means]] = measure

    # -- by hand

    def more(self) -> None:
        """One child more."""
        self._move(1)

    def fewer(self) -> None:
        """One child fewer; what it runs it finishes."""
        self._move(-1)

    def _move(self, by: int) -> None:
        offset = self._offset + by
        if not 1 <= self._config.most_processes + offset <= MOST_PROCESSES:
            same = self._pool.target
            self._events.emit(
                PoolResized(processes=same, before=same, why="there is no other number")
            )
            return
        self._offset = offset
        rules = self._rules()
        self._resize(min(rules.high, max(rules.low, self._pool.target + by)), "by hand")

    def _rules(self) -> Rules:
        return Rules(
            low=max(1, self._config.processes + self._offset),
            high=self._config.most_processes + self._offset,
            concurrency=self._config.concurrency,
            grow_after_s=self._config.grow_after_s,
            shrink_after_s=self._config.shrink_after_s,
        )

    def _resize(self, size: int, why: str) -> None:
        before = self._pool.target
        if size != before:
            self._pool.resize(size)
            self._events.emit(PoolResized(processes=size, before=before, why=why))

    # -- by the load

    def look(self) -> None:
        """One look, if it is time for one. Called from the loop as often as you like."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        in_use, free, backlog = self._dispatcher.load()
        crew = self._pool.crew
        self._membership.shows(processes=len(crew), busy=in_use)
        rules = self._rules()
        if rules.low == rules.high or self._rolls.is_rolling:
            self._memory = Memory()
            return
        if not free and self._pool.target < rules.high:
            self._learn(now)
        sight = Sight(
            now=now,
            size=self._pool.target,
            ready=sum(child.phase is Phase.READY for child in crew),
            in_use=in_use,
            free=free,
            waiting=backlog + (self._waiting if now - self._known_at < 2 * ASK_S else 0),
        )
        self._act(sight, rules)

    def _act(self, sight: Sight, rules: Rules) -> None:
        before, is_growing = self._memory, self._growing is not None
        size, self._memory = decide(sight, before, rules)
        if self._memory.pressed_since is None:
            self._has_said = False
        if size < sight.size:
            self._resize(size, "fewer have been enough")
        elif size > sight.size and not is_growing:
            self._growing = asyncio.ensure_future(self._grow(size))
            self._growing.add_done_callback(self._grown)

    async def _grow(self, wanted: int) -> None:
        means = await self.measure(self._pool.crew)
        size, rules = self._pool.target, self._rules()
        if self._memory.pressed_since is None or self._rolls.is_rolling or size >= rules.high:
            return
        bound = within(min(wanted, rules.high), size, means)
        if bound.why and not self._has_said:
            self._has_said = True
            self._events.emit(PoolBounded(processes=bound.size, wanted=wanted, why=bound.why))
        self._resize(bound.size, "work waits")

    def _grown(self, growing: asyncio.Task[None]) -> None:
        self._growing = None
        if not growing.cancelled():
            growing.result()

    # -- what waits in the store

    def _learn(self, now: float) -> None:
        """Fetches tell how much they left. While there is no slot free nothing is fetched, and the
        store is asked now and then."""
        planner = self._membership.planner
        if planner.learnt != self._learnt:
            self._learnt, self._known_at, self._waiting = planner.learnt, now, planner.left
        elif self._asking is None and now - max(self._asked_at, self._known_at) >= ASK_S:
            self._asked_at = now
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._answered)

    async def _ask(self) -> None:
        try:
            stats = await apart(lambda: self._broker.stats(self._membership.queues()))
        except BrokerUnavailable:
            return  # whoever works with the store says so
        self._waiting = sum(one.counts.get(State.PENDING, 0) for one in stats)
        self._known_at = self._clock.monotonic()

    def _answered(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.result()


async def measure(children: list[Child]) -> Means:
    """What the machine has to give, watched for a moment."""
    pids = [child.pid for child in children if child.pid not in (0, os.getpid())]
    before = await read_in_thread([*pids, os.getpid()])
    await asyncio.sleep(MEASURE_S)
    now = await read_in_thread([*pids, os.getpid()])
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, _means, pids, before, now)


def _means(pids: list[int], before: dict[int, Vitals], now: dict[int, Vitals]) -> Means:
    both = before.keys() & now.keys()
    wanted = sum(vitals.demand(before[pid], now[pid], MEASURE_S) for pid in both)
    sizes = [host.own_memory(pid) or now[pid].resident for pid in pids if pid in now]
    return Means(
        cpus=host.cpus(),
        wanted=wanted if both else None,
        free_bytes=host.free_memory(),
        child_bytes=sum(sizes) // len(sizes) if sizes else None,
    )
