"""Two ways to run what the inbox holds: one job at a time, or several on a loop and in threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any, Protocol

from taskrunner.clock import monotonic
from taskrunner.frames import Kind, Why
from taskrunner.worker.executor import Executor, OutcomeRow, Row, Run, cancelled_before_start
from taskrunner.worker.interrupts import (
    EXCEPTIONS,
    Interrupts,
    SignalInterrupts,
    ThreadInterrupts,
    guard,
)
from taskrunner.worker.listener import Inbox
from taskrunner.worker.reporter import Reporter
from taskrunner.worker.startpage import StartPage
from taskrunner.worker.threads import Threads

QUICK_S = 0.005
"""Outcomes are held back while the next job's task takes less than this."""
LEASE_LOOK_S = 0.05


class Runner(Protocol):
    """Runs jobs until the inbox is stopped and empty."""

    def run(self) -> None: ...
    def interrupt(self, number: int, why: Why) -> None:
        """Stop the run of this delivery. Listener thread."""
        ...

    def running(self) -> list[Run]:
        """What runs now. Any thread."""
        ...


class SerialRunner:
    """Concurrency 1: `def` and `async def` both in the main thread, one at a time."""

    def __init__(
        self,
        *,
        executor: Executor,
        inbox: Inbox,
        reporter: Reporter,
        page: StartPage,
        make_loop: Callable[[], asyncio.AbstractEventLoop],
    ) -> None:
        self._executor = executor
        self._inbox = inbox
        self._reporter = reporter
        self._page = page
        self._make_loop = make_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupts: Interrupts = SignalInterrupts()
        self._current: Run | None = None
        self._coroutine: asyncio.Task[Any] | None = None
        self._cancels = Cancels(inbox)
        self._means: dict[str, float] = {}

    def run(self) -> None:
        rows = self._inbox.rows
        while True:
            if rows and not self._page.may_start():
                self._await_lease()
            try:
                row, arrived = rows.popleft()
            except IndexError:
                self._reporter.flush()
                answer_probes(self._inbox, self._reporter)
                if self._inbox.stopping:
                    break
                self._inbox.wait()
                continue
            outcome = self._one(row, arrived)
            self._reporter.add(outcome, hold=self._next_is_quick())
        if self._loop is not None:
            self._loop.close()

    def _await_lease(self) -> None:
        """The supervisor may be stopped or cut off, and our jobs may be others' by now."""
        self._reporter.flush()
        while self._inbox.rows and not self._page.may_start() and not self._inbox.stopping:
            answer_probes(self._inbox, self._reporter)
            self._inbox.wait_at_most(LEASE_LOOK_S)

    def _next_is_quick(self) -> bool:
        # The next job's task is not known before it is opened: its predecessors' speed stands for
        # it, and a slow one has the waiting outcomes sent before it starts (`_one`).
        return bool(self._inbox.rows)

    def _one(self, row: Row, arrived: float) -> OutcomeRow:
        run = self._executor.open(row, arrived)
        if not isinstance(run, Run):
            return run
        self._current = run
        # After `_current` is set: a cancel that comes now either finds the run or is found here.
        if self._cancels.found(run.number):
            self._current = None
            return cancelled_before_start(row)
        name = run.task.name
        if self._means.get(name, 1.0) >= QUICK_S:
            self._reporter.flush()
        # A context of its own: what a task sets in it must not reach its successor.
        outcome = contextvars.copy_context().run(self._run, run)
        ran: float = outcome[5]
        self._means[name] = 0.8 * self._means.get(name, ran) + 0.2 * ran
        return outcome

    def _run(self, run: Run) -> OutcomeRow:
        self._page.begin(0, run.number)
        try:
            self._executor.begin(run)
            if run.task.is_async:
                value = self._run_async(run)
            else:
                value = guard(self._interrupts, run.number, run.call)
        except BaseException as error:  # noqa: BLE001  whatever a task raises is its outcome
            return self._executor.raised(run, error)
        else:
            return self._executor.returned(run, value)
        finally:
            self._page.end(0)
            self._current = None
            self._interrupts.disarm(run.number)  # one that came since the task ended is forgotten

    def _run_async(self, run: Run) -> Any:
        if self._loop is None:
            self._loop = self._make_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(run.call())
        self._coroutine = task
        if run.why is not None:
            # It was interrupted before there was something to cancel. In the loop, like all
            # others, so that the first of two is the only one.
            self._loop.call_soon(run.cancel, task)
        try:
            return self._loop.run_until_complete(task)
        except asyncio.CancelledError as error:
            if run.why is None:
                raise
            raise interrupted(run, error)  # noqa: B904  its context is not to be shown
        finally:
            self._coroutine = None

    def interrupt(self, number: int, why: Why) -> None:
        if why is Why.CANCEL:
            self._cancels.add(number)
        run = self._current
        if run is None or run.number != number:
            return
        first = run.aim(why)
        if not run.task.is_async:
            if first:
                self._interrupts.request(number, why)
            return
        task, loop = self._coroutine, self._loop
        if task is not None and loop is not None:
            _soon(loop, run.cancel, task)

    def running(self) -> list[Run]:
        current = self._current
        return [] if current is None else [current]


class ConcurrentRunner:
    """Concurrency N: the loop has this thread, `async def` runs on it, `def` in threads."""

    def __init__(
        self,
        *,
        executor: Executor,
        inbox: Inbox,
        reporter: Reporter,
        page: StartPage,
        concurrency: int,
        make_loop: Callable[[], asyncio.AbstractEventLoop],
    ) -> None:
        self._executor = executor
        self._inbox = inbox
        self._reporter = reporter
        self._page = page
        self._make_loop = make_loop
        self._threads = Threads(concurrency)
        self._interrupts: Interrupts = ThreadInterrupts()
        self._free = list(range(concurrency))
        self._slots = concurrency
        self._runs: dict[int, tuple[Run, asyncio.Task[None]]] = {}
        self._cancels = Cancels(inbox)
        self._ended: asyncio.Event
        self._loop: asyncio.AbstractEventLoop

    def run(self) -> None:
        with asyncio.Runner(loop_factory=self._make_loop) as runner:
            runner.run(self._live())
        self._threads.stop()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._inbox.on_ring = lambda: _soon(self._loop, self._rung)
        self._rung()
        await self._ended.wait()

    def _rung(self) -> None:
        answer_probes(self._inbox, self._reporter)
        self._pump()

    def _pump(self) -> None:
        """Start what there is room for, in the order of delivery."""
        rows = self._inbox.rows
        while rows and self._free:
            if not self._page.may_start():
                self._loop.call_later(LEASE_LOOK_S, self._pump)
                break
            try:
                row, arrived = rows.popleft()
            except IndexError:  # the listener has just given it back
                break
            self._start(row, arrived)
        if not rows and len(self._free) == self._slots:
            self._reporter.flush()
            if self._inbox.stopping:
                self._ended.set()

    def _start(self, row: Row, arrived: float) -> None:
        run = self._executor.open(row, arrived)
        if isinstance(run, Run) and self._cancels.found(run.number):
            run = cancelled_before_start(row)
        if not isinstance(run, Run):
            self._reporter.add(run, hold=False)
            return
        slot = self._free.pop()
        self._page.begin(slot, run.number)
        run.started = monotonic()
        task = self._loop.create_task(self._one(run, slot), context=contextvars.copy_context())
        self._runs[run.number] = (run, task)
        # Now that the listener would find it: did a cancel come since the look above?
        if self._cancels.found(run.number):
            self.interrupt(run.number, Why.CANCEL)

    async def _one(self, run: Run, slot: int) -> None:
        try:
            outcome = await self._outcome(run)
        finally:
            self._page.end(slot)
            self._free.append(slot)
            del self._runs[run.number]
            self._interrupts.disarm(run.number)  # one that came since the task ended is forgotten
        self._reporter.add(outcome, hold=bool(self._inbox.rows) and bool(self._runs))
        self._pump()

    async def _outcome(self, run: Run) -> OutcomeRow:
        try:
            self._executor.begin(run)
            value = await (run.call() if run.task.is_async else self._in_thread(run))
        except asyncio.CancelledError as error:
            return self._executor.raised(run, interrupted(run, error))
        except BaseException as error:  # noqa: BLE001  whatever a task raises is its outcome
            return self._executor.raised(run, error)
        return self._executor.returned(run, value)

    async def _in_thread(self, run: Run) -> Any:
        context = contextvars.copy_context()

        def work() -> tuple[bool, Any]:
            # StopIteration cannot travel through a future, and an interrupt must not look like
            # the loop's own: both come home as values.
            try:
                return True, context.run(guard, self._interrupts, run.number, run.call)
            except BaseException as error:  # noqa: BLE001  raised again at home
                return False, error

        return await self._threads.run(work)

    def interrupt(self, number: int, why: Why) -> None:
        if why is Why.CANCEL:
            self._cancels.add(number)
        found = self._runs.get(number)
        if found is None:
            return
        run, task = found
        first = run.aim(why)
        if run.task.is_async:
            _soon(self._loop, run.cancel, task)
        elif first:
            self._interrupts.request(number, why)

    def running(self) -> list[Run]:
        return [run for run, _ in list(self._runs.values())]


class Cancels:
    """Cancels of deliveries that had not started when they came."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._numbers: set[int] = set()

    def add(self, number: int) -> None:
        """Remember one; what is neither waiting nor new is forgotten."""
        self._numbers = (self._numbers & self._inbox.waiting()) | {number}

    def found(self, number: int) -> bool:
        """Whether this delivery is to be cancelled; asked at its start."""
        return bool(self._numbers) and number in self._numbers


def answer_probes(inbox: Inbox, reporter: Reporter) -> None:
    """Say that the main thread is here. Called by it, and only when it has time or was rung."""
    while inbox.probes:
        reporter.send(Kind.PROBED, inbox.probes.popleft(), True)


def interrupted(run: Run, error: asyncio.CancelledError) -> BaseException:
    """What a cancelled coroutine's end stands for: our interrupt, or a cancel of its own."""
    if run.why is None:
        return error
    made = EXCEPTIONS[run.why]().with_traceback(error.__traceback__)
    made.__suppress_context__ = True
    return made


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(call, *args)
