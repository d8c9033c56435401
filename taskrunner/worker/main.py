"""A child's life.

    fork ─▶ own signals, own page, own pipe ─▶ child_start hooks ─▶ READY
         ─▶ main thread runs jobs · listener thread reads the pipe ─▶ STOP ─▶ child_stop hooks ─▶ end

It ends at once when the pipe is closed: then its supervisor is gone, and others may be about to run
what it holds. On Linux the kernel ends it with its fork server, too.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import random
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from setproctitle import setproctitle

from taskrunner import crashpoints
from taskrunner.app import App
from taskrunner.clock import monotonic
from taskrunner.context import CURRENT
from taskrunner.frames import Kind, Why
from taskrunner.middleware import Chain, Middleware
from taskrunner.naming import qualified_name
from taskrunner.worker.evidence import Evidence
from taskrunner.worker.executor import Executor, Reports
from taskrunner.worker.listener import Inbox, Listener
from taskrunner.worker.reporter import Reporter
from taskrunner.worker.runner import ConcurrentRunner, Runner, SerialRunner
from taskrunner.worker.startpage import StartPage
from taskrunner.worker.upcall import Calls, UpcallBroker

PR_SET_PDEATHSIG = 1
SWITCH_INTERVAL_S = 0.001
EXIT_CHILD_START = 3
"""The exit status of a child whose `child_start` hook raised."""
TITLE_AFTER_S = 0.05

logger = logging.getLogger("taskrunner.worker")


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What a child is told about itself."""

    number: int
    concurrency: int
    embedded: bool = False
    """a thread of the supervisor's process: no signals, no title, no exit"""


def run_child(app: App, pipe_fd: int, page_fd: int, settings: ChildSettings) -> None:
    """Live as a child on these descriptors, and return at the end of it."""
    if not settings.embedded:
        _become_a_process_of_its_own()
    page = StartPage.attach(page_fd, settings.concurrency)
    if not settings.embedded:
        Evidence(page).watch()
    Child(app, pipe_fd, page, settings).live()
    page.close_fd()
    os.close(pipe_fd)


class Child:
    """Puts the parts together, and is what the listener talks to."""

    def __init__(self, app: App, pipe_fd: int, page: StartPage, settings: ChildSettings) -> None:
        self._app = app
        self._settings = settings
        self._reporter = Reporter(pipe_fd, broken=self.line_closed)
        self._inbox = Inbox()
        self._calls = Calls(self._call)
        self._title = ""
        self._chain = Chain(app.middleware, report=_report_hook)
        if not settings.embedded and not app.broker.capabilities.shared:
            app.adopt(app.config, broker=UpcallBroker(self._calls))
        reports = Reports(self._reporter.progress, self._report_blocked)
        executor = Executor(app, chain=self._chain, reports=reports)
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
        # The listener has the first and the last word: hooks may use the broker, which may take
        # a question and an answer through the pipe.
        self._listener.start()
        try:
            self._chain_start()
            self._reporter.send(Kind.READY)
            if crashpoints.ARMED:
                crashpoints.reach("child.ready")
            self._show("idle")
            self._runner.run()
            if crashpoints.ARMED:
                crashpoints.reach("child.stopping")
            self._chain.child_stop()
        finally:
            self._listener.stop()
            self._reporter.close()

    def _chain_start(self) -> None:
        try:
            self._chain.child_start()
        except BaseException as error:
            if self._settings.embedded:
                logger.exception("a child_start hook raised; the jobs run all the same")
                return
            traceback.print_exception(error)
            raise SystemExit(EXIT_CHILD_START) from error

    # -- asked by running jobs

    def _call(self, call: int, method: str, value: Any) -> None:
        job = CURRENT.get(None)
        number = int(job.token.rpartition(":")[2]) if job is not None else 0
        self._reporter.post(Kind.CALL, call, number, method, value)

    def _report_blocked(self, number: int, is_blocked: bool) -> None:
        self._reporter.post(Kind.BLOCKED, number, is_blocked)

    # -- told by the listener

    def interrupt(self, number: int, why: Why) -> None:
        self._runner.interrupt(number, why)

    def deadlock(self, number: int) -> None:
        for run in self._runner.running():
            if run.number == number:
                run.context.deadlock()

    def answer(self, call: int, ok: bool, value: Any) -> None:
        self._calls.answer(call, ok, value)

    def tick(self) -> bool:
        self._reporter.tick()
        running = self._runner.running()
        # Titles cost microseconds: only a job that has been running for a while gets one.
        now = monotonic()
        old = [run for run in running if now - run.started > TITLE_AFTER_S and run.started]
        self._show(", ".join(f"{run.task.name} {run.context.id}" for run in old[:3]) or "idle")
        return bool(running or self._inbox.rows or self._reporter.is_holding)

    def line_closed(self) -> None:
        if not self._settings.embedded:
            os._exit(0)
        # What has not started is somebody else's by now.
        self._inbox.rows.clear()
        self._inbox.stopping = True
        self._inbox.ring()

    def _show(self, what: str) -> None:
        if what != self._title and not self._settings.embedded:
            self._title = what
            setproctitle(f"taskrunner: worker {self._settings.number} [{what}]")


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
    _read_nothing()
    random.seed()
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


def _read_nothing() -> None:
    """A task that asks for input gets end of file, not the terminal."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _report_hook(name: str, middleware: Middleware, error: BaseException) -> None:
    where = f"{qualified_name(type(middleware))}.{name}"
    logger.error("middleware hook %s raised; the job goes on", where, exc_info=error)
