"""Queues over HTTP, and the whole namespace in a few numbers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from taskrunner.access import Scope
from taskrunner.api.answers import to_json
from taskrunner.api.bodies import Purge
from taskrunner.api.caller import Caller, Needs
from taskrunner.api.shapes import BulkShape, QueueShape, QueuesShape, StatsShape
from taskrunner.brokers.base import QueueStats
from taskrunner.inspector import JobAction, JobFilter
from taskrunner.states import IDLE, State

router = APIRouter(prefix="/v1", tags=["queues"])
Reader = Annotated[Caller, Depends(Needs(Scope.READ))]
Manager = Annotated[Caller, Depends(Needs(Scope.QUEUES))]
QueueName = Annotated[str, Path(min_length=1, max_length=128)]


def queue_view(stats: QueueStats) -> dict[str, Any]:
    """A queue as it is answered."""
    return {
        "queue": stats.queue,
        "counts": {state: stats.counts.get(state, 0) for state in State},
        "pending_by_priority": stats.pending_by_priority,
        "parked": stats.parked,
        "processed": stats.processed,
        "failed": stats.failed,
    }


@router.get("/queues", response_model=QueuesShape, summary="The queues, and how full they are")
def queues(caller: Reader) -> Response:
    found = caller.inspector.queues(caller.queues())
    return to_json({"queues": [queue_view(stats) for stats in found]})


@router.get("/queues/{queue:path}/stats", response_model=QueueShape, summary="One queue")
def queue_stats(queue: QueueName, caller: Reader) -> Response:
    """A queue that never had a job is an empty one."""
    caller.must_reach(queue=queue)
    (found,) = caller.inspector.queues([queue])
    return to_json(queue_view(found))


@router.post("/queues/{queue:path}/purge", response_model=BulkShape, summary="Empty a queue")
def purge(queue: QueueName, caller: Manager, wanted: Purge) -> Response:
    """Removes its jobs, without `state` those that wait; those that run are left alone. A slice of
    1000 jobs at most: while the answer's cursor is not empty, ask again with it."""
    caller.must_reach(queue=queue)
    caller.note("purge", queue=queue, detail={"state": wanted.state, "dry_run": wanted.dry_run})
    allowed = None if caller.identity.reaches_everything else caller.reaches_job
    meant = JobFilter.of(queue=queue, state=wanted.state or sorted(IDLE), allowed=allowed)
    found = caller.inspector.bulk(
        JobAction.DELETE, meant, dry_run=wanted.dry_run, cursor=wanted.cursor
    )
    return to_json(
        {
            "action": JobAction.DELETE,
            "dry_run": wanted.dry_run,
            "matched": found.matched,
            "done": found.done,
            "cursor": found.cursor,
        }
    )


@router.get("/stats", response_model=StatsShape, summary="The namespace in a few numbers")
def stats(caller: Reader) -> Response:
    """Of the queues that whoever asks reaches."""
    return to_json(caller.inspector.stats(caller.queues()))
