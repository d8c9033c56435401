"""A job as its submitter or an onlooker sees it: a handle, and everything known about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from taskrunner.backends.base import ResultKey
from taskrunner.brokers.base import JobKey, JobRecord
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.context import Progress
from taskrunner.errors import (
    AmbiguousJob,
    ArgumentError,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    MessageError,
    ResultExpired,
    ResultTimeout,
    TaskrunnerError,
)
from taskrunner.message import ErrorInfo, Header, unpack
from taskrunner.options import seconds
from taskrunner.states import FINISHED, State
from taskrunner.submission import ride_out

if TYPE_CHECKING:
    from taskrunner.app import App

R = TypeVar("R")

_UNREADABLE: Final = Header(task="")


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
        """Whether the broker took it."""
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
        `timeout` seconds, ResultExpired where the result is no longer kept, and, inside a task,
        WouldDeadlock where no worker is left to run it. An outage of the broker that begins
        during the wait is waited out.
        """
        deadline = _Deadline(timeout)
        record = self._record_or_none(deadline.left())
        while record is not None and record.state not in FINISHED:
            if not self._app.waiter.wait(self._key_of(record), deadline.left()):
                raise self._timed_out(timeout, record)
            record = self._record_or_none()
        return self._outcome(record)

    async def aresult(self, timeout: float | timedelta | None = None) -> R:
        """`result`, from asyncio."""
        deadline = _Deadline(timeout)
        record = await asyncio.to_thread(self._record_or_none, deadline.left())
        while record is not None and record.state not in FINISHED:
            if not await self._app.waiter.await_(self._key_of(record), deadline.left()):
                raise self._timed_out(timeout, record)
            record = await asyncio.to_thread(self._record_or_none)
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

    def _timed_out(self, timeout: object, record: JobRecord) -> ResultTimeout:
        return ResultTimeout(
            f"job {self.id} did not finish within {timeout} seconds; it was {record.state}",
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
                raise _failure(record)

    def _value(self, record: JobRecord) -> R:
        packed = record.result
        backend = self._app.backend
        if backend is not None:
            # Only what the winning delivery stored counts: a fenced run may have stored too.
            key = ResultKey(record.queue, record.id, record.node or "", record.number or 0)
            packed = ride_out(lambda: backend.get([key])[0])
        if packed is None:
            raise ResultExpired(f"the result of job {self.id} is no longer kept", job_id=self.id)
        return self._app.codec.unpack(packed)  # type: ignore[no-any-return]


def _failure(record: JobRecord) -> JobFailed:
    reason = record.reason or "error"
    error = ErrorInfo.unpack(record.errors[0]) if record.errors else ErrorInfo(reason, "")
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


def _when(moment: float | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)


@dataclass(frozen=True, repr=False)
class JobInfo:
    """Everything known about a job, as it was when it was asked for.

    Moments are aware datetimes in UTC by the store's clock, durations seconds. What cannot be read
    is None, and `unreadable` says why; it never breaks the rest.
    """

    record: JobRecord
    """what the broker keeps"""
    _app: App = field(repr=False, compare=False)

    def __repr__(self) -> str:
        return f"<JobInfo {self.task or '?'} {self.id} {self.state}>"

    # -- the message

    @cached_property
    def _message(self) -> tuple[Header, bytes | None, str | None]:
        try:
            return (*unpack(self.record.wire), None)
        except MessageError as error:
            return _UNREADABLE, None, str(error)

    @cached_property
    def _arguments(self) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None, str | None]:
        _, body, problem = self._message
        if body is None:
            return None, None, problem
        try:
            return (*self._app.codec.unpack_call(body), None)
        except (MessageError, ArgumentError) as error:
            return None, None, str(error)

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def task(self) -> str:
        """The task's name; empty where the message cannot be read."""
        return self._message[0].task

    @property
    def queue(self) -> str:
        return self.record.queue

    @property
    def args(self) -> tuple[Any, ...] | None:
        return self._arguments[0]

    @property
    def kwargs(self) -> dict[str, Any] | None:
        return self._arguments[1]

    @property
    def unreadable(self) -> str | None:
        """Why the message or its arguments cannot be read here."""
        return self._arguments[2]

    @property
    def headers(self) -> Mapping[str, str]:
        return self._message[0].headers or MappingProxyType({})

    @property
    def priority(self) -> int:
        return self.record.priority

    @property
    def timeout(self) -> float | None:
        """Seconds for a run; None: no limit."""
        return self._policy("timeout")  # type: ignore[no-any-return]

    @property
    def retries(self) -> int:
        """How often it is retried at most."""
        return self._policy("retries")  # type: ignore[no-any-return]

    @property
    def retention(self) -> float:
        """Seconds it is kept after it succeeded, was cancelled or expired."""
        return self._policy("retention")  # type: ignore[no-any-return]

    def _policy(self, name: str) -> Any:
        header = self._message[0]
        return getattr(self._app.policy(header.task).overridden(header), name)

    # -- its life

    @property
    def state(self) -> State:
        return self.record.state

    @property
    def reason(self) -> str | None:
        """Why it failed, or waits."""
        return self.record.reason

    @property
    def attempt(self) -> int:
        """Runs begun: 1 in the first."""
        record = self.record
        runs = record.state is State.ACTIVE and record.started_at is not None
        return record.attempts + (1 if runs else 0)

    @property
    def failures(self) -> int:
        """Runs that ended with an error."""
        return self.record.failures

    @property
    def crashes(self) -> int:
        """Runs during which the worker process died."""
        return self.record.crashes

    @property
    def losses(self) -> int:
        """Times that a node was lost while it held the job."""
        return self.record.losses

    @property
    def created_at(self) -> datetime:
        return datetime.fromtimestamp(self.record.created_at, UTC)

    @property
    def eta(self) -> datetime | None:
        """When it falls or fell due, where that was not at once."""
        return _when(self.record.eta)

    @property
    def started_at(self) -> datetime | None:
        """When its last run began."""
        return _when(self.record.started_at)

    @property
    def finished_at(self) -> datetime | None:
        return _when(self.record.finished_at)

    @property
    def expires_at(self) -> datetime | None:
        return _when(self.record.expires_at)

    @property
    def deadline(self) -> datetime | None:
        return _when(self.record.deadline)

    @property
    def progress(self) -> Progress | None:
        """What the task last said: `done`, `total`, `text`."""
        return Progress.unpack(self.record.progress) if self.record.progress else None

    @property
    def error(self) -> ErrorInfo | None:
        """The last failure: its `type`, `message` and `traceback`."""
        return self.errors[0] if self.errors else None

    @cached_property
    def errors(self) -> tuple[ErrorInfo, ...]:
        """One for each failed run, newest first, at most 20."""
        return tuple(map(ErrorInfo.unpack, self.record.errors))

    @property
    def node(self) -> str | None:
        return self.record.node

    @property
    def pid(self) -> int | None:
        return self.record.pid

    @property
    def cancelling(self) -> bool:
        """A cancel was asked for while it ran."""
        return self.record.cancelling
