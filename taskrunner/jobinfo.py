"""Everything known about a job, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from taskrunner.brokers.base import JobRecord
from taskrunner.context import Progress
from taskrunner.errors import ArgumentError, MessageError
from taskrunner.message import ErrorInfo, Header, unpack
from taskrunner.redaction import Marks, hidden
from taskrunner.seals import NO_HEADERS, PROGRESS
from taskrunner.states import State

if TYPE_CHECKING:
    from taskrunner.app import App

_UNREADABLE: Final = Header(task="")


def marks_for(app: App, header: Header) -> Marks:
    """What is to be hidden of arguments: what travels with them, and what the code says that is
    here."""
    task = app.tasks.get(header.task)
    return (header.redact or ()) + (() if task is None else task.redact)


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
    def _opened(self) -> tuple[Mapping[str, str], bytes | None, str | None]:
        header, body, problem = self._message
        if body is None:
            return NO_HEADERS, None, problem
        try:
            record = self.record
            return (*self._app.seals.opened(header, body, record.queue, record.id), None)
        except MessageError as error:
            return NO_HEADERS, None, str(error)

    @cached_property
    def _arguments(self) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None, str | None]:
        _, body, problem = self._opened
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

    @cached_property
    def _shown(self) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
        args, kwargs, _ = self._arguments
        if args is None or kwargs is None:
            return None, None
        return hidden(marks_for(self._app, self._message[0]), args, kwargs)

    @property
    def args(self) -> tuple[Any, ...] | None:
        """With `***` for what the task redacts; `unredacted` has all of it."""
        return self._shown[0]

    @property
    def kwargs(self) -> dict[str, Any] | None:
        return self._shown[1]

    @property
    def unredacted(self) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
        """The arguments, positional and by keyword, as they are; for programs: no command and no
        answer of the HTTP service shows it."""
        return self._arguments[:2]

    @property
    def unreadable(self) -> str | None:
        """Why the message or its arguments cannot be read here."""
        return self._arguments[2]

    @property
    def headers(self) -> Mapping[str, str]:
        return self._opened[0]

    @property
    def unique_key(self) -> str | None:
        """What it is unique by; None: it is not."""
        return self._message[0].unique_key

    @property
    def replaced(self) -> int:
        """How often a later submission with its unique key took its place."""
        return self.record.replaced

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
        """Runs during which the worker process died, or the node that ran it and nothing else was
        lost."""
        return self.record.crashes

    @property
    def losses(self) -> int:
        """Times that a node was lost while it held the job."""
        return self.record.losses

    @property
    def suspect(self) -> bool:
        """It may have killed its process: one died while several jobs ran in it, this one among
        them, or two nodes were lost while they held it. It runs with nothing beside it in its
        process, from the third lost node on with nothing beside it in its node, until it has ended
        a run."""
        return self.record.suspect

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
        if not self.record.progress:
            return None
        try:
            plain = self._app.seals.plain(PROGRESS, self.record, self.record.progress)
        except MessageError:
            return None  # `unreadable` says why, since its message has the same trouble
        return Progress.unpack(plain)

    @property
    def error(self) -> ErrorInfo | None:
        """The last failure: its `type`, `message` and `traceback`."""
        return self.errors[0] if self.errors else None

    @cached_property
    def errors(self) -> tuple[ErrorInfo, ...]:
        """One for each failed run, newest first, at most 20."""
        return tuple(self._app.seals.error(self.record, one) for one in self.record.errors)

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
