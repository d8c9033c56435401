"""The children of a node: started, heard, replaced when they die. Main thread only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import Pipe

from taskrunner.brokers.base import Note
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.errors import StartError
from taskrunner.events import ChildReady, ChildStarted, Events
from taskrunner.frames import Kind
from taskrunner.supervisor.burial import Burial, is_alive
from taskrunner.supervisor.channel import Channel
from taskrunner.supervisor.child import NO_LIMIT, Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.extras import MOST_EXTRA, Extras
from taskrunner.supervisor.generation import Exit, Generation
from taskrunner.supervisor.hearing import Hearing
from taskrunner.supervisor.lastwords import LastWords
from taskrunner.supervisor.restarts import Restarts
from taskrunner.supervisor.upcalls import UpcallService
from taskrunner.worker.main import ChildSettings
from taskrunner.worker.startpage import StartPage

EXIT_S = 5.0
"""How long a child that was told to stop may take to exit once it has closed its pipe."""


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
        self._gave_up = gave_up
        self._embedded = embedded
        self._burial = Burial(dispatcher=dispatcher, events=events, config=config, clock=clock)
        self._last_words = LastWords(is_there=self._is_there)
        self.hearing = Hearing(
            clock=clock, dispatcher=dispatcher, upcalls=upcalls, note=note, told=self
        )
        self._extras = Extras(self, clock=clock, dispatcher=dispatcher)
        self._children: dict[int, Child] = {}
        self.current: Generation | None = None
        """where children come from"""
        self.target = config.processes
        """how many there are to be, extra ones not counted"""
        self._resting = 0
        """children that died and are replaced in a while"""
        self._stopping = False
        self._restarts = Restarts()
        self._lease_until = clock.monotonic() + config.lease_s
        self.changed = asyncio.Event()
        """set whenever a child has become ready, reported or died"""

    @property
    def children(self) -> list[Child]:
        return list(self._children.values())

    @property
    def crew(self) -> list[Child]:
        """Those that count: not the extra ones, nor those that are on their way out; of one that is
        being replaced and the one that takes its place, the latter."""
        return [
            child
            for child in self._children.values()
            if child.phase in (Phase.STARTING, Phase.READY)
            and not (child.extra or child.leaving or child.successor)
        ]

    def of(self, generation: Generation) -> list[Child]:
        """All of this generation that have not been buried."""
        return [child for child in self._children.values() if child.generation is generation]

    # -- starting

    def fill(self) -> None:
        """Start what is missing."""
        for _ in range(self.target - len(self.crew) - self._resting):
            self.start()

    def start(
        self,
        generation: Generation | None = None,
        *,
        extra: bool = False,
        before: Child | None = None,
        trial: bool = False,
    ) -> Child | None:
        """Start a child, of the current generation unless another is named; `before`: the one whose
        place it takes; `trial`: whoever asks looks after it until it is ready. None where there is
        nobody to fork it."""
        generation = generation or self.current
        if self._stopping or generation is None or not generation.is_alive:
            return None
        child = self._make(generation)
        child.extra, child.trial = extra, trial
        if before is not None and self._is_there(before):
            before.successor, child.predecessor = child, before
        ours, theirs = Pipe()
        child.channel = Channel(
            ours,
            asyncio.get_running_loop(),
            received=lambda frames: self.hearing.received(child, frames),
            closed=lambda why: self._closed(child, why),
        )
        child.channel.open()
        settings = ChildSettings(child.number, self._config.concurrency, self._embedded)
        try:
            generation.fork(settings, theirs.fileno(), child.page.fd)
        finally:
            theirs.close()  # kept open, it would hide the child's end
            child.page.close_fd()
        return child

    def _make(self, generation: Generation) -> Child:
        number = next(n for n in range(1, len(self._children) + 2) if n not in self._children)
        page = StartPage.create(self._config.concurrency)
        page.lease_until(self._lease_until)
        child = Child(number, generation, page, self._config.concurrency)
        child.max_jobs = self._config.max_jobs or NO_LIMIT
        child.busy_at = child.heard_at = self._clock.monotonic()
        self._children[number] = child
        return child

    def succeed(self, child: Child) -> bool:
        """Start a child that takes the place of this one, unless too many are on their way out;
        whether it was done."""
        leaving = sum(c.successor is not None for c in self._children.values())
        if self._stopping or leaving >= self.target + MOST_EXTRA:
            return False
        return self.start(extra=child.extra, before=child) is not None

    def child_forked(self, number: int, pid: int) -> None:
        child = self._children.get(number)
        if child is not None:
            child.pid = pid
            self._events.emit(ChildStarted(number=number, pid=pid))

    # -- told by what they say (`Told`)

    def ready(self, child: Child) -> None:
        if child.phase is Phase.STARTING:
            child.phase, child.trial = Phase.READY, False
            self._events.emit(ChildReady(number=child.number, pid=child.pid))
            if child.predecessor is not None:
                self._dispatcher.close(child.predecessor)
            self._dispatcher.add(child)
            self.changed.set()

    def worked(self) -> None:
        self._restarts.job_was_done()

    def reported(self) -> None:
        self.changed.set()

    def blocked(self, child: Child, number: int, is_blocked: bool) -> None:
        self._extras.blocked(child, number, is_blocked)

    # -- leaving

    def relieve(self) -> None:
        """One look at the extra children, and at those that were not heard, because they did not
        read their answers."""
        for child in self.children:
            if child.unheard:
                self.hearing.hear_on(child)
        self._extras.look()

    def resize(self, target: int) -> None:
        """Have so many. Those that are too many finish what runs; the idle ones go first."""
        self.target = target
        self.fill()
        surplus = len(self.crew) - target
        if surplus > 0:
            for child in sorted(self.crew, key=attachment)[:surplus]:
                self.retire(child)

    def retire(self, child: Child) -> None:
        """Let it finish what runs, and end; what it has not begun goes elsewhere. One that still
        starts ends when it has."""
        if child.phase not in (Phase.STARTING, Phase.READY):
            return
        if self._dispatcher.dismiss_idle(child, Phase.STOPPING):
            child.channel.send(Kind.STOP)
        else:
            self._dispatcher.close(child)

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
        is_trial = number in self._children and self._children[number].trial
        self.child_exited(Exit(number, 0, 1))
        if not is_trial:
            self._gave_up(StartError(f"cannot start a process: {why}"))

    def child_exited(self, exit_: Exit) -> None:
        """A child is dead, for certain: give back what it held, start another."""
        child = self._children.pop(exit_.number, None)
        if child is None:
            return
        before, was_trial = child.predecessor, child.trial
        said = child.evidence.lines()
        self._bury(child, exit_)
        if self.hearing.probes is not None:
            self.hearing.probes.gone(child)
        self.changed.set()
        if child.phase is Phase.STOPPING or child.extra or child.successor or self._stopping:
            return
        if was_trial:
            child.end = exit_, said
            return
        try:
            delay = self._restarts.delay_after(child, exit_, said)
        except StartError as error:
            self._gave_up(error)
            return
        self._replace(before, delay)

    def _bury(self, child: Child, exit_: Exit, *, by_us: bool = False) -> None:
        child.channel.drain()
        if child.successor is not None:
            child.successor.predecessor = None
        if child.predecessor is not None:
            child.predecessor.successor = None
        child.trial = False
        self._burial.bury(child, exit_, by_us=by_us)

    def _replace(self, before: Child | None, delay: float) -> None:
        if delay:
            self._resting += 1
            asyncio.get_running_loop().call_later(delay, self._rested, before)
        else:
            self._start_missing(before)

    def _rested(self, before: Child | None) -> None:
        self._resting -= 1
        self._start_missing(before)

    def _start_missing(self, before: Child | None) -> None:
        """One, if there is still one missing."""
        if before is not None or len(self.crew) + self._resting < self.target:
            self.start(before=before)

    async def bury_all(self, children: Sequence[Child]) -> None:
        """Their fork server is dead: kill them, wait until they are gone, then give back."""
        for child in children:
            self._dispatcher.dismiss(child, Phase.KILLED)
            with contextlib.suppress(ProcessLookupError):
                if child.pid not in (0, os.getpid()):  # a thread cannot be killed
                    os.kill(child.pid, signal.SIGKILL)
        for child in children:
            while child.pid not in (0, os.getpid()) and is_alive(child.pid):
                await asyncio.sleep(0.005)
            if self._is_there(child):  # else its end was reported meanwhile
                del self._children[child.number]
                self._bury(child, Exit(child.number, child.pid, -int(signal.SIGKILL)), by_us=True)
        self.changed.set()

    def describe(self) -> list[str]:
        """A line for each child."""
        lines = []
        for child in self.children:
            running = ", ".join(f"{h.task} {h.delivery.id}" for h, _ in child.running()) or "idle"
            lines.append(
                f"child {child.number} pid {child.pid} {_state(child)}: "
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


def attachment(child: Child) -> tuple[bool, int, int]:
    """Whom one would rather keep: who is ready, who holds much, who has been here for long."""
    return child.phase is Phase.READY, len(child.held), -child.number


def _state(child: Child) -> str:
    return "finishing" if child.leaving else child.phase.value
