"""Who asks, and whether this one may do what the route does.

Somebody in front of the service has recognised who asks, and left an identity in the request's state;
without one nothing is answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from taskrunner.access import Identity, Scope
from taskrunner.app import App
from taskrunner.brokers.base import JobKey, JobRecord
from taskrunner.errors import (
    AmbiguousJob,
    JobNotFound,
    NotAllowed,
    NotAuthenticated,
)
from taskrunner.inspector import Inspector
from taskrunner.jobinfo import JobInfo
from taskrunner.naming import nearest
from taskrunner.options import Options, validate_queue_name
from taskrunner.submission import ride_out

PATIENCE_S: Final = 2.0
"""How long a request rides out an outage of the broker."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may use the route, and what this one reaches."""

    identity: Identity
    app: App
    _note: Any = None
    """what the audit shall say, where there is one"""

    @property
    def inspector(self) -> Inspector:
        return Inspector(self.app)

    @property
    def sees_data(self) -> bool:
        """Whether it may see what jobs carry: arguments, results, errors, headers, progress."""
        return self.identity.has(Scope.READ_DATA)

    def note(self, action: str, **what: Any) -> None:
        """Tell the audit what is changed: `queue`, `task`, `jobs`, `target`, `detail`."""
        if self._note is not None:
            self._note.action = action
            for name, value in what.items():
                setattr(self._note, name, value)

    def must_reach(self, *, queue: str | None = None, task: str | None = None) -> None:
        """Raises NotAllowed where the queue or the task is not among its own."""
        if not self.identity.reaches(queue=queue, task=task):
            named = " and ".join(
                f"the {what} {name!r}"
                for what, name in (("queue", queue), ("task", task))
                if name is not None
            )
            raise NotAllowed(f"{named} may not be used with these credentials")

    def queues(self, named: Iterable[str] | None = None) -> list[str]:
        """Those that it reaches, of all there are or of those named."""
        if named is None:
            names: Iterable[str] = ride_out(self.app.broker.queues, PATIENCE_S)
        else:
            names = [validate_queue_name(name) for name in named]
        return [name for name in names if self.identity.reaches(queue=name)]

    def reaches_job(self, info: JobInfo) -> bool:
        return self.identity.reaches(queue=info.queue, task=info.task)

    def job(self, job_id: str, queue: str | None) -> JobInfo:
        """A job that it reaches; one that it does not is as if it were not there. Raises
        JobNotFound, AmbiguousJob, OptionError, BrokerUnavailable."""
        Options.of(job_id=job_id)
        keys = [JobKey(name, job_id) for name in self.queues(None if queue is None else [queue])]
        records = ride_out(lambda: self.app.broker.get(keys), PATIENCE_S) if keys else []
        found = list(filter(self.reaches_job, self._infos(records)))
        if not found:
            raise JobNotFound(f"there is no job {job_id!r}", job_id=job_id)
        if len(found) > 1:
            queues = [info.queue for info in found]
            raise AmbiguousJob(
                f"there are jobs with the id {job_id!r} in the queues {', '.join(queues)}: say which,"
                " ?queue=…",
                job_id=job_id,
                queues=queues,
            )
        return found[0]

    def _infos(self, records: Iterable[JobRecord | None]) -> list[JobInfo]:
        return [JobInfo(record, self.app) for record in records if record is not None]


class Needs:
    """The dependency by which each route says what it takes. None: to be known is enough."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        state = request.state
        identity = getattr(state, "identity", None)
        if not isinstance(identity, Identity):
            raise NotAuthenticated("nobody has said who asks")
        if self.scope is not None and not identity.has(self.scope):
            raise NotAllowed(f"this needs the scope {self.scope}")
        _check_query(request)
        return Caller(identity, request.app.state.taskrunner, getattr(state, "audit", None))


def _check_query(request: Request) -> None:
    """Raises RequestValidationError for a word in the query that the route does not know: whoever misspells a
    filter must not get everything."""
    unknown = set(request.query_params)
    if unknown:
        route = request.scope["route"]
        known = request.app.state.words_of(route.path_format, request.method)
        found = [
            {"type": "extra_forbidden", "loc": ("query", name), "msg": nearest(name, known)}
            for name in sorted(unknown - known)
        ]
        if found:
            raise RequestValidationError(found)
