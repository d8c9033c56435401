"""The audit of the memory broker. One queue is one slice: it is looked through under the lock.

Records and indexes are compared as they are. A set of a node without a lease is no damage here:
the next `reap` takes it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias, TypeVar

from taskrunner.brokers._memory_job import Job
from taskrunner.brokers._memory_queue import Queue
from taskrunner.brokers.base import PRIORITIES, Finding, FindingKind
from taskrunner.states import IDLE, State

K = TypeVar("K")

Mend: TypeAlias = Callable[[], object]


def audit(queue: Queue, now: float, *, repair: bool) -> list[Finding]:
    """What is wrong in a queue."""
    found = _QueueAudit(queue, now, repair=repair)
    found.entries()
    found.locks()
    found.jobs()
    found.counters()
    return found.findings


class _QueueAudit:
    def __init__(self, queue: Queue, now: float, *, repair: bool) -> None:
        self.findings: list[Finding] = []
        self._queue = queue
        self._now = now
        self._repair = repair

    def _found(self, kind: FindingKind, subject: str, detail: str, mend: Mend) -> None:
        if self._repair:
            mend()
        self.findings.append(Finding(kind, self._queue.name, subject, detail, self._repair))

    def entries(self) -> None:
        """Each has a job, and belongs where it is."""
        self._ready_entries()
        for index, job_id, drop in list(self._all_entries()):
            job = self._queue.jobs.get(job_id)
            if job is None:
                self._found(FindingKind.LOST, job_id, f"in {index}, but its record is gone", drop)
            elif index not in _indexes_of(job):
                detail = f"in {index}, but the job is {job.state}"
                self._found(FindingKind.MISPLACED, job_id, detail, drop)

    def _ready_entries(self) -> None:
        seen: set[str] = set()
        for job in self._queue.ready.entries():
            where = f"ready:{job.priority}"
            if job.id in seen:
                drop = partial(self._queue.ready.drop_last, job)
                self._found(FindingKind.DOUBLED, job.id, f"twice in {where}", drop)
            elif job.id not in self._queue.jobs:
                # The entry holds the record itself.
                restore = partial(self._queue.jobs.__setitem__, job.id, job)
                detail = f"in {where}, but its record is gone"
                self._found(FindingKind.LOST, job.id, detail, restore)
            seen.add(job.id)

    def _all_entries(self) -> Iterator[tuple[str, str, Mend]]:
        """Index, id, and how to take it out; without the ready lists."""
        queue = self._queue
        for name in ("timers", "parked_until", "done", "failed", "expiring"):
            index = getattr(queue, name)
            for job_id in index.ids():
                yield name, job_id, partial(index.discard, job_id)
        for key, line in queue.parked.items():
            for job_id in line:
                yield f"parked:{key}", job_id, partial(line.discard, job_id)
        for node, held in queue.held.items():
            for job_id in held:
                yield f"held:{node}", job_id, partial(held.pop, job_id, None)
        for scope, places in queue.limits.places.items():
            for job_id in places:
                yield f"places:{scope}", job_id, partial(places.pop, job_id, None)

    def jobs(self) -> None:
        """Each is in the indexes of its state."""
        members = {(index, job_id) for index, job_id, _ in self._all_entries()}
        members |= {(f"ready:{job.priority}", job.id) for job in self._queue.ready.entries()}
        for job in list(self._queue.jobs.values()):
            missing = [i for i in _indexes_of(job) if (i, job.id) not in members]
            if missing:
                kind = FindingKind.UNHELD if job.state is State.ACTIVE else FindingKind.UNINDEXED
                detail = f"{job.state}, and not in {', '.join(missing)}"
                self._found(kind, job.id, detail, partial(self._put_back, job, missing))

    def _put_back(self, job: Job, missing: list[str]) -> None:
        queue = self._queue
        if job.state is State.ACTIVE:
            queue.take_back(job, self._now, lost=True)
            return
        for index in missing:
            kind, _, key = index.partition(":")
            if kind == "ready":
                queue.ready.add(job, head=True)
                queue.ready.counts[job.priority] -= 1  # it was counted
            elif kind == "parked":
                queue.parking.park(job, key)
            elif kind == "places" and job.place is not None:
                queue.limits.places.setdefault(job.place, {})[job.id] = None
            else:
                getattr(queue, kind).add(job.id, _time_of(job, kind, self._now))

    def locks(self) -> None:
        """Each is that of a job that has it, and each job that is to be unique has its own."""
        locks, jobs = self._queue.locks, self._queue.jobs
        for key, job_id in list(locks.items()):
            job = jobs.get(job_id)
            if not locks.is_kept_by(job, key):
                kind = FindingKind.LOST if job is None else FindingKind.MISPLACED
                why = "its record is gone" if job is None else f"the job is {job.state}"
                self._found(kind, job_id, f"in locks, but {why}", partial(locks.pop, key))
        for job in jobs.values():
            key = job.lock.key if job.lock is not None else ""
            if job.has_lock(key, self._now) and key not in locks:
                detail = "unique, and its key is free"
                self._found(
                    FindingKind.LOCK, job.id, detail, partial(locks.__setitem__, key, job.id)
                )

    def counters(self) -> None:
        """Each says how many jobs there are."""
        jobs = self._queue.jobs.values()
        states = Counter(job.state for job in jobs)
        ready = Counter(job.priority for job in jobs if job.state is State.PENDING)
        for state in State:
            self._compare(str(state), self._queue.counts, state, states[state])
        for priority in PRIORITIES:
            self._compare(f"p{priority}", self._queue.ready.counts, priority, ready[priority])

    def _compare(self, name: str, counts: dict[K, int], key: K, truth: int) -> None:
        if counts[key] != truth:
            detail = f"says {counts[key]}, there are {truth}"
            self._found(FindingKind.COUNTER, name, detail, partial(counts.__setitem__, key, truth))


def _indexes_of(job: Job) -> list[str]:
    """The indexes that a job of this state is in."""
    match job.state:
        case State.PENDING:
            found = [f"ready:{job.priority}"]
        case State.SCHEDULED | State.RETRYING:
            found = ["timers"]
        case State.WAITING:
            found = [f"parked:{job.park_key or ''}", "parked_until"]
        case State.ACTIVE:
            found = [f"held:{job.node or ''}"]
            if job.place is not None:
                found.append(f"places:{job.place}")
        case State.FAILED:
            found = ["failed"]
        case _:
            found = ["done"]
    if job.state in IDLE and job.expires_at is not None:
        found.append("expiring")
    return found


def _time_of(job: Job, index: str, now: float) -> float:
    times = {
        "timers": job.eta,
        "parked_until": job.park_ends,
        "failed": job.finished_at,
        "done": job.keep_until,
        "expiring": job.expires_at,
    }
    found = times[index]
    return now if found is None else found
