"""Every exception taskrunner raises, in one tree.

    TaskrunnerError
    ├── JobError                     about one job; carries `job_id`
    │   ├── JobFailed                    it ended as failed; carries the remote error
    │   ├── JobCancelled                 it ended as cancelled
    │   ├── JobExpired                   nobody started it in time
    │   ├── ResultTimeout                (also TimeoutError) it did not finish within the wait
    │   ├── ResultExpired                it finished; its result is no longer kept
    │   ├── JobNotFound                  (also LookupError) no record of that id
    │   ├── AmbiguousJob                 that id exists in several queues
    │   ├── DuplicateJob                 an unfinished job has that id, or that unique key
    │   └── WouldDeadlock                every worker waits for a job that none is free to run
    ├── BrokerError
    │   ├── BrokerUnavailable            the store does not answer; ask again later
    │   │   └── PartlyUnavailable            a part of it; carries what the rest answered
    │   ├── BrokerFull                   the store has no room for more jobs
    │   ├── NotConfirmed                 the store cannot confirm the durability asked for
    │   └── NodeLost                     the store no longer knows this node
    ├── AccessError                  whoever asks is not let in
    │   ├── NotAuthenticated             nobody knows who asks
    │   ├── NotAllowed                   it is known who asks, and this one may not do that
    │   └── TooManyRequests              not now; carries after how many seconds
    ├── KeyNotFound                  (also LookupError) there is no API key of that id
    ├── NodeNotFound                 (also LookupError) no node of that id beats
    ├── UnknownTask                  (also LookupError) nobody declared a task of that name
    ├── ScheduleNotFound             (also LookupError) there is no schedule of that name
    ├── OptionError                  (also ValueError) an option has a value it does not accept
    ├── ArgumentError                (also TypeError) a value cannot be carried
    ├── PayloadTooLarge              (also ValueError) arguments or result over the limit
    ├── DeclarationError             (also ValueError) a task cannot be declared like that
    ├── ConfigError                  (also ValueError) settings, all mistakes at once
    ├── AppNotFound                  `module:attribute` does not lead to an App
    ├── StartError                   the supervisor could not start its children
    ├── NodeFailed                   a part of the supervisor failed again and again
    ├── MessageError                 bytes that are not a message this version can read
    │   ├── LaterMessage                 those of a later version; carries which
    │   └── CryptoError                  encrypted or signed ones that no key here fits; carries its id
    └── IllegalTransition            a state change that the table in `states` forbids

Two more are raised inside a running task and derive from BaseException, so that a task's own
`except Exception` does not swallow them: TaskInterrupt, with TaskTimeout and TaskCancelled. And
two are raised by a task itself, to say what shall become of its job: Retry and Reject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any


class TaskrunnerError(Exception):
    """Something went wrong in taskrunner."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class JobError(TaskrunnerError):
    """Something went wrong with one job."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobFailed(JobError):
    """The job failed.

    `error_type` is the remote exception's qualified name (or a reason such as `crashed`),
    `error_message` its text, `remote_traceback` its traceback as text, empty where there was none.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        job_id: str = "",
        error_type: str = "",
        error_message: str = "",
        remote_traceback: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.error_type = error_type
        self.error_message = error_message
        self.remote_traceback = remote_traceback
        self.reason = reason

    def __str__(self) -> str:
        text = super().__str__()
        return (
            f"{text}\n\nin the worker:\n{self.remote_traceback}" if self.remote_traceback else text
        )


class JobCancelled(JobError):
    """The job was cancelled."""


class JobExpired(JobError):
    """The job expired: nobody started it before its `expires`."""


class ResultTimeout(JobError, TimeoutError):
    """The job did not finish within the time given to `result`."""


class ResultExpired(JobError):
    """The job finished, and its result is no longer kept."""


class JobNotFound(JobError, LookupError):
    """There is no record of that job."""


class AmbiguousJob(JobError):
    """That job id exists in several queues: name the queue."""

    def __init__(
        self, message: str | None = None, *, job_id: str = "", queues: Sequence[str] = ()
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.queues: tuple[str, ...] = tuple(queues)


class DuplicateJob(JobError):
    """An unfinished job has that id already, or that unique key; `existing_id` names it."""

    def __init__(
        self, message: str | None = None, *, job_id: str = "", existing_id: str = ""
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.existing_id = existing_id


class WouldDeadlock(JobError):
    """Every worker waits for the result of a job that none of them is free to run."""


class BrokerError(TaskrunnerError):
    """The broker could not do what it was asked."""


class BrokerUnavailable(BrokerError):
    """The broker does not answer."""


class PartlyUnavailable(BrokerUnavailable):
    """A part of the store does not answer.

    `queues` are those of the call that are there; none where only what the queues share is away.
    `answer` is what the call would have returned, as far as the others go: it says nothing of these
    queues, or, where each item has its answer in its place, nothing that means something.
    """

    def __init__(self, message: str, *, queues: frozenset[str], answer: Any) -> None:
        super().__init__(message)
        self.queues = queues
        self.answer = answer


class BrokerFull(BrokerError):
    """The broker has no room for more jobs."""


class NotConfirmed(BrokerError):
    """The store cannot confirm what the job's `durability` asks for.

    `stored` says whether the job is in the store all the same: then it will run, and the same
    messages may be submitted again, to have it confirmed; it is accepted once.
    """

    def __init__(
        self, message: str | None = None, *, job_id: str = "", stored: bool = False
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.stored = stored


class NodeLost(BrokerError):
    """The store does not know this node (any more): its lease ran out and its jobs were taken back."""


class AccessError(TaskrunnerError):
    """Whoever asks is not let in."""


class NotAuthenticated(AccessError):
    """The credentials are missing, wrong or no longer valid."""


class NotAllowed(AccessError):
    """Whoever asks may not do that."""


class TooManyRequests(AccessError):
    """There were too many requests; `retry_after` says in how many seconds there may be more."""

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KeyNotFound(TaskrunnerError, LookupError):
    """There is no API key of that id."""


class NodeNotFound(TaskrunnerError, LookupError):
    """There is no such node."""


class UnknownTask(TaskrunnerError, LookupError):
    """Nobody declared a task of that name."""


class ScheduleNotFound(TaskrunnerError, LookupError):
    """There is no schedule of that name."""


class OptionError(TaskrunnerError, ValueError):
    """An option has a value that it does not accept."""


class ArgumentError(TaskrunnerError, TypeError):
    """A value cannot be carried to a worker or back."""


class PayloadTooLarge(TaskrunnerError, ValueError):
    """Arguments or a result are over the size limit."""


class DeclarationError(TaskrunnerError, ValueError):
    """A task cannot be declared like that."""


class ConfigError(TaskrunnerError, ValueError):
    """Some settings are wrong; `problems` lists every one of them, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems: tuple[str, ...] = tuple(problems)


class AppNotFound(TaskrunnerError):
    """`module:attribute` does not lead to an App.

    `user_traceback` holds the traceback of the user's own module where that raised.
    """

    def __init__(self, message: str | None = None, *, user_traceback: str = "") -> None:
        super().__init__(message)
        self.user_traceback = user_traceback


class StartError(TaskrunnerError):
    """The supervisor could not start."""


class NodeFailed(TaskrunnerError):
    """A part of the supervisor failed again and again, so it stopped, in good order."""


class MessageError(TaskrunnerError):
    """Bytes that are not a message this version can read."""


class LaterMessage(MessageError):
    """The message is of a later version, for a node that reads it; `version` says which."""

    def __init__(self, message: str | None = None, *, version: int = 0) -> None:
        super().__init__(message)
        self.version = version


class CryptoError(MessageError):
    """What is encrypted or signed cannot be opened or trusted here.

    `key_id` names the key it asks for, where it names one. `reason` is what a job with such a message
    fails with: `undecryptable` (the key is not here, or the bytes were altered or moved), or
    `unprotected`, where a setting requires what the message lacks.
    """

    def __init__(
        self, message: str | None = None, *, key_id: str = "", reason: str = "undecryptable"
    ) -> None:
        super().__init__(message)
        self.key_id = key_id
        self.reason = reason


class IllegalTransition(TaskrunnerError):
    """A job cannot go from the one state to the other."""


class TaskInterrupt(BaseException):
    """The running task is asked to stop now."""


class TaskTimeout(TaskInterrupt):
    """The run exceeded its `timeout`, or the job its `deadline`."""


class TaskCancelled(TaskInterrupt):
    """The job was cancelled while it ran."""


class Retry(TaskrunnerError):
    """The task asks to be run again.

    `delay`: seconds or a timedelta; None: what the task's backoff says. With `count=False` the run
    is not counted as an error. Raises OptionError for a delay that is not one.
    """

    def __init__(
        self, delay: float | timedelta | None = None, *, count: bool = True, reason: str = ""
    ) -> None:
        found = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if found is not None and not _is_delay(found):
            raise OptionError(
                f"Retry(delay={delay!r}): expected seconds (0 or more) or a timedelta"
            )
        super().__init__(reason or None)
        self.delay = found
        self.count: bool = bool(count)


class Reject(TaskrunnerError):
    """The task sends its job to failed at once, without a retry; the message says why."""

    @property
    def reason(self) -> str:
        return str(self)


def _is_delay(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type,operator]
