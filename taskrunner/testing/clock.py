"""Clocks that tests move: one that stands still, and the one by which a store goes."""

from __future__ import annotations

import threading
from types import TracebackType

from taskrunner.brokers.base import Broker


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


class StoreClock:
    """The clock of a broker's store, which everybody who uses the store goes by.

    with StoreClock(app.broker) as clock:
        clock.advance(3600)         # leases run out, delayed jobs fall due, retentions end
        clock.step(-60)             # as NTP does, or a failover to a machine whose clock is wrong

    Moves the store's time against that of all machines; at the end of the block it is right again.
    Raises TypeError for a client's view of a broker.
    """

    def __init__(self, broker: object) -> None:
        if not isinstance(broker, Broker):
            raise TypeError(f"{broker!r} is not a Broker: it cannot move the store's clock")
        self._broker = broker
        self.skew = 0.0
        """seconds by which it is ahead"""

    def __enter__(self) -> StoreClock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.reset()

    def now(self) -> float:
        """What it shows; seconds since the epoch."""
        return self._broker.now()

    def advance(self, seconds: float) -> None:
        """Move it forward. Raises ValueError for a negative number; `step` moves it back."""
        if seconds < 0:
            raise ValueError(f"advance({seconds!r}): time does not go back; step() moves the clock")
        self.step(seconds)

    def step(self, seconds: float) -> None:
        """Move it forward or back."""
        self.skew += seconds
        self._broker.set_skew(self.skew)

    def reset(self) -> None:
        """Make it right again."""
        self.skew = 0.0
        self._broker.set_skew(0.0)
