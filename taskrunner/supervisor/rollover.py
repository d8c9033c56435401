"""Which code runs: the generations of a node, and how a newer one takes the place of an older.

    reload ─▶ a second fork server imports ──refused──▶ all stays as it is
                      │
                      ▼  until no older child gets jobs
              a newer child starts ──ready──▶ an older one gets nothing more, and ends when what it
                      │                       runs has ended
                      └──five in a row die──▶ back to the older code

So there are never fewer children that take jobs than were asked for. An older fork server stays until
its last child has ended. What is asked for meanwhile waits: two wishes to reload are one. Main thread
only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from taskrunner import crashpoints
from taskrunner.errors import AppNotFound, StartError
from taskrunner.events import Events, Reloaded, ReloadFailed, Reloading, ThreadsAtImport
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.generation import Generation, Manifest
from taskrunner.supervisor.pool import Pool, attachment
from taskrunner.supervisor.restarts import Restarts
from taskrunner.supervisor.waits import until


class Rollover:
    """`make` makes a generation that has not started; `learnt` is told when there may be other
    tasks and schedules than before; `start_timeout_s`: how long a child of new code may take to be ready."""

    def __init__(
        self,
        *,
        make: Callable[[], Generation],
        pool: Pool,
        dispatcher: Dispatcher,
        events: Events,
        start_timeout_s: float,
        learnt: Callable[[Manifest], None],
        gave_up: Callable[[StartError], None],
    ) -> None:
        self._make = make
        self._pool = pool
        self._dispatcher = dispatcher
        self._events = events
        self._start_timeout_s = start_timeout_s
        self._learnt = learnt
        self._gave_up = gave_up
        self.current: Generation | None = None
        """the one whose code is in charge"""
        self._living: list[Generation] = []
        self._in_turn: tuple[Generation, ...] = ()
        """the two of the roll that is under way"""
        self._is_asked = False
        self._is_stopped = False
        self._work: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[None]] = set()

    @property
    def is_rolling(self) -> bool:
        """Children are being replaced."""
        return bool(self._in_turn)

    async def begin(self) -> None:
        """Import for the first time. Raises AppNotFound, StartError."""
        self._take_charge(await self._import())

    def reload(self) -> None:
        """Replace all children by those of code that is imported anew."""
        self._is_asked = True
        self._go_on()

    def server_died(self, generation: Generation) -> None:
        """Its children go with it, and what they held is given back."""
        self._run(self._bury(generation))

    def tidy(self) -> None:
        """A child has ended: perhaps it was the last of its generation."""
        for generation in list(self._living):
            is_used = generation is self.current or generation in self._in_turn
            if not is_used and not self._pool.of(generation):
                self._living.remove(generation)
                self._run(generation.stop())

    async def halt(self) -> None:
        """Replace nothing any more. What is gone is still buried."""
        self._is_stopped = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def stop(self) -> None:
        """End every fork server, and with it what is left of its children."""
        while self._errands:
            await asyncio.wait(set(self._errands))
        while self._living:
            await self._living.pop().stop()

    # -- one thing at a time

    def _go_on(self) -> None:
        is_busy = self._work is not None and not self._work.done()
        if not is_busy and not self._is_stopped and self._has_work():
            self._work = asyncio.ensure_future(self._work_off())
            self._work.add_done_callback(self._worked)

    def _has_work(self) -> bool:
        return self.current is not None and (self._is_asked or not self.current.is_alive)

    async def _work_off(self) -> None:
        while self._has_work():
            assert self.current is not None
            # Whoever asks from here on may have changed the code since: that is another reload.
            self._is_asked = False
            if self.current.is_alive:
                await self._reload(self.current)
            else:
                self._take_charge(await self._import())
                self._pool.fill()

    def _worked(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self._gave_up(StartError(f"cannot start children again: {error}"))

    async def _bury(self, generation: Generation) -> None:
        await self._pool.bury_all(self._pool.of(generation))
        if generation in self._living:
            self._living.remove(generation)
            await generation.stop()
        self._go_on()

    def _run(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    # -- code

    async def _import(self) -> Generation:
        generation = self._make()
        await generation.start()
        self._living.append(generation)
        if threads := generation.manifest.threads:
            self._events.emit(ThreadsAtImport(names=threads))
        return generation

    def _take_charge(self, generation: Generation) -> None:
        """Children come from it from now on, and its tasks are known."""
        is_new, self.current = self.current is not generation, generation
        self._pool.current = generation
        with_children = {id(c.generation): c.generation for c in self._others(generation)}
        self._dispatcher.knows(*(g.manifest.tasks for g in (generation, *with_children.values())))
        if is_new:
            self._learnt(generation.manifest)

    async def _reload(self, older: Generation) -> None:
        if not older.can_reload:
            why = (
                "its jobs run in threads of another program, which only a new start gives new code"
            )
            self._events.emit(ReloadFailed(error=why))
            return
        self._events.emit(Reloading())
        try:
            newer = await self._import()
        except AppNotFound as error:
            self._events.emit(ReloadFailed(error=str(error), traceback=error.user_traceback))
            return
        except StartError as error:
            self._events.emit(ReloadFailed(error=str(error)))
            return
        self._in_turn = (older, newer)
        if crashpoints.ARMED:
            crashpoints.reach("rollover.imported")
        try:
            await self._roll_or_back(older, newer)
        finally:
            self._in_turn = ()
            self.tidy()

    async def _roll_or_back(self, older: Generation, newer: Generation) -> None:
        try:
            await self._roll(newer)
        except StartError as error:
            self._events.emit(ReloadFailed(error=str(error)))
            if self.current is newer and older.is_alive:
                await self._roll_back(older)
            return
        before, now = set(older.manifest.tasks), set(newer.manifest.tasks)
        new, gone = tuple(sorted(now - before)), tuple(sorted(before - now))
        self._events.emit(Reloaded(processes=self._pool.target, new=new, gone=gone))

    async def _roll_back(self, older: Generation) -> None:
        try:
            await self._roll(older)
        except StartError:
            # Neither code can start children now. The older one could: it is tried with patience.
            self._finish(older)

    async def _roll(self, newer: Generation) -> None:
        """Replace every child of other code, one by one. Raises StartError where this one's cannot
        start."""
        restarts = Restarts()
        while self.current is not newer or self._others(newer):
            child = await self._one_more(newer)
            if child.phase is Phase.READY:
                restarts.job_was_done()
                self._take_charge(newer)
                self._retire_one(newer)
                if crashpoints.ARMED:
                    crashpoints.reach("rollover.replaced")
            elif child.end is not None:
                await asyncio.sleep(restarts.delay_after(child, *child.end))
        self._finish(newer)

    def _others(self, one: Generation) -> list[Child]:
        return [child for child in self._pool.crew if child.generation is not one]

    async def _one_more(self, newer: Generation) -> Child:
        """Start a child of it, and wait until that is ready or dead. Raises StartError where there
        is no hope."""
        child = self._pool.start(newer, trial=True)
        if child is None:
            raise StartError("the process that forks its children died")
        limit = self._start_timeout_s
        if not await until(lambda: not child.trial, self._pool.changed, limit):
            self._pool.kill(child)
            raise StartError(f"one of its children was not ready after {limit:g} s")
        return child

    def _retire_one(self, newer: Generation) -> None:
        """Unless there would be too few: one of the others may have died meanwhile."""
        others = self._others(newer)
        if others:
            first = min(others, key=attachment)
            ready = sum(child.phase is Phase.READY for child in self._pool.crew)
            if first.phase is Phase.STARTING or ready > self._pool.target:
                self._pool.retire(first)

    def _finish(self, generation: Generation) -> None:
        """It is in charge, alone."""
        for child in self._pool.children:  # the extra ones, too
            if child.generation is not generation:
                self._pool.retire(child)
        self._take_charge(generation)
        self._pool.resize(self._pool.target)
