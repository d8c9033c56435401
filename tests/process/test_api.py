"""`taskrunner api` as a process of its own, asked over the network."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from taskrunner.cli.exits import Exit
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.api.serving import ask
from tests.process.test_command_line import Start, ended, start

__all__ = ["start"]
pytestmark = pytest.mark.needs_redis


class Service:
    """A service, and commands for the same store."""

    def __init__(self, start: Start, url: str) -> None:
        self._start = start
        self.environ = {
            "TASKRUNNER_BROKER": url,
            "TASKRUNNER_NAMESPACE": f"t{uuid.uuid4().hex[:8]}",
        }
        self.process: subprocess.Popen[str] | None = None

    def run(self, *words: str) -> int:
        """Start it; the port."""
        self.process = self._start("api", "shop:app", "--port", "0", *words, **self.environ)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"listening on https?://\S+:(\d+)", line)
        assert found, line + self.process.stderr.read()
        return int(found[1])

    def cli(self, *words: str) -> Any:
        code, out, err = ended(self._start(*words, "--json", **self.environ))
        assert code == Exit.OK, err
        return json.loads(out)


@pytest.fixture
def service(start: Start, redis_server: RedisServer) -> Service:
    return Service(start, redis_server.url)


def test_a_whole_visit(service: Service) -> None:
    made = service.cli("keys", "create", "shop:app", "--scope", "admin", "--name", "me")
    bearer = {"authorization": f"Bearer {made['key']}"}
    port = service.run("--audit-file", "audit.jsonl")
    assert ask(port, "GET", "/v1/stats").status == 401
    job = ask(port, "POST", "/v1/jobs", body={"task": "shop.add", "args": [1]}, headers=bearer)
    assert job.status == 202, job.body
    path = f"/v1/jobs/{job.json['id']}"
    assert ask(port, "GET", path, headers=bearer).json["state"] == "pending"
    assert ask(port, "POST", f"{path}/cancel", headers=bearer).status == 200
    told = "/v1/audit"
    eventually(lambda: len(ask(port, "GET", told, headers=bearer).json["entries"]) == 2, timeout=20)
    assert [one["action"] for one in service.cli("audit", "shop:app")] == ["cancel", "submit"]
    service.cli("keys", "revoke", "shop:app", made["id"], "--yes")
    eventually(lambda: ask(port, "GET", path, headers=bearer).status == 401, timeout=20)
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)
    code, _, err = ended(service.process)
    assert (code, "Traceback" in err) == (Exit.OK, False), err
    assert made["key"] not in err


def test_nobody_sees_what_it_was_told(start: Start, redis_server: RedisServer) -> None:
    secret = "hunter2-marker" * 3
    words = ("api", "shop:app", "--port", "0", "--namespace", "hunter2-marker")
    process = start(*words, TASKRUNNER_BROKER=redis_server.url, TASKRUNNER_API_KEY_SECRET=secret)
    assert process.stderr is not None
    assert "listening" in process.stderr.readline()
    for what in ("cmdline", "environ"):
        assert b"hunter2" not in Path(f"/proc/{process.pid}/{what}").read_bytes()


def test_without_a_key_it_says_that_nobody_will_be_let_in(service: Service) -> None:
    service.run()
    assert service.process is not None
    assert service.process.stderr is not None
    assert "there is no API key yet" in service.process.stderr.readline()
