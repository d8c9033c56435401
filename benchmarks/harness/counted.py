"""Calls of Python functions, counted: by thread, and in a child by a task of its own.

An application for `benchmarks.counts` alone: its children count, which makes them slow.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from types import FrameType, TracebackType
from typing import Any

from taskrunner import App, Middleware


class Calls:
    """Counts calls of Python functions, generators' turns included, in this thread and in those
    that start while its block is open."""

    def __init__(self) -> None:
        self.by_thread: Counter[str] = Counter()

    def __enter__(self) -> Calls:
        threading.setprofile(self._seen)
        sys.setprofile(self._seen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def of_this(self) -> int:
        return self.by_thread[threading.current_thread().name]

    def of_others(self) -> int:
        return self.by_thread.total() - self.of_this()

    def _seen(self, _: FrameType, event: str, __: Any) -> None:
        if event == "call":
            self.by_thread[threading.current_thread().name] += 1


class CountsInChild(Middleware):
    """Counts in the main thread of a child, where jobs run."""

    def __init__(self) -> None:
        self.calls = 0

    def child_start(self) -> None:
        sys.setprofile(self._seen)

    def _seen(self, _: FrameType, event: str, __: Any) -> None:
        if event == "call":
            self.calls += 1


counter = CountsInChild()
app = App(middleware=[counter])


@app.task
def carry(data: bytes) -> None:
    """Take something along."""


@app.task
def empty() -> None:
    """Nothing."""


@app.task
def calls_so_far() -> int:
    """How many the child's main thread has made since it started."""
    return counter.calls
