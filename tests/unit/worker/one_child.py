"""What a child does with its jobs, without a child: a runner, an inbox, a list of outcomes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskrunner import App
from taskrunner.brokers.base import Blame, Delivery, Outcome, OutcomeKind
from taskrunner.clock import monotonic
from taskrunner.message import ErrorInfo, Message
from taskrunner.middleware import Chain, Middleware
from taskrunner.worker.executor import Executor, Reports
from taskrunner.worker.interrupts import SIGNAL
from taskrunner.worker.listener import Inbox
from taskrunner.worker.main import new_loop
from taskrunner.worker.runner import ConcurrentRunner, Runner, SerialRunner
from taskrunner.worker.startpage import StartPage


class Outcomes:
    """Stands in for the reporter."""

    def __init__(self) -> None:
        self.rows: list[Outcome] = []
        self.held: list[bool] = []

    def add(self, row: tuple[Any, ...], *, hold: bool) -> None:
        outcome = Outcome(*row)
        self.rows.append(
            outcome._replace(kind=OutcomeKind(outcome.kind), blame=Blame(outcome.blame))
        )
        self.held.append(hold)

    def flush(self) -> None: ...


class OneChild:
    """Runs jobs of an app in this thread: give it some, then `run`."""

    def __init__(self, app: App, concurrency: int) -> None:
        self.app = app
        self.inbox = Inbox()
        self.outcomes = Outcomes()
        self.page = StartPage.create(concurrency)
        self.page.lease_until(1e9)
        self.hook_errors: list[tuple[str, BaseException]] = []
        self.progress: list[tuple[int, bytes]] = []
        self.blocked: list[tuple[int, bool]] = []
        parts: dict[str, Any] = {
            "executor": Executor(
                app,
                chain=Chain(app.middleware, report=self._hook_raised),
                reports=Reports(
                    lambda *told: self.progress.append(told),
                    lambda *told: self.blocked.append(told),
                ),
            ),
            "inbox": self.inbox,
            "reporter": self.outcomes,
            "page": self.page,
            "make_loop": new_loop,
        }
        self.runner: Runner = (
            SerialRunner(**parts)
            if concurrency == 1
            else ConcurrentRunner(**parts, concurrency=concurrency)
        )
        self._numbers = 0

    def _hook_raised(self, name: str, _: Middleware, error: BaseException) -> None:
        self.hook_errors.append((name, error))

    def give(self, message: Message | bytes, *, arrived_ago: float = 0.0, **fields: Any) -> int:
        """Put a job into the inbox; answers its delivery's number."""
        self._numbers += 1
        wire = message if isinstance(message, bytes) else message.wire
        row = Delivery(
            "q", f"job-{self._numbers}", "node", self._numbers, wire, 0, 0, 0, 0, None, None
        )
        self.inbox.rows.append((list(row._replace(**fields)), monotonic() - arrived_ago))
        return self._numbers

    def run(self) -> list[Outcome]:
        """Run all of it; the outcomes in the order in which they came."""
        self.inbox.stopping = True
        self.outcomes.rows.clear()
        self.runner.run()
        return list(self.outcomes.rows)

    def one(self, message: Message | bytes, **fields: Any) -> Outcome:
        """Run one job."""
        self.give(message, **fields)
        (outcome,) = self.run()
        return outcome


@contextmanager
def one_child(app: App, concurrency: int = 1) -> Iterator[OneChild]:
    before = signal.getsignal(SIGNAL)
    child = OneChild(app, concurrency)
    try:
        yield child
    finally:
        signal.signal(SIGNAL, before)
        child.page.close_fd()
        child.page.close()


def error_of(outcome: Outcome) -> ErrorInfo:
    assert outcome.error is not None
    return ErrorInfo.unpack(outcome.error)
