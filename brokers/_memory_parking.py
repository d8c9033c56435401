"""Where waiting jobs of a queue are parked in the memory broker, and when they are worth a try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

from taskrunner.brokers._memory_indexes import TimeIndex
from taskrunner.brokers._memory_job import Job
from taskrunner.brokers._memory_limits import NEVER, OPEN, Concern, LimitBook, Refusal
from taskrunner.brokers.limits import LIMIT_PREFIX
from taskrunner.states import State


class Parking:
    """Lines of jobs by key. One under which a limit holds jobs back has a gate: when its first job
    is worth a try. Others are taken by whoever asks for the key."""

    def __init__(
        self, *, jobs: Mapping[str, Job], limits: LimitBook, first_under: Callable[[str], None]
    ) -> None:
        self.lines: dict[str, TimeIndex] = {}
        """by key: ids in the order in which they are taken from there"""
        self._jobs = jobs
        self._limits = limits
        self._gates = limits.gates
        self._first_under = first_under
        self._order = count(1)
        self._held_until: float | None = None
        """the limits of the whole queue permit nothing until then; None: they permit something"""

    def park(self, job: Job, key: str) -> None:
        """Enter a job under a key."""
        is_limit = key.startswith(LIMIT_PREFIX)
        if key not in self.lines:
            self.lines[key] = TimeIndex()
            if is_limit:
                self._gates[key] = OPEN
            else:
                self._first_under(key)
        self.lines[key].add(job.id, job.rank if is_limit else 0.0)

    def unpark(self, job: Job) -> None:
        """Take a job from under its key."""
        key = job.park_key or ""
        line = self.lines.get(key)
        if line is not None:
            line.discard(job.id)
            if not len(line):
                del self.lines[key]
                self._gates.pop(key, None)

    def under(self, key: str) -> list[str]:
        """Ids that whoever asks for this key may have."""
        return [] if key.startswith(LIMIT_PREFIX) else list(self.lines.get(key, ()))

    def rank(self, job: Job) -> float:
        """A place in the line behind a gate: by priority; then those that were delivered before,
        which come back; then in the order in which they came."""
        band = (9 - job.priority) * 2 + (job.number is None)
        return float(band * 2**45 + next(self._order))

    def turn(self, job: Job, what: Concern) -> Refusal | None:
        """Why a job that a rate permits must wait all the same: others, no less urgent, do."""
        if job.state is State.WAITING or what.rate is None:
            return None
        key = f"{LIMIT_PREFIX}rate:{what.rate_scope}"
        first = self.lines[key].first() if key in self.lines else None
        is_later = first is not None and self._jobs[first].priority >= job.priority
        return Refusal(key, None) if is_later else None

    # -- gates

    def first_behind_gates(self, now: float) -> Job | None:
        """The first in line of all that are behind gates which are open."""
        firsts = [
            self._jobs[job_id]
            for key, at in self._gates.items()
            if at <= now and (job_id := self.lines[key].first()) is not None
        ]
        return min(firsts, key=lambda job: job.rank, default=None)

    def close(self, refusal: Refusal) -> None:
        if refusal.tries_at is not None:
            self._gates[refusal.key] = refusal.tries_at

    def hold_queue(self, until: float | None) -> None:
        """Nothing of the queue is to be had until then; None: something is."""
        self._held_until = until

    def open_gates(self, *keys: str) -> None:
        """Let those try who wait there; no key: everybody."""
        for key in keys or list(self._gates):
            if key in self.lines:
                self._gates[key] = OPEN
        self._held_until = None

    def open_due(self, now: float) -> None:
        """Open the gates whose time has come."""
        for key, at in self._gates.items():
            if OPEN < at <= now:
                self._gates[key] = OPEN
        if self._held_until is not None and self._held_until <= now:
            self._held_until = None

    def times(self) -> list[float]:
        """When gates open by the clock."""
        times = [*self._gates.values(), NEVER if self._held_until is None else self._held_until]
        return sorted(at for at in times if OPEN < at < NEVER)

    def to_be_had(self, pending: int, now: float) -> int:
        """How many jobs could be had, of so many that are ready and of those that wait here."""
        if self._held_until is not None:
            return 0
        return pending + sum(at <= now for at in self._gates.values())
