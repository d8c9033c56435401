"""The service in this process, asked without a network, by somebody who was recognised before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from taskrunner import App
from taskrunner.access import ANYBODY, Identity, Scope
from taskrunner.api.service import unguarded
from taskrunner.brokers.memory import MemoryBroker


@dataclass
class Known:
    """Says who asks, as whoever stands in front of the service does."""

    service: Any
    identity: Identity | None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.identity is not None:
            scope["state"] = {**scope.get("state", {}), "identity": self.identity}
        await self.service(scope, receive, send)


class Client:
    """Asks the service; each call is one request."""

    def __init__(self, app: App, identity: Identity | None = ANYBODY) -> None:
        self.app = app
        self.api = unguarded(app)
        self.identity = identity

    def known_as(
        self, *scopes: Scope, queues: tuple[str, ...] = ("*",), tasks: tuple[str, ...] = ("*",)
    ) -> Client:
        """The same service, asked by somebody else."""
        other = Client(self.app)
        other.identity = replace(
            ANYBODY, scopes=frozenset(scopes), queues=queues, tasks=tasks, id="somebody"
        )
        return other

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        if body is not None:
            more["json"] = body
        return asyncio.run(self._ask(method, path, more))

    async def _ask(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(Known(self.api, self.identity))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.request(method, path, timeout=30, **more)

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self("GET", path, params=params)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return self("POST", path, body, **more)


@pytest.fixture
def app() -> Iterator[App]:
    app = App(MemoryBroker())
    yield app
    app.close()


@pytest.fixture
def api(app: App) -> Client:
    return Client(app)
