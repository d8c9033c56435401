"""What a running task can ask about itself, and how whoever runs it is told what it does."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgpack

from taskrunner.errors import ArgumentError, TaskrunnerError

CURRENT: Final[ContextVar[JobContext]] = ContextVar("taskrunner.current_job")
"""The job that runs here; whoever runs one sets it before and resets it after."""

PROGRESS_TEXT_LIMIT: Final = 1000
"""Characters of a progress text that are kept."""

importing = False
"""True while a fork server imports the application: what would start processes must refuse."""

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Progress(NamedTuple):
    """How far a job has come, as the task last said."""

    done: float
    total: float | None = None
    text: str | None = None

    @classmethod
    def unpack(cls, packed: bytes) -> Progress | None:
        """Read what `JobContext.progress` sent; None for anything else."""
        try:
            done, total, text = msgpack.unpackb(packed)
        except Exception:  # noqa: BLE001  msgpack raises a dozen kinds for hostile bytes
            return None
        numbers = _is_number(done) and (total is None or _is_number(total))
        return cls(done, total, text) if numbers and isinstance(text, (str, type(None))) else None


def current_job() -> JobContext:
    """The job that runs here. Raises TaskrunnerError outside of a task.

    A thread that the task starts by itself does not see it; `asyncio.to_thread` does.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise TaskrunnerError("current_job() was called outside of a running task") from None


def _ignore(_: Any) -> None:
    """Nobody listens."""


class JobContext:
    """One run of one job, as the task sees it."""

    __slots__ = (
        "_blocked",
        "_lock",
        "_report_progress",
        "_waits",
        "attempt",
        "cancelled",
        "deadline",
        "headers",
        "id",
        "queue",
        "task",
        "token",
    )

    def __init__(  # noqa: PLR0913  made in one place, by keyword
        self,
        *,
        id: str,  # noqa: A002  its public name
        task: str,
        queue: str,
        attempt: int,
        token: str = "",
        headers: Mapping[str, str] = _NO_HEADERS,
        deadline: datetime | None = None,
        report_progress: Callable[[bytes], None] = _ignore,
        blocked: Callable[[bool], None] = _ignore,
    ) -> None:
        self.id: str = id
        self.task: str = task
        self.queue: str = queue
        self.attempt: int = attempt
        """runs begun, this one included: 1 in the first"""
        self.token: str = token
        """`node:number`, never used twice and growing with each delivery to a node: something to
        guard one's own writes with"""
        self.headers: Mapping[str, str] = headers
        self.deadline: datetime | None = deadline
        """when the job must have ended, over all its runs"""
        self.cancelled: bool = False
        """a cancel was asked for; the task is interrupted for it anyway"""
        self._report_progress = report_progress
        self._blocked = blocked
        self._lock: threading.Lock | None = None
        self._waits: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<JobContext {self.task} {self.id} attempt {self.attempt}>"

    def progress(self, done: float, total: float | None = None, text: str | None = None) -> None:
        """Say how far the job has come; `job.info().progress` shows it within a second.

        Raises ArgumentError where `done` or `total` is not a number or `text` not text.
        """
        for name, value in (("done", done), ("total", total)):
            if not _is_number(value) and (name == "done" or value is not None):
                raise ArgumentError(f"progress {name}={value!r}: expected a number")
        if text is not None and not isinstance(text, str):
            raise ArgumentError(f"progress text={text!r}: expected text")
        shown = text and text[:PROGRESS_TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8")
        self._report_progress(msgpack.packb((done, total, shown)))

    @contextmanager
    def blocking(self, on_deadlock: Callable[[], None]) -> Iterator[None]:
        """While this is open the job waits for another and does not count against its slot.

        `on_deadlock` is called, from another thread, where nobody is left to run what it waits for.
        """
        lock = self._its_lock()
        with lock:
            self._waits.append(on_deadlock)
            # Only the first of several waits of an `async def` task, and the last, are told.
            if len(self._waits) == 1:
                self._blocked(True)
        try:
            yield
        finally:
            with lock:
                self._waits.remove(on_deadlock)
                if not self._waits:
                    self._blocked(False)

    def deadlock(self) -> None:
        """End every wait of this job with WouldDeadlock. Called by whoever runs it."""
        with self._its_lock():
            waits = list(self._waits)
        for on_deadlock in waits:
            on_deadlock()

    def _its_lock(self) -> threading.Lock:
        # Made when first needed: most jobs never wait, and a context is made for every run.
        if self._lock is None:
            with _making_locks:
                self._lock = self._lock or threading.Lock()
        return self._lock


_making_locks = threading.Lock()


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and abs(value) < 2**63
