"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading


class FakeClock:
    """A `Clock` whose two times are set by hand. Thread-safe."""

    def __init__(self, *, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._lock = threading.Lock()
        self._wall = wall
        self._monotonic = monotonic

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ValueError for a negative number: monotonic time never goes back;
        `step` moves what may."""
        if seconds < 0:
            raise ValueError(f"advance({seconds!r}): time does not go back; step() moves the wall")
        with self._lock:
            self._wall += seconds
            self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does; no time passes."""
        with self._lock:
            self._wall += seconds
