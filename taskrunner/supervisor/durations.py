"""How long tasks take, learnt from what they took: the basis of automatic prefetch."""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN_S = 1.0
"""What a task is taken for until it has run: long enough to be given out one at a time."""
OVERHEAD_S = 20e-6
"""What any job costs a child besides its own work."""
NEWEST = 0.2
"""Weight of the newest batch in the moving average."""


class Durations:
    """Moving averages by name. A slow newcomer shows at once; a fast one needs a few batches."""

    def __init__(self) -> None:
        self._mean: dict[str, float] = {}

    def expect(self, name: str) -> float:
        """Seconds that a job of this name is expected to take."""
        return self._mean.get(name, UNKNOWN_S)

    def learn(self, runs: Iterable[tuple[str, float]]) -> None:
        """Take in runs as pairs of name and seconds."""
        sums: dict[str, list[float]] = {}
        for name, seconds in runs:
            entry = sums.get(name)
            if entry is None:
                sums[name] = [seconds, 1.0]
            else:
                entry[0] += seconds
                entry[1] += 1.0
        for name, (total, count) in sums.items():
            mean = total / count + OVERHEAD_S
            before = self._mean.get(name)
            self._mean[name] = mean if before is None else before + NEWEST * (mean - before)
