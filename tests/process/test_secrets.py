"""Passwords and keys are shown nowhere: a real run, and a search through all that can be seen of it."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskrunner import App, State
from taskrunner.cli.exits import Exit
from taskrunner.cli.program import execute
from taskrunner.crypto import Key
from taskrunner.states import FINISHED
from taskrunner.testing.fleet import Fleet, Node
from taskrunner.testing.processes import descendants
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.api.conftest import Client
from tests.process.apps import sealed
from tests.process.conftest import ROOT

TARGET = "tests.process.apps.sealed:app"
NAME = "tests.process.apps.sealed."
WAIT = 30


class Secrets:
    """One of each kind, and every way in which somebody might print it."""

    def __init__(self) -> None:
        self.password = uuid4().hex
        self.keys = Key.new("encrypts"), Key.new("signs")
        self.service = uuid4().hex * 2

    @property
    def shapes(self) -> Mapping[str, str]:
        texts = [key.text.partition(":")[2] for key in self.keys]
        raw = [key.secret.hex() for key in self.keys]
        shown = [repr(key.secret)[2:-1] for key in self.keys]
        return dict.fromkeys((*texts, *raw, *shown), "a key") | {
            self.password: "the broker's password",
            self.service: "the secret of the service",
        }

    def found_in(self, text: str | bytes) -> list[str]:
        data = text if isinstance(text, bytes) else text.encode()
        return [what for shape, what in self.shapes.items() if shape.encode() in data]


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def fleet(secrets: Secrets, tmp_path: Path) -> Iterator[Fleet]:
    encrypts, signs = secrets.keys
    environ = {
        "TASKRUNNER_ENCRYPTION_KEYS": encrypts.text,
        "TASKRUNNER_SIGNING_KEYS": signs.text,
        "TASKRUNNER_API_KEY_SECRET": secrets.service,
    }
    with (
        RedisServer(password=secrets.password) as server,
        Fleet(TARGET, broker=server.url, folder=tmp_path, root=ROOT, environ=environ) as fleet,
    ):
        environ["TASKRUNNER_TEST_NAMESPACE"] = fleet.namespace
        fleet._environ.update(environ)
        yield fleet


@pytest.fixture
def cli(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[str]], str]:
    """Everything that a command prints. In this process: each would take a second to start."""
    for name, value in fleet.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(ROOT))

    def run(words: Sequence[str]) -> str:
        capsys.readouterr()
        # Named, since the application may have been imported for another test.
        where = () if "--broker" in words else ("--namespace", fleet.namespace)
        assert execute([*words, *where]) != Exit.INTERNAL
        return "".join(capsys.readouterr())

    return run


def seen_of(pid: int) -> bytes:
    """What others can see of a process."""
    found = b""
    for name in ("cmdline", "environ"):
        found += Path(f"/proc/{pid}/{name}").read_bytes()
    return found


def answer_of(node: Node) -> str:
    """Everything that its health port says."""
    line = eventually(lambda: next((x for x in node.log.splitlines() if "/readyz" in x), ""))
    connection = HTTPConnection(line.partition("http://")[2].partition("/")[0])
    connection.request("GET", "/readyz?verbose")
    answer = connection.getresponse()
    with contextlib.closing(connection):
        return f"{answer.getheaders()} {answer.read().decode()}"


def seen_from_outside(node: Node) -> dict[str, str]:
    pids = (node.pid, *descendants(node.pid))
    found = {f"process {pid}": seen_of(pid).decode(errors="replace") for pid in pids}
    return {**found, "health port": answer_of(node)}


def client(fleet: Fleet, **settings: Any) -> App:
    """One that knows the tasks, and so what of their arguments is hidden."""
    app = fleet.app_with(**settings)
    for name, task in sealed.app.tasks.items():
        app.task(name=name, redact=("url",) if task.redact else ())(task.fn)
    return app


def answers_over_http(app: App, job_id: str) -> dict[str, str]:
    """What the service says to somebody who may ask everything."""
    client = Client(app)
    found = {}
    for path in (
        "/v1/nodes",
        "/v1/nodes/health",
        "/v1/stats",
        "/v1/queues",
        "/v1/jobs?data=true",
        f"/v1/jobs/{job_id}",
        "/metrics",
        "/readyz",
        "/v1/jobs/nobody",
    ):
        answer = client.get(path)
        assert answer.status_code in (200, 404), (path, answer.text)
        found[path] = f"{answer.headers} {answer.text}"
    return found


def commands(job_id: str, password: str) -> list[tuple[str, ...]]:
    """What an operator may type."""
    return [
        ("check", TARGET),
        ("check", TARGET, "--json", "--ping"),
        ("nodes", "--json"),
        ("queues", "--json"),
        ("health", "--json"),
        ("doctor", "--json"),
        ("status", job_id, "--json"),
        ("queues", "--broker", f"redis://:{password}@127.0.0.1:1/0"),
        ("queues", "--broker", f"redis://:{password}@127.0.0.1:x/0"),
        ("enqueue", TARGET, NAME + "echo", '"x"', "--wait", "--wait-timeout", str(WAIT)),
    ]


def _has_dumped(node: Node) -> bool:
    return "to settle" in node.log


@pytest.mark.needs_redis
@pytest.mark.timeout(120)
def test_a_run_shows_no_secret(
    fleet: Fleet, secrets: Secrets, cli: Callable[[Sequence[str]], str]
) -> None:
    options = ("--processes", "1", "--log-level", "debug", "--health-port", "0")
    for form in ("text", "json"):
        # On the command line, too: a title hides it as soon as there is one.
        fleet.start(*options, "--log-format", form, "--broker", fleet.url)
    keys = [key.text for key in secrets.keys]
    app = client(fleet, encryption_keys=keys[:1], signing_keys=keys[1:])
    seen = app.enqueue(NAME + "look_around").result(timeout=WAIT)
    assert (seen["imported"], seen["other app"]) == (True, True)
    knocked = app.enqueue(NAME + "knock", args=(f"redis://:{secrets.password}@127.0.0.1:1/0",))
    died = app.enqueue(NAME + "die", args=("x",), retries=0)
    eventually(lambda: knocked.state() in FINISHED and died.info().crashes)
    eventually(lambda: len(app.broker.nodes()) == 2)
    shown = {"a task": repr(seen), "the App": repr(app.config) + repr(app) + repr(app.broker)}
    assert knocked.state() is State.FAILED
    shown["an error"] = repr(knocked.info().errors)
    shown["a death"] = repr(died.info().errors)
    shown |= answers_over_http(app, died.id)
    for number, node in enumerate(fleet.nodes):
        shown |= {
            f"{what} of node {number}": text for what, text in seen_from_outside(node).items()
        }
        os.kill(node.pid, signal.SIGUSR1)
    for words in commands(died.id, secrets.password):
        shown[" ".join(words)] = cli(words)
    for number, node in enumerate(fleet.nodes):
        eventually(functools.partial(_has_dumped, node))
        assert node.stop() == 0
        shown[f"log {number}"] = fleet.log(number)
    assert {
        where: found for where, text in shown.items() if (found := secrets.found_in(text))
    } == {}


@pytest.mark.needs_redis
def test_the_search_finds_what_is_there(fleet: Fleet, secrets: Secrets) -> None:
    """Of the very things that are looked for above."""
    assert len(secrets.found_in(repr(fleet.environ))) == 4
    with subprocess.Popen(["sleep", "60"], env=fleet.environ) as process:
        eventually(lambda: b"sleep" in seen_of(process.pid))
        assert len(secrets.found_in(seen_of(process.pid))) == 4
        process.kill()
