"""How often somebody may do something: so many a second, and so many at once.

By GCRA: of each name one number is kept, the moment at which it would have used up all it was
given. What is past is forgotten, and so is the oldest where there are too many names.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from typing import Final

from taskrunner.clock import SYSTEM_CLOCK, Clock

NAMES_AT_MOST: Final = 20_000
_ROUNDING_S: Final = 1e-6


class Buckets:
    """A limit for each of many names. `rate` a second, `burst` at once. Thread-safe."""

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        clock: Clock = SYSTEM_CLOCK,
        names_at_most: int = NAMES_AT_MOST,
    ) -> None:
        self._interval = 1.0 / rate
        self._tolerance = self._interval * (burst - 1)
        self._clock = clock
        self._most = names_at_most
        self._lock = threading.Lock()
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def wait_for(self, name: str) -> float:
        """Seconds until this one may; 0: now. Takes nothing."""
        with self._lock:
            return self._wait(name, self._clock.monotonic())

    def take(self, name: str) -> float:
        """Do it, if it may be done now: 0; else the seconds until it may."""
        now = self._clock.monotonic()
        with self._lock:
            wait = self._wait(name, now)
            if wait <= 0:
                self._spend(name, now)
            return wait

    def spend(self, name: str) -> None:
        """It was done, whether it might be or not."""
        with self._lock:
            self._spend(name, self._clock.monotonic())

    def _wait(self, name: str, now: float) -> float:
        wait = self._empty_at.get(name, now) - self._tolerance - now
        return wait if wait > _ROUNDING_S else 0.0

    def _spend(self, name: str, now: float) -> None:
        self._empty_at[name] = max(now, self._empty_at.pop(name, now)) + self._interval
        while len(self._empty_at) > self._most:
            self._empty_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._empty_at)


def network_of(address: str) -> str:
    """Under which name an address is counted: itself, but an IPv6 one by its /64, because whoever
    has one of these has all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
