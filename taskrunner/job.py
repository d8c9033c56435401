"""A job as its submitter or an onlooker sees it: a handle, and what it came to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from taskrunner.backends.base import ResultKey
from taskrunner.brokers.base import JobKey, JobRecord
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.errors import (
    AmbiguousJob,
    BrokerUnavailable,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultExpired,
    ResultTimeout,
    TaskrunnerError,
)
from taskrunner.jobinfo import JobInfo
from taskrunner.message import ErrorInfo
from taskrunner.options import seconds
from taskrunner.seals import RESULT
from taskrunner.states import FINISHED, State
from taskrunner.submission import ride_out

if TYPE_CHECKING:
    from taskrunner.app import App

R = TypeVar("R")


class Job(Generic[R]):
    """A handle on one job. Costs nothing until it is asked something.

    Every method but those of the pure handle asks the broker, rides out a short outage and then
    raises BrokerUnavailable; all raise JobNotFound where there is no record of the job, and
    AmbiguousJob where the handle names no queue and several have that id.
    """

    __slots__ = ("_app", "_queue", "_submitted", "id", "rejection")

    def __init__(
        self,
        app: App,
        id: str,  # noqa: A002  its public name
        queue: str | None,
        *,
        submitted: bool = False,
        rejection: TaskrunnerError | None = None,
    ) -> None:
        self._app = app
        self._queue = queue
        self._submitted = submitted
        self.id: str = id
        self.rejection: TaskrunnerError | None = rejection
        """for a job of `enqueue_many`: why it was not accepted, as the exception that `enqueue`
        would have raised; None where it was"""

    @property
    def accepted(self) -> bool:
        """Whether the broker took it, and confirmed what its `durability` asks for."""
        return self.rejection is None

    @property
    def queue(self) -> str:
        """The queue it is in; looked up where the handle was made without one."""
        return self._key.queue

    def __repr__(self) -> str:
        queue = "" if self._queue is None else f" in {self._queue}"
        return f"<Job {self.id}{queue}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return (self.id, self._queue) == (other.id, other._queue)

    def __hash__(self) -> int:
        return hash(self.id)

    def state(self) -> State:
        """Where it is in its life."""
        return self._record().state

    async def astate(self) -> State:
        """`state`, from asyncio."""
        return await asyncio.to_thread(self.state)

    def info(self) -> JobInfo:
        """Everything known about it."""
        return JobInfo(self._record(), self._app)

    async def ainfo(self) -> JobInfo:
        """`info`, from asyncio."""
        return await asyncio.to_thread(self.info)

    def cancel(self) -> bool:
        """Cancel it: True where it has ended or will end as cancelled, False where it was finished
        otherwise. A running task gets TaskCancelled raised inside."""
        key = self._key
        answer = ride_out(lambda: self._app.broker.cancel([key])[0])
        if answer is None:
            raise self._not_found()
        return answer

    async def acancel(self) -> bool:
        """`cancel`, from asyncio."""
        return await asyncio.to_thread(self.cancel)

    def result(self, timeout: float | timedelta | None = None) -> R:
        """Wait until it has ended; what the task returned.

        Raises JobFailed with the remote error, JobCancelled, JobExpired, ResultTimeout after
        `timeout` seconds, ResultExpired where the result is no longer kept, CryptoError where it is
        encrypted with a key that is not here, and, inside a task, WouldDeadlock where no worker is
        left to run it. An outage of the broker that begins
        during the wait is waited out.
        """
        deadline = _Deadline(timeout)
        record = self._record_or_none(deadline.left())
        while record is not None and record.state not in FINISHED:
            if self._app.waiter.wait(self._key_of(record), deadline.left()):
                record = self._record_or_none()
            else:
                record = self._last_look(timeout)
        return self._outcome(record)

    async def aresult(self, timeout: float | timedelta | None = None) -> R:
        """`result`, from asyncio."""
        deadline = _Deadline(timeout)
        record = await asyncio.to_thread(self._record_or_none, deadline.left())
        while record is not None and record.state not in FINISHED:
            if await self._app.waiter.await_(self._key_of(record), deadline.left()):
                record = await asyncio.to_thread(self._record_or_none)
            else:
                record = await asyncio.to_thread(self._last_look, timeout)
        return await asyncio.to_thread(self._outcome, record)

    # -- the record

    @property
    def _key(self) -> JobKey:
        if self._queue is None:
            return self._key_of(self._record())
        return JobKey(self._queue, self.id)

    def _key_of(self, record: JobRecord) -> JobKey:
        return JobKey(record.queue, record.id)

    def _record(self) -> JobRecord:
        record = self._record_or_none()
        if record is None:
            raise self._not_found()
        return record

    def _record_or_none(self, within: float | None = None) -> JobRecord | None:
        broker = self._app.broker
        if self._queue is not None:
            key = JobKey(self._queue, self.id)
            return ride_out(lambda: broker.get([key])[0], within)
        keys = [JobKey(queue, self.id) for queue in ride_out(broker.queues, within)]
        records = ride_out(lambda: broker.get(keys), within)
        found = [record for record in records if record is not None]
        if len(found) > 1:
            queues = [record.queue for record in found]
            raise AmbiguousJob(
                f"there are jobs with the id {self.id!r} in the queues {', '.join(queues)}: "
                f"say which, queue=…",
                job_id=self.id,
                queues=queues,
            )
        if found:
            self._queue = found[0].queue
        return found[0] if found else None

    def _not_found(self) -> JobNotFound:
        where = "any queue" if self._queue is None else f"queue {self._queue}"
        return JobNotFound(f"there is no job {self.id!r} in {where}", job_id=self.id)

    # -- what it came to

    def _last_look(self, timeout: object) -> JobRecord | None:
        """The record of a job that ended just as the time was up. Raises ResultTimeout for one
        that has not, saying where it is."""
        try:
            record = self._record_or_none(within=0.0)
        except BrokerUnavailable as error:
            raise ResultTimeout(
                f"job {self.id} was not seen to finish within {timeout} seconds: {error}",
                job_id=self.id,
            ) from error
        if record is None or record.state in FINISHED:
            return record
        raise ResultTimeout(
            f"job {self.id} did not finish within {timeout} seconds; it is {record.state}",
            job_id=self.id,
        )

    def _outcome(self, record: JobRecord | None) -> R:
        if record is None:
            if not self._submitted:
                raise self._not_found()
            raise ResultExpired(f"the record of job {self.id} is no longer kept", job_id=self.id)
        match record.state:
            case State.SUCCEEDED:
                return self._value(record)
            case State.CANCELLED:
                raise JobCancelled(f"job {self.id} was cancelled", job_id=self.id)
            case State.EXPIRED:
                raise JobExpired(f"job {self.id} expired before it was started", job_id=self.id)
            case _:
                raise _failure(record, self._app)

    def _value(self, record: JobRecord) -> R:
        packed = record.result
        backend = self._app.backend
        if backend is not None:
            # Only what the winning delivery stored counts: a fenced run may have stored too.
            key = ResultKey(record.queue, record.id, record.node or "", record.number or 0)
            packed = ride_out(lambda: backend.get([key])[0])
        if not packed:  # an empty one is what is left of a result that the store has lost
            raise ResultExpired(f"the result of job {self.id} is no longer kept", job_id=self.id)
        packed = self._app.seals.plain(RESULT, record, packed)
        return self._app.codec.unpack(packed)  # type: ignore[no-any-return]


def _failure(record: JobRecord, app: App) -> JobFailed:
    reason = record.reason or "error"
    error = app.seals.error(record, record.errors[0]) if record.errors else ErrorInfo(reason, "")
    said = f"{error.type}: {error.message}" if error.message else error.type
    return JobFailed(
        f"job {record.id} failed ({reason}): {said}",
        job_id=record.id,
        error_type=error.type,
        error_message=error.message,
        remote_traceback=error.traceback,
        reason=reason,
    )


class _Deadline:
    """How much of a wait is left."""

    def __init__(self, timeout: float | timedelta | None) -> None:
        self._end: float | None = None
        if timeout is not None:
            self._end = SYSTEM_CLOCK.monotonic() + seconds("timeout", timeout)

    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - SYSTEM_CLOCK.monotonic())
