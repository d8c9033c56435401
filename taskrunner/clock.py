"""The only place that asks the time.

Wall time is for what is stored or shown, monotonic time for what is measured or waited for. Tests
pass a clock of their own; nothing else in taskrunner calls the `time` module.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time."""

    def wall(self) -> float:
        """Seconds since the epoch, by this machine. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back. Comparable between processes of one host."""
        ...


class SystemClock:
    """The machine's own clocks."""

    wall = staticmethod(time.time)
    # CLOCK_MONOTONIC counts from boot on Linux and macOS, so a child's times mean the same to
    # its supervisor; the start page depends on that.
    monotonic = staticmethod(time.monotonic)


SYSTEM_CLOCK: Clock = SystemClock()

# For the child's hot path, where there is no clock to pass in: one call, no attribute.
wall = time.time
monotonic = time.monotonic
monotonic_ns = time.monotonic_ns
