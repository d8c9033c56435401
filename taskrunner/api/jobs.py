"""Jobs over HTTP: looking, waiting for a result, and what an operator does to one or to many."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from starlette.concurrency import run_in_threadpool

from taskrunner.access import Scope
from taskrunner.api.answers import to_json, view
from taskrunner.api.bodies import Bulk, Listing, NewTime
from taskrunner.api.caller import Caller, Needs
from taskrunner.api.problems import answer, document
from taskrunner.api.shapes import (
    BulkShape,
    Changed,
    JobShape,
    JobsShape,
    ResultShape,
    WhyShape,
)
from taskrunner.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    MessageError,
    ResultTimeout,
)
from taskrunner.inspector import JobAction, JobFilter
from taskrunner.inspector.jobs import POSSIBLE
from taskrunner.inspector.why import Cause, CauseKind
from taskrunner.jobinfo import JobInfo
from taskrunner.states import State

MOST_WAIT_S = 60.0

router = APIRouter(prefix="/v1", tags=["jobs"])
Reader = Annotated[Caller, Depends(Needs(Scope.READ))]
DataReader = Annotated[Caller, Depends(Needs(Scope.READ_DATA))]
Manager = Annotated[Caller, Depends(Needs(Scope.MANAGE))]
InQueue = Annotated[
    str | None, Query(description="where several queues have a job of that id", max_length=128)
]


@router.get("/jobs", response_model=JobsShape, summary="List jobs")
def jobs(caller: Reader, wanted: Annotated[Listing, Query()]) -> Response:
    """Queue by queue and state by state: those that wait in the order in which their turn comes,
    finished ones the newest first. Queue, state and (of some states) time are found by an index; task
    and text are looked for in slices of it, so that a page may be short, and only a cursor that is
    empty says that it was the last."""
    meant = _meant(caller, **wanted.said("limit", "cursor"))
    page = caller.inspector.jobs(meant, cursor=wanted.cursor, limit=wanted.limit)
    return to_json({"jobs": [view(info, caller) for info in page.jobs], "cursor": page.cursor})


def _meant(caller: Caller, *, queue: Any = None, **said: Any) -> JobFilter:
    """A filter that means nothing beyond what whoever asks reaches."""
    everything = caller.identity.reaches_everything
    return JobFilter.of(
        queue=queue if everything else caller.queues(queue),
        in_data=caller.sees_data,
        allowed=None if everything else caller.reaches_job,
        **said,
    )


@router.get(
    "/jobs/{job_id:path}/result",
    response_model=ResultShape,
    response_model_exclude_unset=True,
    responses={202: {"model": ResultShape, "description": "It has not ended yet"}},
    summary="What became of a job, perhaps after a wait",
)
async def result(
    job_id: str,
    caller: DataReader,
    queue: InQueue = None,
    wait: Annotated[
        float, Query(ge=0, le=MOST_WAIT_S, allow_inf_nan=False, description="seconds at most")
    ] = 0.0,
) -> Response:
    """Answered as soon as the job has ended: 200 with `result` where it succeeded, else with `state`
    and, where it failed, `error`. 202 where it has not ended within the wait; 410 where the result is
    no longer kept."""
    info = await _found(caller, job_id, queue)
    known: dict[str, Any] = {"id": info.id, "queue": info.queue}
    try:
        value = await caller.app.job(info.id, info.queue).aresult(timeout=wait)
    except ResultTimeout:
        return to_json({**known, "state": (await _found(caller, job_id, queue)).state}, 202)
    except JobFailed as error:
        ended = await _found(caller, job_id, queue)
        return to_json(
            {**known, "state": State.FAILED, "reason": error.reason, "error": ended.error}
        )
    except (JobCancelled, JobExpired) as error:
        state = State.CANCELLED if isinstance(error, JobCancelled) else State.EXPIRED
        return to_json({**known, "state": state})
    except MessageError as error:
        return answer(document(502, f"the result cannot be read here: {error}"))
    return to_json({**known, "state": State.SUCCEEDED, "result": value})


async def _found(caller: Caller, job_id: str, queue: str | None) -> JobInfo:
    return await run_in_threadpool(caller.job, job_id, queue)


@router.get("/jobs/{job_id:path}/why", response_model=WhyShape, summary="Why a job is not running")
def why(job_id: str, caller: Reader, queue: InQueue = None) -> Response:
    """A sentence for each cause that holds: its place, a limit, a pause, when it is due, nodes that are
    missing; or where it runs, or how it has ended."""
    info = caller.job(job_id, queue)
    found = caller.inspector.why(info.id, info.queue)
    known = {"id": found.id, "queue": found.queue, "task": found.task, "state": found.state}
    return to_json({**known, "causes": [_cause(cause, info, caller) for cause in found.causes]})


def _cause(cause: Cause, info: JobInfo, caller: Caller) -> dict[str, Any]:
    """Without the names of queues that are out of reach, and without what only those may see who see
    what jobs carry."""
    text, details = cause.text, cause.details
    if cause.kind is CauseKind.NO_NODE and not caller.identity.reaches_everything:
        text, details = "no node that serves its queue has been heard of lately", {}
    if cause.kind in _OF_DATA and not caller.sees_data:
        text, details = f"it is {info.state}", {}
    if not caller.sees_data:
        details = {name: value for name, value in details.items() if name != "unique_key"}
    return {"kind": cause.kind, "text": text, "details": details}


_OF_DATA = frozenset({CauseKind.FINISHED, CauseKind.UNREADABLE})


# -- changes


@router.post("/jobs/{job_id:path}/cancel", response_model=Changed, summary="Cancel a job")
def cancel(job_id: str, caller: Manager, queue: InQueue = None) -> Response:
    """One that waits ends at once; one that runs is asked to stop, and ends as cancelled whatever it
    does then."""
    return _change(JobAction.CANCEL, caller, job_id, queue)


@router.post("/jobs/{job_id:path}/retry", response_model=Changed, summary="Run a job again")
def retry(job_id: str, caller: Manager, queue: InQueue = None) -> Response:
    """One that failed, was cancelled or has expired begins anew, with all its retries before it; one
    that waits for its time runs now."""
    return _change(JobAction.RETRY, caller, job_id, queue)


@router.post(
    "/jobs/{job_id:path}/reschedule", response_model=Changed, summary="Give a job another time"
)
def reschedule(job_id: str, wanted: NewTime, caller: Manager, queue: InQueue = None) -> Response:
    """One that waits for its time, or for its next retry."""
    return _change(JobAction.RESCHEDULE, caller, job_id, queue, **wanted.said())


def _change(
    action: JobAction, caller: Caller, job_id: str, queue: str | None, **time: Any
) -> Response:
    info = caller.job(job_id, queue)
    caller.note(action, queue=info.queue, task=info.task, jobs=(info.id,))
    inspector = caller.inspector
    do = {
        JobAction.CANCEL: inspector.cancel,
        JobAction.RETRY: inspector.retry,
        JobAction.DELETE: inspector.delete,
        JobAction.RESCHEDULE: lambda *which: inspector.reschedule(*which, **time),
    }[action]
    if not do(info.id, info.queue):
        return _refused(action, caller.job(job_id, info.queue))
    if action is JobAction.DELETE:
        return Response()
    state = caller.job(job_id, info.queue).state
    return to_json({"id": info.id, "queue": info.queue, "state": state, "action": action})


def _refused(action: JobAction, info: JobInfo) -> Response:
    fitting = ", ".join(state for state in State if state in POSSIBLE[action])
    detail = f"the job is {info.state}; {action} is possible for jobs that are {fitting}"
    return answer(document(409, detail, kind="WrongState", job_id=info.id))


@router.post("/jobs/bulk", response_model=BulkShape, summary="Change all jobs that a filter means")
def bulk(wanted: Bulk, caller: Manager) -> Response:
    """A slice of 1000 jobs at most: while the answer's cursor is not empty, ask again with it. With
    `dry_run` they are counted, and nothing is changed."""
    said = wanted.filter.model_dump(mode="json", exclude_none=True)
    caller.note(f"bulk {wanted.action}", detail={"filter": said, "dry_run": wanted.dry_run})
    found = caller.inspector.bulk(
        wanted.action,
        _meant(caller, **wanted.filter.said()),
        dry_run=wanted.dry_run,
        cursor=wanted.cursor,
        delay=wanted.delay,
        eta=wanted.eta,
    )
    return to_json(
        {
            "action": wanted.action,
            "dry_run": wanted.dry_run,
            "matched": found.matched,
            "done": found.done,
            "cursor": found.cursor,
        }
    )


# Last, because an id may have a slash in it, and looks like the others then.


@router.get("/jobs/{job_id:path}", response_model=JobShape, summary="One job")
def job(job_id: str, caller: Reader, queue: InQueue = None) -> Response:
    """What a job carries (arguments, errors, headers, progress) is shown to those alone who have the
    scope `jobs:read-data`."""
    return to_json(view(caller.job(job_id, queue), caller))


@router.delete(
    "/jobs/{job_id:path}", status_code=204, response_class=Response, summary="Remove a job"
)
def delete(job_id: str, caller: Manager, queue: InQueue = None) -> Response:
    """And all that is kept of it. One that runs has to be cancelled first."""
    changed = _change(JobAction.DELETE, caller, job_id, queue)
    return Response(status_code=204) if changed.status_code == 200 else changed
