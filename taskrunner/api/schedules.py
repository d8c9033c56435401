"""Schedules over HTTP: what submits jobs again and again, and everything one does with it."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from taskrunner.access import Scope
from taskrunner.api.answers import to_json
from taskrunner.api.bodies import Moment, NamedSchedule, NewSchedule
from taskrunner.api.caller import Caller, Needs
from taskrunner.api.shapes import FiringsShape, ScheduleShape, SchedulesShape, SlotsShape, Submitted
from taskrunner.declaring import call_of
from taskrunner.errors import ScheduleNotFound
from taskrunner.scheduleinfo import ScheduleInfo
from taskrunner.schedules import RULE_NAMES
from taskrunner.states import State

MOST_FIRINGS = 50
MOST_SLOTS = 1000

router = APIRouter(prefix="/v1", tags=["schedules"])
Reader = Annotated[Caller, Depends(Needs(Scope.READ))]
Manager = Annotated[Caller, Depends(Needs(Scope.SCHEDULES))]


@router.get("/schedules", response_model=SchedulesShape, summary="The schedules")
def schedules(caller: Reader) -> Response:
    """What they run, when each falls due next, and what became of its last job."""
    found = [one for one in caller.app.schedules.list() if _reaches(caller, one)]
    return to_json({"schedules": [_view(one, caller) for one in found]})


@router.post("/schedules", status_code=201, response_model=ScheduleShape, summary="Add a schedule")
def add(wanted: NamedSchedule, caller: Manager) -> Response:
    """Saying the same again changes nothing; a name that another schedule has is refused."""
    return to_json(_put(caller, wanted.name, wanted, replace=False), 201)


def _reaches(caller: Caller, one: ScheduleInfo) -> bool:
    """One that cannot be read is shown to those alone whom nothing is kept from."""
    if one.queue is None or one.task is None:
        return caller.identity.reaches_everything
    return caller.identity.reaches(queue=one.queue, task=one.task)


def _found(caller: Caller, name: str) -> ScheduleInfo:
    """Raises ScheduleNotFound, also for one that is out of reach."""
    one = caller.app.schedules.get(name)
    if one is None or not _reaches(caller, one):
        raise ScheduleNotFound(f"there is no schedule {name!r}")
    return one


def _view(one: ScheduleInfo, caller: Caller) -> dict[str, Any]:
    found = {field.name: getattr(one, field.name) for field in fields(one)}
    if not caller.sees_data:
        del found["args"], found["kwargs"]
    return found


def _put(caller: Caller, name: str, wanted: NewSchedule, *, replace: bool) -> dict[str, Any]:
    said = wanted.said("name", "task", "args", "kwargs")
    of_jobs = {option: value for option, value in said.items() if option not in RULE_NAMES}
    call = call_of(caller.app, wanted.task, wanted.args, wanted.kwargs, of_jobs)
    template = call.template(caller.app)
    caller.must_reach(queue=template.queue, task=template.task)
    before = caller.app.schedules.get(name)
    if before is not None and before.queue is not None:
        caller.must_reach(queue=before.queue, task=before.task)
    caller.note("put schedule", queue=template.queue, task=template.task, target=name)
    info = caller.app.schedules.add(
        name, wanted.task, wanted.args, wanted.kwargs, replace=replace, **said
    )
    return _view(info, caller)


@router.get(
    "/schedules/{name:path}/preview", response_model=SlotsShape, summary="When it falls due"
)
def preview(
    name: str,
    caller: Reader,
    count: Annotated[int, Query(ge=0, le=MOST_SLOTS)] = 10,
    after: Annotated[Moment | None, Query()] = None,
) -> Response:
    """Its next slots, with what a change of the clocks and a jitter have to do with each."""
    _found(caller, name)
    return to_json({"slots": caller.app.schedules.forecast(name, count, after)})


@router.get("/schedules/{name:path}/history", response_model=FiringsShape, summary="Its firings")
def history(
    name: str, caller: Reader, count: Annotated[int, Query(ge=0, le=MOST_FIRINGS)] = 20
) -> Response:
    """The newest first, with what became of their jobs."""
    _found(caller, name)
    return to_json({"firings": caller.app.schedules.history(name, count)})


@router.post("/schedules/{name:path}/pause", response_model=ScheduleShape, summary="Pause it")
def pause(name: str, caller: Manager) -> Response:
    """It submits nothing until it is resumed."""
    _noted(caller, "pause schedule", name)
    caller.app.schedules.pause(name)
    return to_json(_view(_found(caller, name), caller))


@router.post("/schedules/{name:path}/resume", response_model=ScheduleShape, summary="Resume it")
def resume(name: str, caller: Manager) -> Response:
    """From now on: slots of the pause were not missed."""
    _noted(caller, "resume schedule", name)
    caller.app.schedules.resume(name)
    return to_json(_view(_found(caller, name), caller))


@router.post(
    "/schedules/{name:path}/trigger",
    status_code=202,
    response_model=Submitted,
    summary="Submit its job now",
)
def trigger(name: str, caller: Manager) -> Response:
    """Whatever its times say; they stay as they are."""
    one = _noted(caller, "trigger schedule", name)
    job = caller.app.schedules.trigger(name)
    said = {"id": job.id, "queue": job.queue, "task": one.task, "state": State.PENDING}
    return to_json(said, 202)


def _noted(caller: Caller, action: str, name: str) -> ScheduleInfo:
    one = _found(caller, name)
    caller.note(action, queue=one.queue, task=one.task, target=name)
    return one


# Last, because a name may have a slash in it, and looks like the others then.


@router.get("/schedules/{name:path}", response_model=ScheduleShape, summary="One schedule")
def schedule(name: str, caller: Reader) -> Response:
    return to_json(_view(_found(caller, name), caller))


@router.put("/schedules/{name:path}", response_model=ScheduleShape, summary="Add or change one")
def put(name: str, wanted: NewSchedule, caller: Manager) -> Response:
    """One of that name that is there becomes this one."""
    return to_json(_put(caller, name, wanted, replace=True))


@router.delete(
    "/schedules/{name:path}", status_code=204, response_class=Response, summary="Remove one"
)
def remove(name: str, caller: Manager) -> Response:
    """What it has submitted goes on."""
    _noted(caller, "remove schedule", name)
    caller.app.schedules.remove(name)
    return Response(status_code=204)
