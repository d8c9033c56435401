"""A guard in front of a service that does what a test tells it, driven as a server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskrunner.access import KeyRing, KeyStore
from taskrunner.access.audit import Auditor, Lines, Trail
from taskrunner.access.door import Door
from taskrunner.access.guard import Guard
from taskrunner.access.rules import Rules
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.testing.clock import FakeClock

MARK = "hunter2-marker"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False

    async def take(self, message: Any) -> None:
        """What a server's `send` does."""
        if message["type"] == "http.response.start":
            assert not self.status, "answered twice"
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)

    @property
    def problem(self) -> Any:
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


def receiving(parts: list[bytes], endless: bool) -> Callable[[], Any]:
    """A server's `receive`; of a body that is endless the rest does not come."""

    async def receive() -> dict[str, Any]:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts) or endless}
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    return receive


class Away(MemoryBroker):
    is_away = False

    def records(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_away:
            raise BrokerUnavailable(f"redis://{MARK}")
        return super().records(*args, **kwargs)


class Site:
    """A guard, and behind it a service that does what a test tells it."""

    def __init__(self, folder: Path, rules: Rules | None = None, *, is_open: bool = False) -> None:
        self.clock = FakeClock()
        self.broker = Away(clock=self.clock)
        self.store = KeyStore(self.broker)
        self.path = folder / "audit"
        self.seen: list[Any] = []
        self.bodies: list[bytes] = []
        self.does: Callable[[Any], Any] | None = None
        self.streams = False
        self.auditor = Auditor(Lines(self.path), Trail(self.broker, retention=9, most=9))
        ring = KeyRing(self.store, clock=self.clock)
        self.guard = Guard(
            self.service,
            door=None if is_open else Door(ring, clock=self.clock),
            auditor=self.auditor,
            rules=rules or Rules(),
            clock=self.clock,
        )
        self.key = self.store.create("me", ["admin"]).text

    async def service(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.seen.append(scope)
        if scope["method"] not in ("GET", "HEAD"):
            message = await receive()
            self.bodies.append(message["body"])
        start = {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]}
        if self.streams:
            await send(start)
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
        if self.does is not None:
            await self.does(scope)
        if not self.streams:
            await send(start)
        await send({"type": "http.response.body", "body": b"ok"})

    def audited(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    async def aask(  # noqa: PLR0913  all that a request can be
        self,
        method: str = "GET",
        path: str = "/v1/jobs",
        *,
        key: str | None = "mine",
        body: list[bytes] | None = None,
        headers: dict[str, str] | None = None,
        query: bytes = b"",
        endless: bool = False,
        address: str = "10.0.0.1",
        scheme: str = "http",
    ) -> Answer:
        shown = self.key if key == "mine" else key
        given = {"host": "localhost:8000", **(headers or {})}
        if shown is not None:
            given["authorization"] = f"Bearer {shown}"
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(k.encode(), v.encode()) for k, v in given.items()],
            "client": (address, 5),
            "scheme": scheme,
        }
        answer = Answer()
        await self.guard(scope, receiving(list(body or [b""]), endless), answer.take)
        return answer

    def ask(self, *args: Any, **kwargs: Any) -> Answer:
        return asyncio.run(self.aask(*args, **kwargs))
