"""Children that have had their time: `max_jobs`, `max_memory`. One by one, in good order.

    used up or too big ──▶ successor is started ──ready──▶ the old one gets nothing more, what it has
                             not begun goes elsewhere ──it is empty──▶ it ends

Until the old one is empty, what it runs counts in its successor too: together they never run more
than one child may. So nothing is interrupted, nothing waits for a start, and no more runs than before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.events import ChildReplaced, ChildTooBig, Events, MemoryLimitTooLow
from taskrunner.frames import Kind
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.pool import Pool
from taskrunner.supervisor.vitals import Read, Vitals, read_in_thread

MEMORY_LOOK_S = 2.0
FAR_TOO_BIG = 1.5
"""Times the limit, from which on the log speaks of it."""


class Renewal:
    """Main thread only; the system is asked in another."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        events: Events,
        dispatcher: Dispatcher,
        pool: Pool,
        read: Read = read_in_thread,
    ) -> None:
        self._limit = config.max_memory_bytes
        self._clock = clock
        self._events = events
        self._dispatcher = dispatcher
        self._pool = pool
        self._read = read
        self._measured_at = clock.monotonic()
        self._measuring: asyncio.Task[None] | None = None
        self._warned: set[Child] = set()

    def look(self) -> None:
        """One look at who is to go. Called from the loop as often as you like."""
        for child in self._pool.children:
            if child.jobs_left <= 0:
                self._renew(child, f"it has been given {child.given} jobs")
            if child.leaving and self._dispatcher.dismiss_idle(child, Phase.STOPPING):
                child.channel.send(Kind.STOP)
        now = self._clock.monotonic()
        due = now - self._measured_at >= MEMORY_LOOK_S and self._measuring is None
        if self._limit is not None and due:
            self._measured_at = now
            self._measuring = asyncio.ensure_future(self._measure(self._pool.children))
            self._measuring.add_done_callback(self._measured)

    def _renew(self, child: Child, why: str) -> None:
        if child.phase is Phase.READY and child.successor is None and self._pool.succeed(child):
            self._events.emit(ChildReplaced(number=child.number, pid=child.pid, why=why))

    # -- memory

    def _measured(self, measuring: asyncio.Task[None]) -> None:
        self._measuring = None
        if not measuring.cancelled():
            measuring.result()

    async def _measure(self, children: Sequence[Child]) -> None:
        # A thread of this process cannot be replaced by a smaller one.
        there = [child for child in children if child.pid not in (0, os.getpid())]
        found = await self._read([child.pid for child in there])
        self._warned.intersection_update(there)
        for child in there:
            if child.pid in found and child.phase is Phase.READY:
                self._weigh(child, found[child.pid])

    def _weigh(self, child: Child, seen: Vitals) -> None:
        assert self._limit is not None
        if seen.resident <= self._limit:
            return
        if not child.given:
            # Another one would be as big: this is what the application takes.
            self._warn(child, MemoryLimitTooLow(self._limit, seen.resident))
            return
        self._renew(child, f"it uses {_mib(seen.resident)} MiB of memory")
        if seen.resident > FAR_TOO_BIG * self._limit and child.held:
            runs = tuple(f"{held.task} {held.delivery.id}" for held, _ in child.running())
            self._warn(
                child,
                ChildTooBig(child.number, child.pid, self._limit, seen.resident, runs),
            )

    def _warn(self, child: Child, event: ChildTooBig | MemoryLimitTooLow) -> None:
        if child not in self._warned:
            self._warned.add(child)
            self._events.emit(event)


def _mib(size: int) -> int:
    return round(size / 2**20)
