"""Jobs that come with a bell, on real nodes: whatever becomes of the bell, the job runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, Job, State
from taskrunner.brokers.base import JobKey
from taskrunner.testing.fleet import Node
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, lines

NAME = "tests.process.apps.basic."
ASIDE_S = 1000.0
"""No node looks by itself in the time of a test."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Of this test alone, whose connections it may end."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def alone(server: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(server.url, "handover", tmp_path) as fleet:
        yield fleet


def submit(app: App, task: str, *args: Any) -> Job[Any]:
    return app.enqueue(NAME + task, args=args)


def idle(fleet: Fleet, *options: str) -> tuple[App, Node]:
    """A client, and a node that waits for a bell."""
    node = fleet.start("--processes", "1", *options, TASKRUNNER_IDLE_LOOK_S=str(ASIDE_S))
    app = fleet.app()
    assert submit(app, "add", 1, 2).result(timeout=30) == 3
    holds_out_its_hands(fleet, app)
    return app, node


def asked(app: App, *command: Any) -> Any:
    """What the server answers."""
    (answer,) = app.broker._calls.ask([command])  # type: ignore[attr-defined]
    return answer


def holds_out_its_hands(fleet: Fleet, app: App) -> None:
    key = f"{{{fleet.namespace}:default}}:idle"
    eventually(lambda: asked(app, "SCARD", key) == 1, timeout=20)


def handed(app: App, out: Path) -> Job[Any]:
    """A job that the store has given to a node that is stopped."""
    job = submit(app, "append", str(out), "ran")
    assert job.state() is State.ACTIVE
    assert lines(out) == []
    return job


def test_a_job_alone_is_never_fetched(alone: Fleet) -> None:
    app, node = idle(alone)
    for n in range(5):
        holds_out_its_hands(alone, app)
        node.pause()
        job = submit(app, "add", n, n)
        assert job.state() is State.ACTIVE
        node.resume()
        assert job.result(timeout=20) == 2 * n
        assert (job.info().attempt, job.info().crashes) == (1, 0)


def test_a_lost_bell_costs_seconds_and_no_job(server: RedisServer, tmp_path: Path) -> None:
    """It is on its way when the connections of the node are reset."""
    out = tmp_path / "out"
    with Proxy(server.url) as proxy, Fleet(proxy.url, "handover", tmp_path) as fleet:
        client = Fleet(server.url, "handover", tmp_path)  # not by way of the proxy
        fleet.start("--processes", "1", TASKRUNNER_IDLE_LOOK_S=str(ASIDE_S))
        app = client.app()
        assert submit(app, "add", 1, 2).result(timeout=30) == 3
        holds_out_its_hands(fleet, app)
        proxy.silence()
        job = handed(app, out)
        proxy.cut()
        proxy.heal()
        assert job.result(timeout=30) == "ran"
        assert lines(out) == ["ran"]
        record = app.broker.get([JobKey("default", job.id)])[0]
        assert record is not None
        assert (record.attempts, record.losses) == (1, 0)
        app.close()


def test_a_node_that_is_killed_before_it_hears_it(alone: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    app, node = idle(alone, "--lease", "3")
    node.pause()
    job = handed(app, out)
    node.crash()
    alone.start("--processes", "1", "--lease", "3")
    assert job.result(timeout=40) == "ran"
    assert lines(out) == ["ran"]


def test_a_node_that_stops_before_it_hears_it(alone: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    app, node = idle(alone)
    node.pause()
    job = handed(app, out)
    node.terminate()
    node.resume()
    assert node.wait(30) == 0
    # Whichever it heard first, the bell or the signal.
    assert job.state() in (State.PENDING, State.SUCCEEDED)
    alone.start("--processes", "1")
    assert job.result(timeout=40) == "ran"
    assert lines(out) == ["ran"]
    record = app.broker.get([JobKey("default", job.id)])[0]
    assert record is not None
    assert record.losses == 0


def test_a_node_that_is_busy_does_not_keep_it(alone: Fleet, tmp_path: Path) -> None:
    """Its only slot runs a job of another queue; who has room gets the job at once."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    app, _ = idle(alone)
    app.enqueue(NAME + "block_then_append", args=(str(out), "slow", str(gate)), queue="other")
    eventually(lambda: lines(out) == ["started slow"], timeout=20)
    job = submit(app, "append", str(out), "quick")
    eventually(lambda: job.state() is State.PENDING, timeout=10)
    alone.start("--processes", "1")
    assert job.result(timeout=20) == "quick"
    gate.unlink()
    eventually(lambda: "slow" in lines(out), timeout=20)
