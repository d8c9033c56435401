"""What operators ask of the memory broker: `desk.ServesOperators`, over the indexes of its queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from taskrunner.brokers._memory_directory import Directory
from taskrunner.brokers._memory_job import Job
from taskrunner.brokers._memory_queue import Queue
from taskrunner.brokers.base import (
    ALWAYS,
    BY_TIME,
    MOST_IN_A_PAGE,
    Contents,
    JobKey,
    Page,
    Rewrite,
    Span,
)
from taskrunner.errors import OptionError
from taskrunner.states import FINISHED, State

Place: TypeAlias = tuple[float | str, int]
"""Where a job stands in the order of its state's index."""
Row: TypeAlias = tuple[Place, Job]

_TIMED: Final[Mapping[State, str]] = {
    State.SCHEDULED: "timers",
    State.RETRYING: "timers",
    State.WAITING: "parked_until",
    State.FAILED: "failed",
    State.SUCCEEDED: "done",
    State.CANCELLED: "done",
    State.EXPIRED: "done",
}


class Desk(Directory):
    """A page of jobs, and what is done to each."""

    _queues: dict[str, Queue]

    def jobs(
        self, queue: str, state: State, cursor: str = "", *, limit: int = 100, span: Span = ALWAYS
    ) -> Page:
        limit = min(max(1, limit), MOST_IN_A_PAGE)
        after = _parsed(cursor, state)
        if span != ALWAYS and state not in BY_TIME:
            raise OptionError(f"span={span!r}: {state} jobs are not kept by a time")
        with self._lock:
            store = self._queues.get(queue)
            rows = [] if store is None else _rows(store, state, after, limit)
        keys = [
            JobKey(queue, job.id)
            for place, job in rows
            if job.state is state and (span == ALWAYS or span.holds(float(place[0])))
        ]
        is_last = len(rows) < limit
        return Page(keys, "" if is_last else "{1}:{0}".format(*rows[-1][0]))

    def oldest(self, queues: Sequence[str]) -> list[float | None]:
        with self._lock:
            return [self._oldest(self._queues.get(name)) for name in queues]

    def _oldest(self, queue: Queue | None) -> float | None:
        heads = [] if queue is None else queue.ready.heads()
        waits = [self.now() - max(job.created_at, job.eta or 0.0) for job in heads]
        return max(waits, default=None)

    def requeue(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        return self._each(keys, only, self._requeue)

    def _requeue(self, queue: Queue, job: Job) -> bool:
        if job.state in (State.FAILED, State.CANCELLED, State.EXPIRED):
            if not queue.locks.take_again(job, self.now()):
                return False
            job.begin_anew(self.now())
            queue.move(job, State.PENDING)
        elif job.state in (State.SCHEDULED, State.RETRYING):
            job.eta = self.now()
            queue.move(job, State.PENDING)
        return job.state is State.PENDING

    def delete(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        return self._each(keys, only, self._delete)

    def _delete(self, queue: Queue, job: Job) -> bool:
        if job.state is State.ACTIVE:
            return False
        now = self.now()
        if job.state not in FINISHED:
            queue.finish(job, State.CANCELLED, now)
        queue.remove(job, now)
        return True

    def reschedule(
        self, keys: Sequence[JobKey], *, delay: float | None = None, eta: float | None = None
    ) -> list[bool | None]:
        due = self.now() + (delay or 0.0) if eta is None else eta

        def reschedule(queue: Queue, job: Job) -> bool:
            if job.state not in (State.SCHEDULED, State.RETRYING):
                return False
            queue.reschedule(job, due)
            return True

        return self._each(keys, None, reschedule)

    def rewrite(self, changes: Sequence[Rewrite]) -> list[bool | None]:
        with self._lock:
            return [self._rewrite(change) for change in changes]

    def _rewrite(self, change: Rewrite) -> bool | None:
        queue = self._queues.get(change.queue)
        job = queue and queue.jobs.get(change.id)
        if not job:
            return None
        if Contents.of(job) not in (change.before, change.after):
            return False
        job.wire, job.progress, job.result, job.errors = change.after
        return True

    def _each(
        self, keys: Sequence[JobKey], only: State | None, act: Callable[[Queue, Job], bool]
    ) -> list[bool | None]:
        with self._lock:
            answers: list[bool | None] = []
            for key in keys:
                queue = self._queues.get(key.queue)
                job = queue and queue.jobs.get(key.id)
                if queue is None or not job:
                    answers.append(None)
                else:
                    answers.append((only is None or job.state is only) and act(queue, job))
            for name in {key.queue for key in keys} & self._queues.keys():
                self._queues[name].ring_idle(self.now())
            return answers


def _rows(queue: Queue, state: State, after: Place | None, limit: int) -> list[Row]:
    """Jobs behind a place in the index of a state, with their places. One index may be that of
    several states."""
    if state is State.ACTIVE:
        rows = sorted(_held(queue), key=lambda row: row[0])
        return [row for row in rows if after is None or row[0] > after][:limit]
    if state is State.PENDING:
        start = None if after is None else (int(after[0]), after[1])
        return [((job.priority, job.ticket), job) for job in queue.ready.page(start, limit)]
    index = getattr(queue, _TIMED[state])
    behind = None if after is None else (float(after[0]), after[1])
    found = index.page(behind, limit, newest_first=state in FINISHED)
    return [((at, place), queue.jobs[job_id]) for at, place, job_id in found]


def _held(queue: Queue) -> Iterator[Row]:
    for node, held in queue.held.items():
        for job_id, number in held.items():
            yield (node, number), queue.jobs[job_id]


def _parsed(cursor: str, state: State) -> Place | None:
    """Where a cursor points. Raises OptionError for what no page has answered."""
    if not cursor:
        return None
    number, _, name = cursor.partition(":")
    try:
        if not name:
            raise ValueError
        return (name if state is State.ACTIVE else float(name)), int(number)
    except ValueError:
        raise OptionError(f"cursor {cursor!r}: expected one that a page answered") from None
