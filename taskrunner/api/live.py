"""`/v1/events`: what happens, as server-sent events, from where a listener left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from taskrunner.access import Scope
from taskrunner.api.caller import Caller, Needs
from taskrunner.api.feed import Ear, Feed, Item
from taskrunner.clock import monotonic

HEARTBEAT_S: Final = 15.0
"""Something is sent at least so often: who has gone is noticed, and proxies do not hang up."""
LONGEST_S: Final = 86_400.0

router = APIRouter(prefix="/v1", tags=["events"])
Reader = Annotated[Caller, Depends(Needs(Scope.READ))]
LastEventId = Annotated[str | None, Header(max_length=100, description="where a listener left")]


@router.get(
    "/events",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    summary="What happens, as it happens",
)
async def live(
    request: Request,
    caller: Reader,
    seconds: Annotated[float, Query(gt=0, le=LONGEST_S, allow_inf_nan=False)] = LONGEST_S,
    last_event_id: LastEventId = None,
) -> Response:
    """Server-sent events. `queue`: its numbers have changed, looked at every second. `fleet`: a node has
    joined or left. `store`: it is away, or back. Of the node beside the service, if there is one: `run`,
    a run has ended, and `node`, something else happened there. `missed`: between `Last-Event-ID` and now
    there was more than is known. Of what is out of reach nothing is told."""
    feed: Feed = request.app.state.feed
    events = _lines(caller, feed, last_event_id, monotonic() + seconds)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(events, 200, headers, media_type="text/event-stream")


async def _lines(
    caller: Caller, feed: Feed, last_id: str | None, until: float
) -> AsyncIterator[bytes]:
    place = feed.newest if last_id is None else feed.place_of(last_id)
    yield b"retry: 2000\n\n"
    if place is None:
        yield b"event: missed\ndata: {}\n\n"
        place = feed.newest
    ear = Ear(feed, place)
    try:
        while (left := until - monotonic()) > 0 and not feed.is_closing:
            items = await ear.next(min(left, HEARTBEAT_S))
            lines = [_line(feed, item, caller) for item in items if _reaches(caller, item)]
            yield b"".join(lines) or b": \n\n"
    finally:
        ear.leave()


def _reaches(caller: Caller, item: Item) -> bool:
    if item.queue is None:
        return caller.identity.reaches_everything
    return caller.identity.reaches(queue=item.queue, task=item.task)


def _line(feed: Feed, item: Item, caller: Caller) -> bytes:
    data: dict[str, Any] = item.data
    if not caller.sees_data and "error" in data:
        data = {**data, "error": None}
    text = json.dumps(data, separators=(",", ":"))
    return f"id: {feed.id_of(item)}\nevent: {item.kind}\ndata: {text}\n\n".encode()
