"""The result backend that lives in one process: the readable reference of `base`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

from taskrunner.backends.base import ResultBackend, ResultKey, StoredResult
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.errors import OptionError


class MemoryBackend(ResultBackend):
    """Results in the memory of this process; they end with it, or when their time is up."""

    schemes: ClassVar[tuple[str, ...]] = ("memory",)
    shared: ClassVar[bool] = False

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._results: dict[ResultKey, tuple[bytes, float]] = {}
        """values, and the monotonic time until which each is kept"""
        self._clean_at = 1024

    @classmethod
    def from_url(cls, url: str, *, namespace: str) -> MemoryBackend:
        """`memory://`; the namespace means nothing here, because nobody else is in the store."""
        if url.rstrip("/") != "memory:":
            raise OptionError(f"backend {url!r}: expected memory:// and nothing after it")
        return cls()

    def ping(self) -> None:
        """Always answers."""

    def store(self, results: Sequence[StoredResult]) -> None:
        with self._lock:
            now = self._clock.monotonic()
            for result in results:
                self._results[result.key] = (result.value, now + result.retention)
            if len(self._results) >= self._clean_at:
                self._drop_old(now)

    def get(self, keys: Sequence[ResultKey]) -> list[bytes | None]:
        with self._lock:
            now = self._clock.monotonic()
            found = [self._results.get(key) for key in keys]
            return [entry[0] if entry and entry[1] > now else None for entry in found]

    def remove(self, keys: Sequence[ResultKey]) -> None:
        with self._lock:
            for key in keys:
                self._results.pop(key, None)

    def close(self) -> None:
        """Nothing to let go of."""

    def _drop_old(self, now: float) -> None:
        """Look at everything each time their number has doubled: a constant cost per result."""
        self._results = {key: entry for key, entry in self._results.items() if entry[1] > now}
        self._clean_at = max(1024, 2 * len(self._results))
