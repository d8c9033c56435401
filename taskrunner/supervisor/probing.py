"""Probes on their way through this node.

    fetch thread: taken ─▶ main thread: begin ─▶ dispatcher ─▶ pipes ─▶ heard, heard, … ─▶ finish
                                                                                            │
    whoever asked ◀── store ◀── settle thread ◀─────────────────────────────────────────────┘

Whoever asks in the store finds there how far its probe has come: that it was taken, and what the
children said. If the settle thread does not bring that home, it goes another way, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from taskrunner.brokers.base import Broker
from taskrunner.clock import Clock
from taskrunner.errors import BrokerError, BrokerUnavailable
from taskrunner.probes import (
    ANSWER_KEPT_S,
    LONGEST_S,
    RECORDS,
    ChildAnswer,
    ChildState,
    Hop,
    NodeAnswer,
)
from taskrunner.service import Mishaps, ServiceThread
from taskrunner.supervisor import vitals
from taskrunner.supervisor.checkup import WANTS_CPU
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.settle import Letter, SettleService
from taskrunner.supervisor.vitals import Read, Vitals, read_in_thread
from taskrunner.supervisor.waits import apart

MOST: Final = 100
"""Probes under way at once; further ones are dropped."""
PATIENCE_S: Final = 4.0
LOOK_S: Final = 0.05
OTHER_WAY_S: Final = 0.5
"""How long an answer may wait for the settle thread, at least, before it goes another way."""

Reached = Callable[[Hop | None, NodeAnswer | None], None]
"""Is told where a probe is now (None: it is home), and what it brings. Any thread."""


@dataclass(slots=True, eq=False)
class _Asked:
    """One child that a probe was sent to."""

    child: Child
    heard: bool = False
    """the thread that reads the pipe has answered"""
    state: ChildState | None = None
    after: float = 0.0
    seen: tuple[Vitals, float] | None = None
    """what the system said of it, and when, as it had not answered for half of the time"""

    @property
    def is_silent(self) -> bool:
        return self.state is None and not self.heard


@dataclass(slots=True, eq=False)
class _Probe:
    number: int
    to: str
    """the kind of record that holds its answer"""
    taken_at: float
    half: float
    until: float
    asked: list[_Asked] = field(default_factory=list)
    is_seen: bool = False
    """the system was asked about the silent ones"""
    is_told: bool = False


class Probes:
    """Begun, heard and finished on the main thread; `taken` on the fetch thread."""

    def __init__(
        self,
        *,
        broker: Broker,
        node: Callable[[], str],
        dispatcher: Dispatcher,
        settle: SettleService,
        children: Callable[[], Sequence[Child]],
        threads: Callable[[], Sequence[ServiceThread]],
        clock: Clock,
        mishaps: Mishaps,
    ) -> None:
        self._broker = broker
        self._node = node
        self._dispatcher = dispatcher
        self._settle = settle
        self._children = children
        self._threads = threads
        self._clock = clock
        self._mishaps = mishaps
        self._watchers: dict[str, Reached] = {}
        self._taken_at: dict[str, float] = {}
        self._under_way: dict[int, _Probe] = {}
        self._last = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._read: Read = read_in_thread

    def watch(self, to: str, reached: Reached) -> None:
        """Tell somebody in this process, instead of the store, how far this probe has come."""
        self._watchers[to] = reached

    def unwatch(self, to: str) -> None:
        self._watchers.pop(to, None)

    # -- in

    def taken(self, details: Mapping[str, Any]) -> None:
        """The command has arrived. Fetch thread."""
        to = str(details.get("to"))
        if not to.startswith(RECORDS):
            return  # `begin` says so
        self._taken_at[to] = self._clock.monotonic()
        if not self._reached(to, Hop.MAIN):
            self._write_if_possible(to, NodeAnswer())

    def begin(self, details: Mapping[str, Any]) -> None:
        """Ask every child."""
        to = _record_kind(details)
        now = self._clock.monotonic()
        taken_at = self._taken_at.pop(to, now)
        if len(self._under_way) >= MOST:
            return
        self._last += 1
        patience = min(LONGEST_S, max(0.0, float(details.get("patience", PATIENCE_S))))
        probe = _Probe(self._last, to, taken_at, now + patience / 2, now + patience)
        self._under_way[probe.number] = probe
        self._reached(to, Hop.CHILD)
        probe.asked = [_Asked(child) for child in self._dispatcher.probe(probe.number)]
        self._look(probe)

    # -- what children say

    def heard(self, child: Child, number: int, *, by_main: bool) -> None:
        """A child has answered: its listener, or its main thread."""
        for asked in self._of(child, number):
            asked.heard = True
            if by_main:
                self._answered(asked, number)
        self._settle_if_done(number)

    def worked(self, child: Child) -> None:
        """A child has reported outcomes: its main thread works, if it has heard the probe too."""
        if not self._under_way:
            return
        for number in list(self._under_way):
            for asked in self._of(child, number):
                if asked.heard:
                    self._answered(asked, number)
            self._settle_if_done(number)

    def gone(self, child: Child) -> None:
        """A child is dead: its replacement was not asked."""
        for number, probe in list(self._under_way.items()):
            probe.asked = [asked for asked in probe.asked if asked.child is not child]
            self._settle_if_done(number)

    def _of(self, child: Child, number: int) -> list[_Asked]:
        probe = self._under_way.get(number)
        return [] if probe is None else [a for a in probe.asked if a.child is child]

    def _answered(self, asked: _Asked, number: int) -> None:
        if asked.state is None:
            self._decide(asked, self._under_way[number], ChildState.ANSWERED)

    def _decide(self, asked: _Asked, probe: _Probe, state: ChildState) -> None:
        asked.state = state
        asked.after = self._clock.monotonic() - probe.taken_at

    def _look(self, probe: _Probe) -> None:
        """Now and then, while answers are out: who runs a job cannot answer, and need not."""
        if probe.number not in self._under_way:
            return
        now = self._clock.monotonic()
        for asked in probe.asked:
            hears = asked.heard or bool(asked.child.unheard)
            if asked.state is None and hears and any(asked.child.running()):
                self._decide(asked, probe, ChildState.BUSY)
            elif asked.state is None and asked.heard and now >= probe.until:
                self._decide(asked, probe, ChildState.STUCK)
        silent = [asked for asked in probe.asked if asked.is_silent]
        if silent and now >= probe.until:
            self._spawn(self._judge(probe, silent))
            return
        if silent and now >= probe.half and not probe.is_seen:
            probe.is_seen = True
            self._spawn(self._see(silent))
        self._settle_if_done(probe.number)
        asyncio.get_running_loop().call_later(LOOK_S, self._look, probe)

    async def _see(self, silent: Sequence[_Asked]) -> None:
        found = await self._read([asked.child.pid for asked in silent])
        now = self._clock.monotonic()
        for asked in silent:
            if asked.child.pid in found:
                asked.seen = found[asked.child.pid], now

    async def _judge(self, probe: _Probe, silent: Sequence[_Asked]) -> None:
        """Of those that read nothing: who computes and holds the interpreter is busy, too."""
        before = {asked.child.pid: asked.seen for asked in silent}
        try:
            await self._see(silent)
        finally:
            for asked in silent:
                works = any(asked.child.running()) and _works(before[asked.child.pid], asked.seen)
                if asked.state is None:
                    self._decide(asked, probe, ChildState.BUSY if works else ChildState.SILENT)
            self._settle_if_done(probe.number)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- out

    def _settle_if_done(self, number: int) -> None:
        probe = self._under_way.get(number)
        if probe is None or any(asked.state is None for asked in probe.asked):
            return
        del self._under_way[number]
        answer = self._answer(probe)
        self._reached(probe.to, Hop.SETTLE, answer)

        def told() -> None:
            probe.is_told = True
            self._reached(probe.to, None, answer)

        letter = Letter(probe.to, self._node(), answer.pack(), ANSWER_KEPT_S, told)
        self._settle.tell(letter)
        patience = max(OTHER_WAY_S, probe.until - self._clock.monotonic())
        asyncio.get_running_loop().call_later(patience, self._try_other_way, probe, answer)

    def _answer(self, probe: _Probe) -> NodeAnswer:
        now = self._clock.monotonic()
        starting = [c for c in self._children() if c.phase is Phase.STARTING]
        return NodeAnswer(
            is_final=True,
            inside=now - probe.taken_at,
            children=(
                *(_child_answer(a.child, a.state, a.after, now) for a in probe.asked if a.state),
                *(_child_answer(child, ChildState.STARTING, 0.0, now) for child in starting),
            ),
            failing=tuple(self._mishaps.failing),
            dead=tuple(thread.name for thread in self._threads() if thread.has_died),
        )

    def _try_other_way(self, probe: _Probe, answer: NodeAnswer) -> None:
        if probe.is_told or probe.to in self._watchers:
            return
        value = replace(answer, other_way=True)
        self._spawn(apart(lambda: self._write_if_possible(probe.to, value)))

    def _write_if_possible(self, to: str, answer: NodeAnswer) -> None:
        try:
            self._broker.put_record(to, self._node(), answer.pack(), ttl=ANSWER_KEPT_S)
        except BrokerUnavailable:
            pass  # whoever asked hears nothing, and draws the right conclusion
        except BrokerError as error:
            self._mishaps.noticed("probe", error)

    def _reached(self, to: str, hop: Hop | None, answer: NodeAnswer | None = None) -> bool:
        watcher = self._watchers.get(to)
        if watcher is None:
            return False
        watcher(hop, answer)
        return True


def _record_kind(details: Mapping[str, Any]) -> str:
    """Where the answer goes. Raises ValueError for what is no place for one: a command must not
    write over other records."""
    to = details.get("to")
    if not isinstance(to, str) or not to.startswith(RECORDS):
        raise ValueError(f"a probe wants its answer at {to!r}")
    return to


def _child_answer(child: Child, state: ChildState, after: float, now: float) -> ChildAnswer:
    running = max((now - started for _, started in child.running()), default=0.0)
    return ChildAnswer(child.number, child.pid, state, after, running)


def _works(before: tuple[Vitals, float] | None, now: tuple[Vitals, float] | None) -> bool:
    """Whether a process has wanted a processor between two looks."""
    if before is None or now is None or before is now or now[0].is_stopped:
        return False
    seconds = max(0.001, now[1] - before[1])
    return vitals.share(before[0], now[0], seconds) >= WANTS_CPU
