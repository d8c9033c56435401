"""Looks after children that say nothing: works hard, is stopped, or hangs?

    children ──beats──▶ heard_at ──none for BEATS_MISSED_S──▶ a look at the system, each second
                                                 ──▶ health.after_silence decides ──▶ kill

A child that can be heard costs one comparison a second. Main thread; the system is asked in another.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.supervisor import vitals
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.health import BEATS_MISSED_S, Patience, Silence, after_silence
from taskrunner.supervisor.vitals import Read, Vitals, read_in_thread

LOOK_S = 1.0
SLEPT_S = 5.0
"""Between two looks: then it was this process that did not run, and the beats wait to be read."""
WANTS_CPU = 0.1
"""Share of a processor that a thread must want to count as working."""


@dataclass(slots=True)
class _Watch:
    """What was seen of a silent child. Monotonic times."""

    vitals: Vitals
    at: float
    worked_at: float
    stopped_at: float | None


class Checkup:
    """`kill` is told of each child that has been silent for too long."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        kill: Callable[[Child], None],
        read: Read = read_in_thread,
    ) -> None:
        self._patience = Patience(
            config.silence_stopped_s, config.silence_blocked_s, config.silence_busy_s
        )
        self._clock = clock
        self._kill = kill
        self._read = read
        self._looked_at = clock.monotonic()
        self._watched: dict[Child, _Watch] = {}
        self._condemned: dict[Child, float] = {}
        """children that were told to die, and when that was first seen"""
        self._asking: asyncio.Task[None] | None = None

    def look(self, children: Sequence[Child]) -> None:
        """One look, if it is time for one. Called from the loop as often as you like."""
        now = self._clock.monotonic()
        since = now - self._looked_at
        if since < LOOK_S or self._asking is not None:
            return
        self._looked_at = now
        for child in children:
            if since >= SLEPT_S or child.unheard:  # it is we who did not listen
                child.heard_at = now
        dying = [child for child in children if child.phase is Phase.KILLED]
        self._condemned = {child: self._condemned.get(child, now) for child in dying}
        silent = [child for child in children if self._silence(child, now) >= BEATS_MISSED_S]
        self._watched = {c: watch for c, watch in self._watched.items() if c in silent}
        if silent:
            self._asking = asyncio.ensure_future(self._examine(silent))
            self._asking.add_done_callback(self._asked)

    def _silence(self, child: Child, now: float) -> float:
        """Seconds for which it has not said, or done, what is waited for."""
        if child.pid == os.getpid():  # a thread of this process shares its fate
            return 0.0
        return now - self._condemned.get(child, child.heard_at)

    def _asked(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.result()

    async def _examine(self, silent: Sequence[Child]) -> None:
        servers = {child.generation.server_pid for child in silent}
        found = await self._read([pid for pid in (*servers, *(c.pid for c in silent)) if pid])
        now = self._clock.monotonic()
        for child in silent:
            silence = self._silence(child, now)
            if silence < BEATS_MISSED_S:
                continue
            server = found.get(child.generation.server_pid)
            if server and server.is_stopped and silence >= self._patience.stopped_s:
                # It does not hear that it should fork or kill, and nobody else can.
                child.generation.kill_server()
            elif child.pid in found and child.phase is not Phase.KILLED:
                self._see(child, found[child.pid], now)

    def _see(self, child: Child, seen: Vitals, now: float) -> None:
        watch = self._watched.get(child)
        if watch is None:  # what it uses is known from the second look on
            at = child.heard_at
            self._watched[child] = _Watch(seen, now, at, at if seen.is_stopped else None)
            return
        if vitals.share(watch.vitals, seen, now - watch.at) >= WANTS_CPU:
            watch.worked_at = now
        if not seen.is_stopped:
            watch.stopped_at = None
        elif watch.stopped_at is None:
            watch.stopped_at = watch.at
        watch.vitals, watch.at = seen, now
        self._judge(child, watch, now)

    def _judge(self, child: Child, watch: _Watch, now: float) -> None:
        stopped_at = watch.stopped_at
        silence = Silence(
            lasts_s=now - child.heard_at,
            stopped_s=0.0 if stopped_at is None else now - stopped_at,
            idle_s=now - watch.worked_at,
            is_limited=_is_limited(child),
        )
        sentence = after_silence(silence, self._patience)
        if sentence is not None:
            child.sentence = sentence
            self._kill(child)


def _is_limited(child: Child) -> bool:
    running = [held for held, _ in child.running()]
    return bool(running) and all(held.limit is not None or held.deadline() for held in running)
