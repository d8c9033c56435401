"""The service in this process, asked without a network, by somebody who was recognised before; and on a port,
with a client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import uvicorn

from taskrunner import App
from taskrunner.access import ANYBODY, Identity, Scope
from taskrunner.api.service import unguarded
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.client import HttpClient
from taskrunner.testing.waiting import eventually


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


class Door:
    """Knows the key `right`, and hangs up on the first requests if it is told to."""

    def __init__(self, app: App) -> None:
        self.service = Client(app).api
        self.hang_up = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.hang_up and scope["type"] == "http":
            self.hang_up -= 1
            await Known(self.service, ANYBODY)(scope, receive, _nowhere)
            headers = [(b"content-length", b"9")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"cut", "more_body": True})
            raise ConnectionError("hung up")
        knows = (b"authorization", b"Bearer right") in scope.get("headers", ())
        await Known(self.service, ANYBODY if knows else None)(scope, receive, send)


async def _nowhere(message: Any) -> None:
    """An answer that never arrives."""


class Site:
    """A service on a port of its own."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.app = App(self.broker)
        self.door = Door(self.app)
        config = uvicorn.Config(self.door, port=0, log_level="critical", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.url = ""

    def start(self) -> None:
        self._thread.start()
        eventually(lambda: self._server.started, timeout=30)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self.app.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.start()
    yield site
    site.stop()


@pytest.fixture
def client(site: Site) -> Iterator[HttpClient]:
    with HttpClient(site.url, key="right") as client:
        yield client
