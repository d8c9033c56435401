"""One request, from its arrival to its last byte."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from taskrunner.access.audit import Auditor, Entry
from taskrunner.access.identity import Identity
from taskrunner.access.problems import Refusal
from taskrunner.clock import Clock
from taskrunner.ids import new_id

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""On every answer that does not say otherwise itself."""

_HSTS: Final = "max-age=31536000"


class Gone(Exception):
    """Whoever asked is there no longer."""


@dataclass(slots=True)
class Note:
    """What the audit shall say of a request; the service fills it in."""

    action: str = ""
    queue: str | None = None
    task: str | None = None
    jobs: tuple[str, ...] = ()
    target: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    is_read: bool = False
    """changed nothing, whatever the method"""


class Visit:
    """A request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, auditor: Auditor, clock: Clock
    ) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self._auditor = auditor
        self._clock = clock
        self._identity: Identity | None = None
        self._has_begun = False
        self._is_complete = False
        self.note = Note()
        given = self.header("x-request-id")
        self.id = given if _ID.fullmatch(given) else new_id()
        scope["state"] = {**scope.get("state", {}), "audit": self.note, "request_id": self.id}

    # -- what is asked

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """As the service knows it: without the place where it is mounted."""
        return str(self.scope["path"]).removeprefix(self.scope.get("root_path", ""))

    @property
    def address(self) -> str:
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def certificate(self) -> Any:
        """The client's, verified, as `getpeercert` has it; None where there is none."""
        return self.scope.get("extensions", {}).get("taskrunner.certificate")

    @property
    def identity(self) -> Identity:
        assert self._identity is not None
        return self._identity

    @identity.setter
    def identity(self, identity: Identity) -> None:
        self._identity = identity
        self.scope["state"]["identity"] = identity

    def header(self, name: str) -> str:
        """The first of that name; empty where there is none."""
        wanted = name.encode()
        found = (value for key, value in self.scope["headers"] if key.lower() == wanted)
        return next(found, b"").decode("latin-1").strip()

    @property
    def announced(self) -> int:
        """How many bytes of body there will be, as far as it is said."""
        text = self.header("content-length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0

    async def read(self, limit: int) -> bytes | None:
        """The body; None where it is larger than `limit`. Raises Gone."""
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > limit:
                return None
        return b"".join(parts)

    def again(self, body: bytes) -> Receive:
        """How the service receives what was read already."""
        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                return await self.receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return receive

    # -- what is answered

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            message["headers"] = self._headers(message.get("headers", ()))
            self._record(message["status"])
        elif message["type"] == "http.response.body":
            self._is_complete = not message.get("more_body", False)
        await self._send(message)

    def _headers(self, own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        found = list(own)
        said = {name.lower() for name, _ in found}
        ours = {**SECURITY_HEADERS, "x-request-id": self.id}
        if self.scope.get("scheme") == "https":
            ours["strict-transport-security"] = _HSTS
        found += [
            (name.encode(), value.encode())
            for name, value in ours.items()
            if name.encode() not in said
        ]
        return found

    async def refuse(self, refusal: Refusal, *, close: bool = False) -> None:
        """Answer with a problem document. Where an answer has begun it is left broken off, so that
        nobody takes it for whole."""
        if self._has_begun:
            return
        headers = [("content-type", "application/problem+json"), *refusal.headers]
        if close:
            headers.append(("connection", "close"))
        body = refusal.body(request_id=self.id)
        headers.append(("content-length", str(len(body))))
        packed = [(name.encode(), value.encode()) for name, value in headers]
        await self.send(
            {"type": "http.response.start", "status": refusal.status, "headers": packed}
        )
        await self.send({"type": "http.response.body", "body": body})

    async def finish(self) -> None:
        """End a stream that was begun, where it stands."""
        if self._has_begun and not self._is_complete:
            await self.send({"type": "http.response.body", "body": b""})

    def _record(self, status: int) -> None:
        """Tell the audit of a change that somebody known asked for."""
        note, who = self.note, self._identity
        if who is None or self.method in _READS or note.is_read:
            return
        entry = Entry(
            at=self._clock.wall(),
            who=str(who),
            name=who.name,
            address=self.address,
            action=note.action or f"{self.method} {self.path}",
            status=status,
            queue=note.queue,
            task=note.task,
            jobs=note.jobs,
            target=note.target,
            request=self.id,
            detail=note.detail,
        )
        self._auditor.record(entry)
