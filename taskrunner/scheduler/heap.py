"""A heap of what falls due soon, one entry a name, the earliest time counting."""

from __future__ import annotations

import heapq


class DueHeap:
    """Names by their next due time (monotonic seconds)."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._times: dict[str, float] = {}

    def add(self, name: str, at: float) -> None:
        """`name` falls due at `at`, unless it already does sooner."""
        known = self._times.get(name)
        if known is None or at < known:
            self._times[name] = at
            heapq.heappush(self._heap, (at, name))

    def first(self) -> float | None:
        """The next due time."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[str]:
        """Take out every name that is due."""
        due = []
        while (first := self.first()) is not None and first <= now:
            _, name = heapq.heappop(self._heap)
            del self._times[name]
            due.append(name)
        return due

    def __len__(self) -> int:
        return len(self._times)

    def _drop_stale(self) -> None:
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
