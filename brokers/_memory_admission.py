"""Which jobs of a queue a fetch gets, in the memory broker: by urgency, by limits, by their times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from taskrunner.brokers._memory_job import Job
from taskrunner.brokers._memory_limits import NEVER
from taskrunner.brokers.base import Delivery, Take
from taskrunner.states import State

if TYPE_CHECKING:
    from taskrunner.brokers._memory_queue import Queue


class Taken(NamedTuple):
    """What a fetch got of one queue."""

    deliveries: list[Delivery]
    left: int
    withheld: bool
    opens_in: float | None
    """seconds after which more can be had, where a limit held some back"""


class Admission:
    """One fetch of one queue."""

    def __init__(self, queue: Queue, take: Take, now: float) -> None:
        self._queue = queue
        self._parking = queue.parking
        self._limits = queue.limits
        self._now = now
        self._take = take
        self._delivered = 0
        self._named = [
            self._queue.jobs[job_id] for key in take.parked for job_id in queue.parking.under(key)
        ]
        self._named.reverse()
        self.withheld = False
        """some were not given because they would not start at once"""
        self.has_closed = False
        """some were held back"""

    def deliver(self, node: str, numbers: range) -> Iterator[Job]:
        queue, now = self._queue, self._now
        permitted, opens = self._limits.permitted(len(numbers), queue.counts[State.ACTIVE], now)
        for number in numbers[:permitted]:
            job = self._next_admitted()
            if job is None:
                break
            job.deliver_to(node, number)
            queue.last_number[node] = number
            queue.move(job, State.ACTIVE)
            self._delivered += 1
            yield job
        if self._delivered:
            later = self._limits.use_up(self._delivered, now)
            opens = opens if opens == NEVER else later
        is_full = permitted < len(numbers) and self._delivered >= permitted
        self._parking.hold_queue(opens if is_full else None)
        self.has_closed = self.has_closed or is_full

    def _next_admitted(self) -> Job | None:
        while (job := self._next()) is not None:
            if self._queue.settle_late(job, self._now):
                continue
            what = self._limits.concern(job)
            refused = self._limits.refusal(what, self._now) or self._parking.turn(job, what)
            if refused is not None:
                self._queue.hold_back(job, refused)
                self.has_closed = True
                continue
            if what.is_limited and not self._fits():
                self.withheld = True
                self._queue.stay(job)
                return None
            self._limits.take(job, what, self._now)
            return job
        return None

    def _fits(self) -> bool:
        return self._take.slots is None or self._delivered < self._take.slots

    def _next(self) -> Job | None:
        """Those that were asked for by name; then the most urgent, and of these the ones behind
        gates before those that never were there."""
        if self._named:
            return self._named.pop()
        behind = self._parking.first_behind_gates(self._now)
        ready = self._queue.ready.first()
        if behind is None or (ready is not None and _comes_first(ready, behind)):
            return self._queue.ready.pop()
        return behind


def _comes_first(ready: Job, behind: Job) -> bool:
    """Whether a ready job goes before one behind a gate. One that was delivered before came back,
    and is older than those who waited for its place."""
    came_back = ready.number is not None
    return (ready.priority, came_back) > (behind.priority, False)
