"""Every route, asked by somebody without credentials, with the wrong scope, with the wrong queue, and
with the right ones: the table in docs/guides/http-access.md.

    python -m tests.api.matrix          prints it, as it is now
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx
from fastapi.routing import APIRoute

from taskrunner import App
from taskrunner.access import KeyStore, Scope
from taskrunner.api import create_api
from taskrunner.api.openapi import scope_of
from taskrunner.api.service import ROUTERS
from taskrunner.brokers.memory import MemoryBroker
from tests.unit.one_node import OneNode

HEAD: Final = "| request | scope | no credentials | wrong scope | wrong queue | right |"
QUEUE: Final = "mine"
SCHEDULE: Final = {"task": "t", "queue": QUEUE, "every": 3600}


@dataclass(frozen=True)
class Sample:
    """How a route is asked, so that it does something where it may."""

    path: str
    body: Any = None


SAMPLES: Final = {
    "POST /v1/jobs": Sample("/v1/jobs", {"task": "t", "queue": QUEUE}),
    "POST /v1/jobs/batch": Sample("/v1/jobs/batch", {"jobs": [{"task": "t", "queue": QUEUE}]}),
    "GET /v1/jobs": Sample("/v1/jobs"),
    "GET /v1/jobs/{job_id}": Sample("/v1/jobs/waits"),
    "GET /v1/jobs/{job_id}/result": Sample("/v1/jobs/waits/result"),
    "GET /v1/jobs/{job_id}/why": Sample("/v1/jobs/waits/why"),
    "POST /v1/jobs/{job_id}/cancel": Sample("/v1/jobs/waits/cancel"),
    "POST /v1/jobs/{job_id}/retry": Sample("/v1/jobs/failed/retry"),
    "POST /v1/jobs/{job_id}/reschedule": Sample("/v1/jobs/later/reschedule", {"delay": 60}),
    "DELETE /v1/jobs/{job_id}": Sample("/v1/jobs/waits"),
    "POST /v1/jobs/bulk": Sample("/v1/jobs/bulk", {"action": "cancel", "filter": {}}),
    "GET /v1/queues": Sample("/v1/queues"),
    "GET /v1/queues/{queue}/stats": Sample(f"/v1/queues/{QUEUE}/stats"),
    "POST /v1/queues/{queue}/purge": Sample(f"/v1/queues/{QUEUE}/purge", {}),
    "GET /v1/queues/{queue}/limits": Sample(f"/v1/queues/{QUEUE}/limits"),
    "PUT /v1/queues/{queue}/limits": Sample(f"/v1/queues/{QUEUE}/limits", {"max_running": 2}),
    "DELETE /v1/queues/{queue}/limits": Sample(f"/v1/queues/{QUEUE}/limits"),
    "POST /v1/queues/{queue}/pause": Sample(f"/v1/queues/{QUEUE}/pause", {}),
    "POST /v1/queues/{queue}/resume": Sample(f"/v1/queues/{QUEUE}/resume", {}),
    "GET /v1/stats": Sample("/v1/stats"),
    "GET /v1/schedules": Sample("/v1/schedules"),
    "POST /v1/schedules": Sample("/v1/schedules", {"name": "new", **SCHEDULE}),
    "GET /v1/schedules/{name}/preview": Sample("/v1/schedules/nightly/preview"),
    "GET /v1/schedules/{name}/history": Sample("/v1/schedules/nightly/history"),
    "POST /v1/schedules/{name}/pause": Sample("/v1/schedules/nightly/pause"),
    "POST /v1/schedules/{name}/resume": Sample("/v1/schedules/nightly/resume"),
    "POST /v1/schedules/{name}/trigger": Sample("/v1/schedules/nightly/trigger"),
    "GET /v1/schedules/{name}": Sample("/v1/schedules/nightly"),
    "PUT /v1/schedules/{name}": Sample("/v1/schedules/nightly", SCHEDULE),
    "DELETE /v1/schedules/{name}": Sample("/v1/schedules/nightly"),
    "GET /v1/nodes": Sample("/v1/nodes"),
    "GET /v1/nodes/health": Sample("/v1/nodes/health?timeout=0.1"),
    "GET /v1/nodes/{node}/children": Sample("/v1/nodes/node/children?timeout=0.1"),
    "POST /v1/nodes/{node}/{action}": Sample("/v1/nodes/node/dump"),
    "GET /v1/audit": Sample("/v1/audit"),
    "GET /v1/events": Sample("/v1/events?seconds=0.05"),
    "GET /metrics": Sample("/metrics"),
    "GET /openapi.json": Sample("/openapi.json"),
    "GET /docs": Sample("/docs"),
    "GET /healthz": Sample("/healthz"),
    "GET /readyz": Sample("/readyz"),
}


class Place:
    """A service with some jobs, and keys for it."""

    def __init__(self, *, insecure_no_auth: bool = False, **settings: Any) -> None:
        self.app = App(MemoryBroker(), **settings)
        self.api = create_api(self.app, insecure_no_auth=insecure_no_auth)
        self.keys = KeyStore(self.app.broker)
        self._fill()

    def close(self) -> None:
        """As a server does at its end."""
        asyncio.run(self._end())
        self.app.close()

    async def _end(self) -> None:
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None: ...

        await self.api({"type": "lifespan", "state": {}}, receive, send)

    def _fill(self) -> None:
        node = OneNode(self.app, QUEUE)
        self.app.enqueue("t", queue=QUEUE, job_id="failed")
        node.fail(None, "rejected")
        self.app.enqueue("t", queue=QUEUE, job_id="waits")
        self.app.enqueue("t", queue=QUEUE, job_id="later", delay=3600)
        self.app.schedules.add("nightly", "t", queue=QUEUE, every=3600)

    def routes(self) -> Iterator[tuple[str, APIRoute]]:
        """Each by its method and path, in the order in which they were added."""
        for route in (route for router in ROUTERS for route in router.routes):
            if isinstance(route, APIRoute):
                path = route.path.replace(":path}", "}")
                yield from ((f"{method} {path}", route) for method in sorted(route.methods or ()))

    def key(self, scopes: set[Scope], *queues: str) -> str:
        return self.keys.create("somebody", scopes, queues=queues).text

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        shown = {} if key is None else {"authorization": f"Bearer {key}"}
        return asyncio.run(
            self._ask(method, path, {**more, "headers": {**shown, **(headers or {})}})
        )

    async def _ask(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, timeout=30, **more)


def codes(place: Place, request: str, scope: Scope | None) -> list[int]:
    """What a request is answered with in the four cases. The one that may comes last, because it is
    the only one that changes something."""
    method, sample = request.partition(" ")[0], SAMPLES[request]
    every = set(Scope) - {Scope.ADMIN}
    needed = every if scope is None else {scope}
    others = every - needed or {Scope.READ}  # a key has one at least
    keys = (None, place.key(others), place.key(needed, "other"), place.key(needed))
    return [place.ask(method, sample.path, key=key, json=sample.body).status_code for key in keys]


class Row(NamedTuple):
    request: str
    scope: str
    codes: list[int]
    """of the four cases"""


def rows() -> Iterator[Row]:
    """Each route. Raises LookupError for one that SAMPLES does not know: each must be there."""
    place = Place()
    for request, route in place.routes():
        if request not in SAMPLES:
            raise LookupError(f"{request}: say in tests/api/matrix.py how it is asked")
        scope = None if "public" in route.tags else scope_of(route)
        named = "any" if scope is None else f"`{scope}`"
        found = codes(place, request, scope)
        yield Row(request, "anybody" if "public" in route.tags else named, found)
        if not request.startswith("GET "):
            place.close()
            place = Place()
    place.close()


def as_table(found: Iterable[Row]) -> str:
    lines = [HEAD, "| --- | --- | --- | --- | --- | --- |"]
    for request, named, answers in found:
        lines.append(f"| `{request}` | {named} | {' | '.join(map(str, answers))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_table(rows()))
