"""Unique keys in the memory broker: by key the job that has it, as long as its record says so."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from taskrunner.brokers._memory_job import Job
from taskrunner.message import UNTIL_STARTED


class Locks(dict[str, str]):
    """Ids of jobs by their unique key. `jobs` are those of the queue."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        super().__init__()
        self._jobs = jobs

    def holder(self, key: str, now: float) -> Job | None:
        """The job that has this key."""
        job = self._jobs.get(self.get(key, ""))
        return job if job is not None and job.has_lock(key, now) else None

    def is_kept_by(self, job: Job | None, key: str) -> bool:
        """Whether an entry belongs here, be its time over or not."""
        return job is not None and job.has_lock(key, -inf)

    def take(self, job: Job) -> None:
        """Let a job have its key, if it is to be unique."""
        if job.lock is not None:
            self[job.lock.key] = job.id

    def give_back(self, job: Job) -> None:
        """A job has ended: its key is free, where no other has it by now."""
        if job.lock is not None and self.get(job.lock.key) == job.id:
            del self[job.lock.key]

    def take_again(self, job: Job, now: float) -> bool:
        """Let a finished job that begins anew have its key. False: another has it."""
        if job.lock is None or job.lock_ends <= now:
            return True
        if self.holder(job.lock.key, now) is not None:
            return False
        self.take(job)
        return True

    def begin(self, job: Job) -> None:
        """A run has begun."""
        if job.lock is not None and job.lock.until == UNTIL_STARTED:
            self.give_back(job)
            job.lock = None
