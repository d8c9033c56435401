"""What holds jobs back, over HTTP: limits and pauses of a queue, seen and changed while nodes go on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from taskrunner.access import Scope
from taskrunner.access.identity import EVERYTHING
from taskrunner.api.answers import to_json
from taskrunner.api.bodies import Held, NewLimit, Pause
from taskrunner.api.caller import Caller, Needs
from taskrunner.api.shapes import ChangedLimitShape, LimitShape, LimitsShape
from taskrunner.brokers.base import LimitState
from taskrunner.errors import NotAllowed
from taskrunner.limitbook import as_map
from taskrunner.limits import ScopeKind

router = APIRouter(prefix="/v1", tags=["queues"])
Reader = Annotated[Caller, Depends(Needs(Scope.READ))]
Manager = Annotated[Caller, Depends(Needs(Scope.QUEUES))]
QueueName = Annotated[str, Path(min_length=1, max_length=128)]


@router.get("/queues/{queue:path}/limits", response_model=LimitsShape, summary="What holds a queue")
def limits(queue: QueueName, caller: Reader) -> Response:
    """Limits that were declared or set, and pauses: of the whole queue, of tasks and of keys in it."""
    caller.must_reach(queue=queue)
    found = caller.app.limits.list(queue)
    return to_json({"limits": [as_map(state) for state in found if _is_visible(caller, state)]})


def _is_visible(caller: Caller, state: LimitState) -> bool:
    match state.scope.kind:
        case ScopeKind.TASK:
            return caller.identity.reaches(task=state.scope.name)
        case ScopeKind.KEY:
            return EVERYTHING[0] in caller.identity.tasks
        case _:
            return True


@router.put("/queues/{queue:path}/limits", response_model=ChangedLimitShape, summary="Set a limit")
def set_limit(queue: QueueName, wanted: NewLimit, caller: Manager) -> Response:
    """Of the queue, of a `task` in it or of a `key` in it; it outranks what the code declares, and acts at
    once, also on jobs that wait. `"none"` lifts what is declared."""
    said = wanted.said()
    where = _where(caller, "set limit", queue, wanted, said)
    limits = caller.app.limits
    before = limits.set(queue, **where, rate=said.get("rate"), max_running=wanted.max_running)
    return _now(caller, queue, where, before=before)


@router.delete(
    "/queues/{queue:path}/limits",
    response_model=ChangedLimitShape,
    summary="Remove what was set",
)
def remove_limit(queue: QueueName, caller: Manager, wanted: Annotated[Held, Query()]) -> Response:
    """What the code declares holds again."""
    where = _where(caller, "remove limit", queue, wanted, wanted.said())
    before = caller.app.limits.remove(queue, **where)
    return _now(caller, queue, where, before=before)


@router.post("/queues/{queue:path}/pause", response_model=LimitShape, summary="Pause a queue")
def pause(queue: QueueName, wanted: Pause, caller: Manager) -> Response:
    """Or a `task` or `key` in it: no more jobs are started on any node, for `seconds` or until it is
    resumed. They are kept, and what runs goes on."""
    where = _where(caller, "pause", queue, wanted, wanted.said())
    caller.app.limits.pause(queue, **where, seconds=wanted.seconds)
    return _now(caller, queue, where)


@router.post(
    "/queues/{queue:path}/resume", response_model=ChangedLimitShape, summary="Resume a queue"
)
def resume(queue: QueueName, wanted: Held, caller: Manager) -> Response:
    """Or the `task` or `key` in it that was paused."""
    where = _where(caller, "resume", queue, wanted, wanted.said())
    before = caller.app.limits.resume(queue, **where)
    return _now(caller, queue, where, before=before)


def _where(
    caller: Caller, action: str, queue: str, wanted: Held, said: dict[str, Any]
) -> dict[str, Any]:
    """Raises NotAllowed for a task out of reach, and for more than a task to those who do not reach
    every task."""
    caller.must_reach(queue=queue, task=wanted.task)
    if wanted.task is None and EVERYTHING[0] not in caller.identity.tasks:
        raise NotAllowed("these credentials are for some tasks: name one of them, task=…")
    caller.note(action, queue=queue, task=wanted.task, detail=said)
    return {"task": wanted.task, "key": wanted.key}


def _now(caller: Caller, queue: str, where: dict[str, Any], **besides: bool) -> Response:
    return to_json({**as_map(caller.app.limits.get(queue, **where)), **besides})
