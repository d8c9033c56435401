"""What the service answers, as values and as the errors that `App` raises. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, cast

from taskrunner import errors
from taskrunner.context import Progress
from taskrunner.cron import Effect
from taskrunner.inspector.why import Cause, CauseKind, Why
from taskrunner.message import ErrorInfo
from taskrunner.scheduleinfo import Firing, ForecastSlot
from taskrunner.states import State

TYPE: Final = "urn:taskrunner:problem:"
_AWAY: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class RemoteJobInfo:
    """What the service says of a job; names and units are those of `JobInfo`. Without the scope
    `jobs:read-data` what it carries is None or empty."""

    id: str
    task: str
    queue: str
    state: State
    priority: int
    attempt: int
    failures: int
    crashes: int
    losses: int
    suspect: bool
    retries: int
    timeout: float | None
    retention: float
    created_at: datetime
    reason: str | None = None
    eta: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    deadline: datetime | None = None
    node: str | None = None
    pid: int | None = None
    cancelling: bool = False
    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    errors: tuple[ErrorInfo, ...] = ()
    unreadable: str | None = None

    @property
    def error(self) -> ErrorInfo | None:
        """The last failure."""
        return self.errors[0] if self.errors else None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> RemoteJobInfo:
        """From an answer; what a later service says besides is left out."""
        found = {f.name: said[f.name] for f in fields(cls) if f.name in said}
        for name in _MOMENTS & found.keys():
            found[name] = found[name] and datetime.fromisoformat(found[name])
        found["state"] = State(found["state"])
        if found.get("args") is not None:
            found["args"] = tuple(found["args"])
        if found.get("progress"):
            found["progress"] = Progress(**found["progress"])
        found["errors"] = tuple(ErrorInfo(**one) for one in found.get("errors", ()))
        return cls(**found)


_MOMENTS: Final = frozenset(
    {"created_at", "eta", "started_at", "finished_at", "expires_at", "deadline"}
)


def error_of(status: int, said: Any, headers: Mapping[str, str]) -> errors.TaskrunnerError:
    """The error that `App` would have raised, from a problem document or whatever else came."""
    problem = said if isinstance(said, dict) else {}
    detail = str(problem.get("detail") or f"the service answered {status}")
    name = str(problem.get("type", "")).removeprefix(TYPE)
    kind = getattr(errors, name, None)
    match kind:
        case errors.TooManyRequests:
            return errors.TooManyRequests(detail, retry_after=_seconds(headers))
        case errors.AmbiguousJob:
            queues = [str(queue) for queue in problem.get("queues", ())]
            job_id = str(problem.get("job_id", ""))
            return errors.AmbiguousJob(detail, job_id=job_id, queues=queues)
        case type() if issubclass(kind, errors.JobError) and kind is not errors.JobFailed:
            return kind(detail, job_id=str(problem.get("job_id", "")))
        case type() if kind in _PLAIN:
            return kind(detail)
        case _:
            return _by_status(status, detail, headers)


_PLAIN: Final = frozenset(
    {
        *(errors.BrokerUnavailable, errors.BrokerFull, errors.NotConfirmed, errors.OptionError),
        *(errors.ArgumentError, errors.UnknownTask, errors.PayloadTooLarge, errors.NodeNotFound),
        *(errors.ScheduleNotFound, errors.DeclarationError, errors.NotAuthenticated),
        *(errors.NotAllowed, errors.AccessError),
    }
)


def _by_status(status: int, detail: str, headers: Mapping[str, str]) -> errors.TaskrunnerError:
    """For answers of whatever stands in front of the service."""
    if status == 429:
        return errors.TooManyRequests(detail, retry_after=_seconds(headers))
    if status in _AWAY:
        return errors.BrokerUnavailable(detail)
    known = {401: errors.NotAuthenticated, 403: errors.NotAllowed, 413: errors.PayloadTooLarge}
    return known.get(status, errors.TaskrunnerError)(detail)


def _seconds(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return float(text) if text.isdigit() else 1.0


def value_of(said: Mapping[str, Any]) -> Any:
    """A job's result, from an answer that says what became of it. Raises JobFailed, JobCancelled,
    JobExpired."""
    job_id = str(said["id"])
    match State(said["state"]):
        case State.SUCCEEDED:
            return said.get("result")
        case State.CANCELLED:
            raise errors.JobCancelled(f"job {job_id} was cancelled", job_id=job_id)
        case State.EXPIRED:
            raise errors.JobExpired(f"job {job_id} expired before it was started", job_id=job_id)
        case _:
            raise _failure(job_id, said)


def _failure(job_id: str, said: Mapping[str, Any]) -> errors.JobFailed:
    reason = str(said.get("reason") or "error")
    error = ErrorInfo(**said["error"]) if said.get("error") else ErrorInfo(reason, "")
    text = f"{error.type}: {error.message}" if error.message else error.type
    return errors.JobFailed(
        f"job {job_id} failed ({reason}): {text}",
        job_id=job_id,
        error_type=error.type,
        error_message=error.message,
        remote_traceback=error.traceback,
        reason=reason,
    )


def why_of(said: Mapping[str, Any]) -> Why:
    """Why a job is not running. The kind of a cause that only a later service knows stays text."""
    causes = tuple(Cause(_kind(one["kind"]), one["text"], one["details"]) for one in said["causes"])
    return Why(said["id"], said["queue"], said["task"], State(said["state"]), causes)


def _kind(text: str) -> CauseKind:
    return CauseKind(text) if text in _KINDS else cast("CauseKind", text)


_KINDS: Final = frozenset(CauseKind)


def forecast(said: Mapping[str, Any]) -> list[ForecastSlot]:
    """Slots that are to come."""
    return [
        ForecastSlot(_moment(one["at"]), _moment(one["starts"]), Effect(one["effect"]))
        for one in said["slots"]
    ]


def firings(said: Mapping[str, Any]) -> list[Firing]:
    """What became of slots that are past."""
    return [
        Firing(
            slot=one["slot"] and _moment(one["slot"]),
            at=_moment(one["at"]),
            job_id=one["job_id"],
            state=one["state"] and State(one["state"]),
            ended_at=one["ended_at"] and _moment(one["ended_at"]),
            outcome=one["outcome"],
        )
        for one in said["firings"]
    ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
