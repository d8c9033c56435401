"""How much is given to a child: what it will run in the next few milliseconds.

By what its tasks took before that is hundreds of no-ops, or one job of a second; with `prefetch` set, so
many jobs beyond those that run, whatever they take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskrunner.config import Config
from taskrunner.supervisor.child import Child, Held
from taskrunner.supervisor.durations import Durations

AHEAD_S = 0.05
"""Work given to a child beyond what it runs, when prefetch is automatic."""
REFILL = 0.5
"""The part of that which has been run before more is fetched: each job on its own would cost several
times what it costs among others, and the processor's time is that of the jobs."""
BEHIND_S = 0.05
"""How long a job runs before what waits behind it is asked back."""
MOST_IN_CHILD = 600
MOST_IN_FETCH = 1000


@dataclass(frozen=True, slots=True)
class Free:
    """What there is use for, in all children together."""

    slots: int
    """jobs that could run at once, or that `prefetch` asks for"""
    seconds: float
    """of work that would be run soon; 0 while it is too little to be worth a fetch"""
    size: float
    """bytes"""

    @property
    def is_some(self) -> bool:
        """There may be use for a job."""
        return self.slots > 0 or self.seconds > 0


class Portions:
    """Used under the dispatcher's lock, but for `jobs`."""

    def __init__(self, config: Config) -> None:
        self._prefetch = config.prefetch
        self._most_bytes = config.prefetch_limit_bytes
        self._by_task = Durations()
        self._by_queue = Durations()
        self._expect = self._by_task.expect

    def learn(self, runs: Sequence[tuple[str, str, float]]) -> None:
        """Runs of tasks, from queues, that took so many seconds."""
        self._by_task.learn((task, took) for task, _, took in runs)
        self._by_queue.learn((queue, took) for _, queue, took in runs)

    def free(self, children: Iterable[Child], *, waiting: int, tasks: Iterable[str]) -> Free:
        """What there is use for, less what the `waiting` jobs, of these `tasks`, will take."""
        slots, seconds, most, size = -waiting, 0.0, 0.0, 0.0
        for child in children:
            if child.may_receive and child.bytes < self._most_bytes:
                slots += self._worth_asking(child)
                ahead = AHEAD_S * child.places
                most += ahead
                if len(child.held) < MOST_IN_CHILD:
                    seconds += max(0.0, ahead - child.load)
                size += self._most_bytes - child.bytes
        seconds -= sum(map(self._expect, tasks))
        if slots <= 0 and seconds < REFILL * most:
            seconds = 0.0
        return Free(slots, seconds, size)

    def jobs(self, free: Free, *, queue: str, expected_bytes: float) -> int:
        """How many jobs that is, of this queue, whose jobs weigh so much."""
        if self._prefetch is not None:
            return max(0, min(free.slots, MOST_IN_FETCH))
        wanted = int(free.seconds / self._by_queue.expect(queue))
        fits = max(1, int(free.size / expected_bytes))
        return max(0, min(max(free.slots, wanted), fits, MOST_IN_FETCH))

    def batch(self, child: Child, backlog: deque[Held], most: int) -> list[Held]:
        """Take from the backlog what this child has use for now, at most so many."""
        slots = self._slots(child)
        most = min(most, MOST_IN_CHILD - len(child.held), child.jobs_left)
        ahead = AHEAD_S * child.places if self._prefetch is None else -1.0
        load, size = child.load, child.bytes
        batch: list[Held] = []
        while backlog and len(batch) < most:
            held = backlog[0]
            held.estimate = self._expect(held.task)
            size += held.size
            if len(batch) >= slots and (load + held.estimate > ahead or size > self._most_bytes):
                break
            load += held.estimate
            batch.append(backlog.popleft())
        return batch

    def are_stuck(self, child: Child, now: float, *, idle: bool) -> bool:
        """Whether jobs wait in this child behind others that take long. `idle`: somebody is."""
        if len(child.held) <= child.concurrency - len(child.blocked):
            return False
        if child.is_blocked:
            return True
        if self._prefetch is not None and not idle:
            return False
        running = [started for _, started in child.running()]
        patience = BEHIND_S / 5 if idle else BEHIND_S
        return len(running) >= child.concurrency and now - max(running) > patience

    def _worth_asking(self, child: Child) -> int:
        """Its slots, if one is idle or, with `prefetch`, enough of that has been run."""
        slots = self._slots(child)
        if self._prefetch is None or child.idle_slots or slots >= REFILL * self._prefetch:
            return slots
        return 0

    def _slots(self, child: Child) -> int:
        if self._prefetch is not None:
            return min(child.jobs_left, max(0, child.places + self._prefetch - len(child.held)))
        return child.idle_slots
