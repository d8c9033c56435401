"""Waiting for a condition, with a deadline instead of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05


def eventually(predicate: Callable[[], T], *, timeout: float = 10.0, message: str = "") -> T:
    """Ask until the answer is true, and return it.

    `timeout` is in seconds. Raises AssertionError, with `message` and the last answer, when the
    time is up; what the predicate itself raises goes through.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE_S
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            what = message or getattr(predicate, "__name__", repr(predicate))
            raise AssertionError(f"not within {timeout:g} s: {what}; last answer: {answer!r}")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
