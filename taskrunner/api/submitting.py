"""Submitting over HTTP: one job, or many with an answer for each; and each once, where the request
names itself by an Idempotency-Key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import ValidationError

from taskrunner.access import Scope
from taskrunner.api.answers import to_json
from taskrunner.api.bodies import NewJob, NewJobs
from taskrunner.api.caller import Caller, Needs
from taskrunner.api.idempotency import Remembered, Repeats
from taskrunner.api.problems import invalid, problem_of
from taskrunner.api.shapes import BatchAnswer, Submitted
from taskrunner.brokers.base import JobKey
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.declaring import call_of
from taskrunner.errors import BrokerError, JobNotFound, TaskrunnerError
from taskrunner.ids import new_id
from taskrunner.job import Job
from taskrunner.message import Message
from taskrunner.states import State

router = APIRouter(prefix="/v1", tags=["jobs"])
Submitter = Annotated[Caller, Depends(Needs(Scope.SUBMIT))]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1, max_length=255, description="the same request under the same key counts once"
    ),
]


@router.post(
    "/jobs",
    status_code=202,
    response_model=Submitted,
    summary="Submit a job",
    responses={202: {"headers": {"Location": {"schema": {"type": "string"}}}}},
)
async def submit(
    request: Request, wanted: NewJob, caller: Submitter, idempotency_key: IdempotencyKey = None
) -> Response:
    if idempotency_key is None:
        message = _message(wanted, caller)
        return _accepted(request, await _said(message, await caller.app.asubmit(message)))
    repeats = Repeats(caller.app.broker, caller.identity, idempotency_key)
    body, job_id = await request.body(), wanted.job_id or new_id()
    message = _message(wanted, caller)  # what is wrong with it does not use up the key
    known = await asyncio.to_thread(repeats.remember, body, job_id)
    caller.note("submit", jobs=(known.job_id,))
    if known.is_done:
        said = await _again(caller, known, wanted.task)
        return _accepted(request, said, repeated=True)
    message = replace(message, id=known.job_id, call=known.call)
    job = await _once(caller, message, repeats, known)
    return _accepted(request, await _said(message, job))


async def _again(caller: Caller, known: Remembered, task: str) -> dict[str, Any]:
    """What is said of a job that was accepted before; nobody knows the state of one that is gone."""
    said = {"id": known.job_id, "queue": known.queue, "task": task}
    try:
        return {**said, "state": await caller.app.job(known.job_id, known.queue).astate()}
    except JobNotFound:
        return {**said, "state": None}


async def _once(caller: Caller, message: Message, repeats: Repeats, known: Remembered) -> Job[Any]:
    try:
        job = await caller.app.asubmit(message)
    except BrokerError:
        raise  # it may have been accepted: a repeat has to be the same job
    except TaskrunnerError:
        await asyncio.to_thread(repeats.forget, known)
        raise
    await asyncio.to_thread(repeats.conclude, known, JobKey(message.queue, job.id))
    return job


def _message(wanted: NewJob, caller: Caller) -> Message:
    """Raises NotAllowed, and whatever `app.enqueue` does."""
    call = call_of(caller.app, wanted.task, wanted.args, wanted.kwargs, wanted.options())
    message = call.message(caller.app)
    caller.note("submit", queue=message.queue, task=message.task, jobs=(message.id,))
    caller.must_reach(queue=message.queue, task=message.task)
    return message


def _accepted(request: Request, said: dict[str, Any], *, repeated: bool = False) -> Response:
    place = f"{request.scope.get('root_path', '')}/v1/jobs/{quote(said['id'], safe='')}"
    headers = {"location": f"{place}?queue={quote(said['queue'], safe='')}"}
    if repeated:
        headers["idempotency-replayed"] = "true"
    return to_json(said, 202, headers)


async def _said(message: Message, job: Job[Any]) -> dict[str, Any]:
    """What a submission is answered with. It may have come to a job that was there already."""
    known = {"id": job.id, "queue": message.queue, "task": message.task}
    if job.id != message.id:
        return {**known, "state": await job.astate()}
    return {**known, "state": _first_state(message)}


def _first_state(message: Message) -> State:
    timing = message.timing
    is_late = bool(timing.delay) or (timing.eta or 0.0) > SYSTEM_CLOCK.wall()
    return State.SCHEDULED if is_late else State.PENDING


@router.post(
    "/jobs/batch",
    response_model=BatchAnswer,
    summary="Submit many jobs, with an answer for each",
)
async def submit_many(wanted: NewJobs, caller: Submitter) -> Response:
    """Each item is answered as if it were submitted alone: one that is wrong, or refused by the store,
    does not keep the others from being accepted."""
    found = [_judged(one, caller) for one in wanted.jobs]
    messages = [one for one in found if isinstance(one, Message)]
    jobs = iter(await caller.app.aenqueue_many(messages) if messages else [])
    items: list[dict[str, Any]] = []
    for one in found:
        if not isinstance(one, Message):
            items.append({"status": one["status"], "problem": one})
            continue
        job = next(jobs)
        if job.rejection is not None:
            problem = problem_of(job.rejection)
            items.append({"status": problem["status"], "problem": problem, "id": job.id})
        else:
            known = {"id": job.id, "queue": one.queue, "task": one.task}
            items.append({"status": 202, **known, "state": _first_state(one)})
    accepted = sum(item["status"] == 202 for item in items)
    caller.note(
        "submit many",
        queue=None,
        task=None,
        jobs=(),
        detail={"jobs": len(items), "accepted": accepted},
    )
    return to_json({"accepted": accepted, "items": items})


def _judged(item: Any, caller: Caller) -> Message | dict[str, Any]:
    """The message that an item is, or the problem with it."""
    try:
        return _message(NewJob.model_validate(item), caller)
    except ValidationError as error:
        return invalid([{**one, "loc": ("body", *one["loc"])} for one in error.errors()])
    except TaskrunnerError as error:
        return problem_of(error)
