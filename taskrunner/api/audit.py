"""What was changed over HTTP, for those who may do everything."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from taskrunner.access import Scope
from taskrunner.access.audit import Entry
from taskrunner.access.setup import trail
from taskrunner.api.answers import to_json
from taskrunner.api.caller import Caller, Needs

MOST = 500

router = APIRouter(prefix="/v1", tags=["audit"])
Admin = Annotated[Caller, Depends(Needs(Scope.ADMIN))]


class EntryShape(BaseModel):
    at: str
    who: str
    name: str
    action: str
    status: int
    outcome: str
    count: int
    address: str | None = None
    queue: str | None = None
    task: str | None = None
    jobs: list[str] = []
    target: str | None = None
    request: str | None = None
    detail: dict[str, Any] = {}


class AuditShape(BaseModel):
    entries: list[EntryShape]
    cursor: str


@router.get("/audit", response_model=AuditShape, summary="What was changed over HTTP, by whom")
def audit(
    caller: Admin,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    cursor: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """The newest first. Of changes that concern no queue, or many, only those are told who reach all
    queues and tasks; so a page may be short."""
    page = trail(caller.app.config, caller.app.broker).page(cursor, limit=limit)
    seen = [entry.as_map() for entry in page.entries if _concerns(caller, entry)]
    return to_json({"entries": seen, "cursor": page.cursor})


def _concerns(caller: Caller, entry: Entry) -> bool:
    identity = caller.identity
    if identity.reaches_everything:
        return True
    return entry.queue is not None and identity.reaches(queue=entry.queue, task=entry.task)
