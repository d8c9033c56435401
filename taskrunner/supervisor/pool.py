"""The children of a node: started, heard, replaced when they die. Main thread only."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import Callable
from multiprocessing import Pipe
from typing import Any, Protocol

from taskrunner import crashpoints
from taskrunner.brokers.base import Note
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.errors import StartError
from taskrunner.events import ChildReady, ChildStarted, Events
from taskrunner.frames import FrameError, Kind
from taskrunner.supervisor.burial import Burial, is_alive
from taskrunner.supervisor.channel import Channel
from taskrunner.supervisor.child import NO_LIMIT, Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.generation import Exit, Generation
from taskrunner.supervisor.lastwords import LastWords
from taskrunner.supervisor.restarts import Restarts
from taskrunner.supervisor.shapes import checked
from taskrunner.supervisor.timelimits import note
from taskrunner.supervisor.upcalls import UpcallService
from taskrunner.worker.evidence import Line
from taskrunner.worker.main import ChildSettings
from taskrunner.worker.startpage import StartPage
from taskrunner.worker.upcall import FINISHED

MOST_QUESTIONS = 100
"""Of one child that are out at once."""
MOST_UNREAD = 1024 * 1024
"""Bytes that may wait for a child to read them when it asks something."""
MOST_WAITS = 1_000_000
"""Jobs whose end the tasks of one child wait for at once."""
MOST_EXTRA = 8
"""Children started beyond `processes` while all wait for results."""
EXTRA_IDLE_S = 2.0
EXIT_S = 5.0
"""How long a child that was told to stop may take to exit once it has closed its pipe."""


class HearsProbes(Protocol):
    """Who is told how children answer probes."""

    def heard(self, child: Child, number: int, *, by_main: bool) -> None: ...
    def worked(self, child: Child) -> None: ...
    def gone(self, child: Child) -> None: ...


class Pool:
    """Keeps as many children as were asked for, and hears what they say."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        events: Events,
        dispatcher: Dispatcher,
        upcalls: UpcallService,
        note: Callable[[str, Note], None],
        gave_up: Callable[[StartError], None],
        embedded: bool,
    ) -> None:
        self._config = config
        self._clock = clock
        self._events = events
        self._dispatcher = dispatcher
        self._upcalls = upcalls
        self._note = note
        self._gave_up = gave_up
        self._embedded = embedded
        self._burial = Burial(dispatcher=dispatcher, events=events, config=config, clock=clock)
        self._last_words = LastWords(is_there=self._is_there)
        self._children: dict[int, Child] = {}
        self._generation: Generation | None = None
        self._node = ""
        self._stopping = False
        self._restarts = Restarts()
        self._lease_until = clock.monotonic() + config.lease_s
        self.probes: HearsProbes | None = None
        self.changed = asyncio.Event()
        """set whenever a child has become ready, reported or died"""

    @property
    def children(self) -> list[Child]:
        return list(self._children.values())

    # -- starting

    def fill(self, generation: Generation, node: str) -> None:
        """Start what is missing, from this generation, for this node."""
        self._generation = generation
        self._node = node
        missing = self._config.processes - sum(not c.extra for c in self._children.values())
        for _ in range(missing):
            self._start()

    def _start(self, *, extra: bool = False, before: Child | None = None) -> None:
        """Start a child; `before`: the one whose place it takes."""
        if self._stopping or self._generation is None:
            return
        number = next(n for n in range(1, len(self._children) + 2) if n not in self._children)
        page = StartPage.create(self._config.concurrency)
        page.lease_until(self._lease_until)
        child = Child(number, self._generation, page, self._config.concurrency, extra=extra)
        child.max_jobs = self._config.max_jobs or NO_LIMIT
        if before is not None and self._is_there(before):
            before.successor, child.predecessor = child, before
        child.busy_at = child.heard_at = self._clock.monotonic()
        ours, theirs = Pipe()
        child.channel = Channel(
            ours,
            asyncio.get_running_loop(),
            received=lambda frames: self._received(child, frames),
            closed=lambda why: self._closed(child, why),
        )
        self._children[number] = child
        settings = ChildSettings(
            number=number,
            concurrency=self._config.concurrency,
            node=self._node,
            embedded=self._embedded,
        )
        child.channel.open()
        try:
            self._generation.fork(settings, theirs.fileno(), page.fd)
        finally:
            theirs.close()  # kept open, it would hide the child's end
            page.close_fd()

    def succeed(self, child: Child) -> bool:
        """Start a child that takes the place of this one, unless too many are on their way out;
        whether it was done."""
        leaving = sum(c.successor is not None for c in self._children.values())
        if self._stopping or leaving >= self._config.processes + MOST_EXTRA:
            return False
        self._start(extra=child.extra, before=child)
        return True

    def child_forked(self, number: int, pid: int) -> None:
        child = self._children.get(number)
        if child is not None:
            child.pid = pid
            self._events.emit(ChildStarted(number=number, pid=pid))

    # -- hearing

    def _received(self, child: Child, frames: list[list[Any]]) -> None:
        child.heard_at = self._clock.monotonic()
        child.unheard.extend(frames)
        self._hear_on(child)

    def _hear_on(self, child: Child) -> None:
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
                self.changed.set()
            case [Kind.CALL, call, _, method, value]:
                self._asked(child, call, method, value)
            case [Kind.PROGRESS, number, value]:
                self._progress(child, number, value)
            case [Kind.BLOCKED, number, is_blocked]:
                self._blocked(child, number, is_blocked)
            case [Kind.PROBED, number, by_main] if self.probes is not None:
                self.probes.heard(child, number, by_main=by_main)
            case [Kind.READY]:
                self._ready(child)

    def _done(self, child: Child, rows: list[list[Any]]) -> None:
        self._restarts.job_was_done()
        child.busy_at = child.heard_at
        if crashpoints.ARMED:
            crashpoints.reach("collect.before")
        self._dispatcher.finished(child, rows)
        if self.probes is not None:
            self.probes.worked(child)
        if crashpoints.ARMED:
            crashpoints.reach("collect.after")
        self.changed.set()

    def _ready(self, child: Child) -> None:
        if child.phase is Phase.STARTING:
            child.phase = Phase.READY
            self._events.emit(ChildReady(number=child.number, pid=child.pid))
            if child.predecessor is not None:
                self._dispatcher.close(child.predecessor)
            self._dispatcher.add(child)
            self.changed.set()

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
            self._hear_on(child)

    def _progress(self, child: Child, number: int, value: bytes) -> None:
        held = child.held.get(number)
        if held is not None:
            held.noted = True
            now = self._clock.monotonic()
            started = next((at for h, at in child.running() if h is held), now)
            self._note(held.delivery.node, note(child, held, now - started, value))

    # -- jobs that wait for jobs

    def _blocked(self, child: Child, number: int, is_blocked: bool) -> None:
        if not is_blocked:
            self._dispatcher.unblocked(child, number)
            return
        if number in child.held:
            child.blocked.add(number)
        self._dispatcher.rebalance()
        if self._all_wait() and not self._start_extra():
            child.channel.send(Kind.DEADLOCK, number)

    def _all_wait(self) -> bool:
        """Every child that could still run something waits for a result."""
        live = [c for c in self._children.values() if c.phase in (Phase.STARTING, Phase.READY)]
        return bool(live) and all(child.is_blocked for child in live)

    def _start_extra(self) -> bool:
        """One more, while there are not too many."""
        live = (Phase.STARTING, Phase.READY)
        if sum(c.extra and c.phase in live for c in self._children.values()) >= MOST_EXTRA:
            return False
        self._start(extra=True)
        return True

    def relieve(self) -> None:
        """One look at the extra children: let them go when they have been idle for a while, start
        one where all wait (it may have been on its way out when the last of them began to). And one
        at those that were not heard, because they did not read their answers."""
        for child in self.children:
            if child.unheard:
                self._hear_on(child)
        if self._all_wait():
            self._start_extra()
        now = self._clock.monotonic()
        free = any(not c.is_blocked and not c.extra for c in self._children.values())
        for child in self.children:
            idle = child.extra and child.phase is Phase.READY and now - child.busy_at > EXTRA_IDLE_S
            if idle and free and self._dispatcher.dismiss_idle(child, Phase.STOPPING):
                child.channel.send(Kind.STOP)

    def retire(self, child: Child) -> None:
        """Let it finish what runs, and end; one that still starts ends when it has."""
        if child.phase in (Phase.READY, Phase.STARTING):
            self._dispatcher.dismiss(child, Phase.STOPPING)
            child.channel.send(Kind.STOP)

    # -- dying

    def kill(self, child: Child) -> None:
        if child.phase is not Phase.KILLED:
            self._dispatcher.dismiss(child, Phase.KILLED)
            self._last_words.kill(child)

    def _closed(self, child: Child, why: str) -> None:
        """Its end of the pipe is closed or it sent nonsense: either way it is of no more use. One
        that was told to stop closes its end by itself, a moment before it exits."""
        if self._children.get(child.number) is not child or why == "the process ended":
            return
        if child.phase is Phase.STOPPING:
            asyncio.get_running_loop().call_later(EXIT_S, self._kill_if_still_there, child)
        else:
            child.generation.kill(child.number)

    def _kill_if_still_there(self, child: Child) -> None:
        if self._is_there(child):
            self.kill(child)

    def _is_there(self, child: Child) -> bool:
        return self._children.get(child.number) is child

    def fork_failed(self, number: int, why: str) -> None:
        self.child_exited(Exit(number, 0, 1))
        self._gave_up(StartError(f"cannot start a process: {why}"))

    def child_exited(self, exit_: Exit) -> None:
        """A child is dead, for certain: give back what it held, start another."""
        child = self._children.pop(exit_.number, None)
        if child is None:
            return
        child.channel.drain()
        if child.successor is not None:
            child.successor.predecessor = None
        said = child.evidence.lines()
        self._burial.bury(child, exit_)
        if self.probes is not None:
            self.probes.gone(child)
        self.changed.set()
        if child.phase is Phase.STOPPING or child.extra or child.successor or self._stopping:
            return
        self._replace(child, exit_, said)

    def _replace(self, child: Child, exit_: Exit, said: list[Line]) -> None:
        try:
            delay = self._restarts.delay_after(child, exit_, said)
        except StartError as error:
            self._gave_up(error)
            return
        if delay:
            again = functools.partial(self._start, before=child.predecessor)
            asyncio.get_running_loop().call_later(delay, again)
        else:
            self._start(before=child.predecessor)

    async def bury_all(self) -> None:
        """The fork server is dead: kill its children, wait until they are gone, then give back."""
        children = self.children
        for child in children:
            self._dispatcher.dismiss(child, Phase.KILLED)
            with contextlib.suppress(ProcessLookupError):
                if child.pid:
                    os.kill(child.pid, signal.SIGKILL)
        for child in children:
            while child.pid and is_alive(child.pid):
                await asyncio.sleep(0.005)
            self._children.pop(child.number, None)
            child.channel.drain()
            self._burial.bury(
                child, Exit(child.number, child.pid, -int(signal.SIGKILL)), by_us=True
            )
        self.changed.set()

    def describe(self) -> list[str]:
        """A line for each child."""
        lines = []
        for child in self.children:
            running = ", ".join(f"{h.task} {h.delivery.id}" for h, _ in child.running()) or "idle"
            lines.append(
                f"child {child.number} pid {child.pid} {child.phase.value}: "
                f"holds {len(child.held)}, runs {running}"
            )
        return lines

    # -- stopping

    def stop(self) -> None:
        """Start no more children."""
        self._stopping = True

    def lease_until(self, at: float) -> None:
        """Children start jobs only before this monotonic time."""
        self._lease_until = at
        for child in self.children:
            child.page.lease_until(at)
