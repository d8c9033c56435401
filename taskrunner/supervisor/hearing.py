"""What children say, frame by frame, and who is told of it. Main thread only.

pipe ──▶ channel ──frames──▶ received ─▶ looked at (`shapes`) ─▶ dispatcher, upcalls, probes, pool
                                ▲
                                └─ waits behind a question while too many of them are out
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from taskrunner import crashpoints
from taskrunner.brokers.base import Note
from taskrunner.clock import Clock
from taskrunner.frames import FrameError, Kind
from taskrunner.supervisor.child import Child
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.shapes import checked
from taskrunner.supervisor.timelimits import note
from taskrunner.supervisor.upcalls import UpcallService
from taskrunner.worker.upcall import FINISHED

MOST_QUESTIONS = 100
"""Of one child that are out at once."""
MOST_UNREAD = 1024 * 1024
"""Bytes that may wait for a child to read them when it asks something."""
MOST_WAITS = 1_000_000
"""Jobs whose end the tasks of one child wait for at once."""


class HearsProbes(Protocol):
    """Who is told how children answer probes."""

    def heard(self, child: Child, number: int, *, by_main: bool) -> None: ...
    def worked(self, child: Child) -> None: ...
    def gone(self, child: Child) -> None: ...


class Told(Protocol):
    """Who is told what concerns all children together."""

    def ready(self, child: Child) -> None: ...
    def worked(self) -> None:
        """A job was done, somewhere."""
        ...

    def reported(self) -> None:
        """Less is in a child's hands than before."""
        ...

    def blocked(self, child: Child, number: int, is_blocked: bool) -> None:
        """A job of this child waits for the result of another, or does not any more."""
        ...


class Hearing:
    """The ears of a pool."""

    def __init__(
        self,
        *,
        clock: Clock,
        dispatcher: Dispatcher,
        upcalls: UpcallService,
        note: Callable[[str, Note], None],
        told: Told,
    ) -> None:
        self._clock = clock
        self._dispatcher = dispatcher
        self._upcalls = upcalls
        self._note = note
        self._told = told
        self.probes: HearsProbes | None = None
        self.tell_runs: Callable[[Child, list[list[Any]]], None] | None = None
        """told of what a child reports, while the child still holds it"""

    def received(self, child: Child, frames: list[list[Any]]) -> None:
        """Frames have arrived."""
        child.heard_at = self._clock.monotonic()
        child.unheard.extend(frames)
        self.hear_on(child)

    def hear_on(self, child: Child) -> None:
        """Hear what has arrived. A child that asks faster than it can be answered, or does not
        read its answers, has to wait with its next question and all that it says after that: both
        would pile up in this process's memory."""
        try:
            while child.unheard and not self._asks_too_much(child, child.unheard[0]):
                self._hear(child, checked(child.unheard.popleft()))
        except FrameError as error:
            child.unheard.clear()
            child.channel.refuse(str(error))
        if child.unheard:
            child.channel.pause()
        else:
            child.channel.resume()

    @staticmethod
    def _asks_too_much(child: Child, frame: list[Any]) -> bool:
        if frame[0] != Kind.CALL or not child.channel.is_open:
            return False
        return child.questions[False] >= MOST_QUESTIONS or child.channel.unsent > MOST_UNREAD

    def _hear(self, child: Child, frame: list[Any]) -> None:
        match frame:
            case [Kind.DONE, rows]:
                self._done(child, rows)
            case [Kind.TAKEN, _, numbers]:
                self._dispatcher.taken(child, numbers)
                self._told.reported()
            case [Kind.CALL, call, _, method, value]:
                self._asked(child, call, method, value)
            case [Kind.PROGRESS, number, value]:
                self._progress(child, number, value)
            case [Kind.BLOCKED, number, is_blocked]:
                self._told.blocked(child, number, is_blocked)
            case [Kind.PROBED, number, by_main] if self.probes is not None:
                self.probes.heard(child, number, by_main=by_main)
            case [Kind.READY]:
                self._told.ready(child)

    def _done(self, child: Child, rows: list[list[Any]]) -> None:
        self._told.worked()
        child.busy_at = child.heard_at
        if crashpoints.ARMED:
            crashpoints.reach("collect.before")
        if self.tell_runs is not None:
            self.tell_runs(child, rows)
        self._dispatcher.finished(child, rows)
        if self.probes is not None:
            self.probes.worked(child)
        if crashpoints.ARMED:
            crashpoints.reach("collect.after")
        self._told.reported()

    def _asked(self, child: Child, call: int, method: str, value: Any) -> None:
        """A task's question."""
        if not child.channel.is_open:
            return
        loop = asyncio.get_running_loop()
        waits = method == FINISHED
        child.questions[waits] += 1
        if child.questions[True] > MOST_WAITS:
            raise FrameError(f"more than {MOST_WAITS} jobs that its tasks wait for at once")

        def reply(ok: bool, answer: Any) -> None:
            child.channel.send(Kind.ANSWER, call, ok, answer)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._answered, child, waits)

        self._upcalls.asked(method, value, reply)

    def _answered(self, child: Child, waits: bool) -> None:
        child.questions[waits] -= 1
        if child.unheard:
            self.hear_on(child)

    def _progress(self, child: Child, number: int, value: bytes) -> None:
        held = child.held.get(number)
        if held is not None:
            held.noted = True
            now = self._clock.monotonic()
            started = next((at for h, at in child.running() if h is held), now)
            self._note(held.delivery.node, note(child, held, now - started, value))
