"""A service on a free port, in a thread of this process."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from taskrunner.api.transport import server
from taskrunner.config import Config
from taskrunner.testing.waiting import eventually


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def serving(service: Any, config: Config) -> Iterator[int]:
    """Serve it; the port."""
    running = server(service, config=config, port=0)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: running.started, timeout=30)
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def ask(
    port: int,
    method: str = "GET",
    path: str = "/",
    *,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Reply:
    """One request on a connection of its own. What is no bytes is sent as JSON."""
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("content-type", "application/json")
    connection: http.client.HTTPConnection = (
        http.client.HTTPConnection("localhost", port, timeout=30)
        if context is None
        else http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    )
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())
    finally:
        connection.close()
