"""How fast are jobs submitted over HTTP: one in a request, from many connections, in batches?

    python -m benchmarks.http [--json] [--runs N] [--quick]

Against `taskrunner api` with a key, in a process of its own, over loopback and Redis, while nobody runs
the jobs. The client is asyncio with requests that were made before: it costs little beside the service.
Beside it, in turns, an App that needs no service.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.harness.answer import Answer, Chart, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.stage import ROOT, TARGET, Stage
from benchmarks.tasks import app, empty
from taskrunner.access import KeyStore, Scope
from taskrunner.testing.waiting import eventually

ONE_BY_ONE = 3_000
IN_BATCHES = 30_000
BATCH = 1_000
CONNECTIONS = 16
JOB = {"task": "benchmarks.tasks.empty"}


def ask(how: How) -> Answer:
    few, many = how.size(ONE_BY_ONE), how.size(IN_BATCHES)
    batches = max(1, many // BATCH)
    rates: dict[str, list[float]] = {}
    with Stage(app) as stage, service() as port:
        key = KeyStore(app.broker).create("benchmark", [Scope.SUBMIT]).text
        one = request("/v1/jobs", JOB, key)
        batch = request("/v1/jobs/batch", {"jobs": [JOB] * BATCH}, key)
        ways: dict[str, Callable[[], float]] = {
            "one in a request, 1 connection": lambda: posted(port, one, few, 1),
            f"one in a request, {CONNECTIONS} connections": lambda: posted(
                port, one, few, CONNECTIONS
            ),
            f"{BATCH:,} in a request, 1 connection": lambda: (
                BATCH * posted(port, batch, batches, 1)
            ),
            "App.enqueue, without HTTP": lambda: directly(few),
        }
        for _ in range(how.runs):
            for name, rate in ways.items():
                rates.setdefault(name, []).append(rate())
        assert stage.processed() == 0
    table = Table(
        "submitting over HTTP",
        ("how", "jobs/s"),
        note=f"{how.runs} runs in turns; each request with an API key and an answer that says the id.",
        chart=Chart("how", "jobs/s"),
    )
    for name, found in rates.items():
        table.add(name, Spread.of(found))
    return Answer([table], [])


@contextmanager
def service() -> Iterator[int]:
    """`taskrunner api` as users run it, but for the limit on requests; its port."""
    command = [sys.executable, "-m", "taskrunner", "api", TARGET, "--port", "0"]
    environ = {**os.environ, "TASKRUNNER_REQUEST_RATE": "1000000"}
    with tempfile.NamedTemporaryFile("w") as said:
        # To a file and not to a pipe: it writes a line of its audit for each request.
        running = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=said, text=True)
        try:
            yield eventually(lambda: _port(running, Path(said.name)), timeout=30)
        finally:
            running.terminate()
            running.wait()


def _port(running: subprocess.Popen[str], said: Path) -> int:
    """Where it listens; 0: it has not said so yet."""
    has_ended = running.poll() is not None
    text = said.read_text()
    if has_ended:
        raise RuntimeError(text)
    found = re.search(r"listening on http://\S+:(\d+)", text)
    return 0 if found is None else int(found[1])


def request(path: str, body: object, key: str) -> bytes:
    """A whole request."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def posted(port: int, content: bytes, count: int, connections: int) -> float:
    """Requests a second, each sent when the one before it on its connection was answered."""
    return asyncio.run(_posted(port, content, count, connections))


async def _posted(port: int, content: bytes, count: int, connections: int) -> float:
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    share = max(1, count // connections)
    began = perf_counter()
    await asyncio.gather(*(_post(*line, content, share) for line in lines))
    took = perf_counter() - began
    for _, writer in lines:
        writer.close()
        await writer.wait_closed()
    return share * connections / took


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes, count: int
) -> None:
    for _ in range(count):
        writer.write(content)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 202", b"HTTP/1.1 200")):
            raise RuntimeError(head.decode("latin-1"))
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        await reader.readexactly(int(length[1]))


def directly(count: int) -> float:
    began = perf_counter()
    for _ in range(count):
        empty.enqueue()
    return count / (perf_counter() - began)


if __name__ == "__main__":
    main(ask)
