"""What the model of a store remembers of limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ModelLimits:
    """What holds the jobs of a queue, which are all of one task."""

    max_running: int | None = None
    rate: tuple[float, int] | None = None
    """seconds from one start to the next, and the burst"""
    is_paused: bool = False
    most_of_queue: int | None = None
    is_queue_paused: bool = False
    tat: float = 0.0

    @property
    def of_queue(self) -> bool:
        return self.is_queue_paused or self.most_of_queue is not None

    def permitted(self, placed: int, active: int, now: float) -> int:
        """How many starts are permitted now."""
        most = [10**6]
        if self.is_paused or self.is_queue_paused:
            most.append(0)
        if self.max_running is not None:
            most.append(self.max_running - placed)
        if self.most_of_queue is not None:
            most.append(self.most_of_queue - active)
        if self.rate is not None:
            interval, burst = self.rate
            self.tat = min(max(self.tat, now), now + interval * burst)
            most.append(int((now + interval * burst - self.tat + 1.0) // interval))
        return max(0, min(most))

    def start(self, now: float) -> None:
        if self.rate is not None:
            self.tat = max(self.tat, now) + self.rate[0]
