"""A child's life.

    fork ─▶ own signals, own page, own pipe ─▶ child_start hooks ─▶ READY
         ─▶ main thread runs jobs · listener thread reads the pipe ─▶ STOP ─▶ child_stop hooks ─▶ end

It ends at once when the pipe is closed: then its supervisor is gone, and others may be about to run
what it holds. On Linux the kernel ends it with its fork server, too.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import itertools
import logging
import os
import random
import signal
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from taskrunner import crashpoints
from taskrunner.app import App
from taskrunner.clock import monotonic
from taskrunner.frames import Kind, Why
from taskrunner.middleware import Chain, Middleware
from taskrunner.naming import qualified_name
from taskrunner.worker.executor import Executor, Reports
from taskrunner.worker.listener import Inbox, Listener
from taskrunner.worker.reporter import Reporter
from taskrunner.worker.runner import ConcurrentRunner, Runner, SerialRunner
from taskrunner.worker.startpage import StartPage
from taskrunner.worker.upcall import UpcallBroker, unpack_error

PR_SET_PDEATHSIG = 1
SWITCH_INTERVAL_S = 0.001
PROGRESS_S = 0.2
TITLE_AFTER_S = 0.05

logger = logging.getLogger("taskrunner.worker")


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What a child is told about itself."""

    number: int
    concurrency: int
    node: str
    embedded: bool = False
    """a thread of the supervisor's process: no signals, no title, no exit"""


def run_child(app: App, pipe_fd: int, page_fd: int, settings: ChildSettings) -> None:
    """Live as a child on these descriptors, and return at the end of it."""
    if not settings.embedded:
        _become_a_process_of_its_own()
    page = StartPage.attach(page_fd, settings.concurrency)
    Child(app, pipe_fd, page, settings).live()
    page.close_fd()
    os.close(pipe_fd)


class Child:
    """Puts the parts together, and is what the listener talks to."""

    def __init__(self, app: App, pipe_fd: int, page: StartPage, settings: ChildSettings) -> None:
        self._app = app
        self._settings = settings
        self._reporter = Reporter(pipe_fd)
        self._inbox = Inbox()
        self._calls: dict[int, Future[Any]] = {}
        self._next_call = itertools.count(1)
        self._progress: dict[int, tuple[float, bytes | None]] = {}
        self._title = ""
        self._chain = Chain(app.middleware, report=_report_hook)
        if not settings.embedded and not app.broker.capabilities.shared:
            app.adopt(app.config, broker=UpcallBroker(self._call))
        executor = Executor(
            app, chain=self._chain, reports=Reports(self._report_progress, self._report_blocked)
        )
        self._runner = self._make_runner(executor, page)
        self._listener = Listener(pipe_fd, inbox=self._inbox, reporter=self._reporter, hears=self)

    def _make_runner(self, executor: Executor, page: StartPage) -> Runner:
        if self._settings.concurrency == 1 and not self._settings.embedded:
            return SerialRunner(
                executor=executor,
                inbox=self._inbox,
                reporter=self._reporter,
                page=page,
                make_loop=new_loop,
            )
        return ConcurrentRunner(
            executor=executor,
            inbox=self._inbox,
            reporter=self._reporter,
            page=page,
            concurrency=self._settings.concurrency,
            make_loop=new_loop,
        )

    def live(self) -> None:
        """From the hooks at the start to those at the end."""
        if crashpoints.ARMED:
            crashpoints.reach("child.started")
        self._show("starting")
        self._chain.child_start()
        self._listener.start()
        self._reporter.send(Kind.READY)
        self._show("idle")
        try:
            self._runner.run()
        except BrokenPipeError:
            self.line_closed()
        finally:
            self._listener.stop()
            self._chain.child_stop()

    # -- asked by running jobs

    def _call(self, method: str, value: Any) -> Future[Any]:
        future: Future[Any] = Future()
        call = next(self._next_call)
        self._calls[call] = future
        self._reporter.send(Kind.CALL, call, 0, method, value)
        return future

    def _report_blocked(self, number: int, is_blocked: bool) -> None:
        self._reporter.send(Kind.BLOCKED, number, is_blocked)

    def _report_progress(self, number: int, value: bytes) -> None:
        """At most a few a second for each job; what is left out follows with the next beat."""
        now = monotonic()
        sent, _ = self._progress.get(number, (0.0, None))
        if now - sent >= PROGRESS_S:
            self._progress[number] = (now, None)
            self._reporter.send(Kind.PROGRESS, number, value)
        else:
            self._progress[number] = (sent, value)

    # -- told by the listener

    def interrupt(self, number: int, why: Why) -> None:
        self._runner.interrupt(number, why)

    def deadlock(self, number: int) -> None:
        for run in self._runner.running():
            if run.number == number:
                run.context.deadlock()

    def answer(self, call: int, ok: bool, value: Any) -> None:
        future = self._calls.pop(call, None)
        if future is None:
            return
        if ok:
            future.set_result(value)
        else:
            future.set_exception(unpack_error(value))

    def beat(self) -> None:
        """Once a second: what was held back, and a title that says what runs."""
        running = self._runner.running()
        numbers = {run.number for run in running}
        for number, (_, value) in list(self._progress.items()):
            if number not in numbers:
                del self._progress[number]
            elif value is not None:
                self._progress[number] = (monotonic(), None)
                self._reporter.send(Kind.PROGRESS, number, value)
        # Titles cost microseconds: only a job that has been running for a while gets one.
        old = [run for run in running if monotonic() - run.started > TITLE_AFTER_S]
        self._show(", ".join(f"{run.task.name} {run.context.id}" for run in old) or "idle")

    def line_closed(self) -> None:
        if not self._settings.embedded:
            os._exit(0)
        self._inbox.stopping = True
        self._inbox.ring()

    def _show(self, what: str) -> None:
        if what != self._title and not self._settings.embedded:
            self._title = what
            _set_title(f"taskrunner: worker {self._settings.number} [{what}]")


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _become_a_process_of_its_own() -> None:
    _die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A handler, not SIG_IGN, which every program that a task starts would inherit.
        signal.signal(number, lambda _number, _frame: None)
    random.seed()
    faulthandler.enable()
    # The listener gets the interpreter after a millisecond, also while a task computes: the
    # default of five would delay takes and interrupts.
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def _die_with_parent() -> None:
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)


def _set_title(title: str) -> None:
    from setproctitle import setproctitle

    setproctitle(title)


def _report_hook(name: str, middleware: Middleware, error: Exception) -> None:
    where = f"{qualified_name(type(middleware))}.{name}"
    logger.error("middleware hook %s raised; the job goes on", where, exc_info=error)
