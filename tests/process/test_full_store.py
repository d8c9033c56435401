"""A node on a Redis that is full: nothing more is taken in, and all that is there is worked off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, BrokerFull, State
from taskrunner.testing.processes import kill
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, lines

NAME = "tests.process.apps.basic."
PAYLOAD = "x" * 100_000


def submit(app: App, task: str, *args: Any, **options: Any) -> Any:
    return app.enqueue(NAME + task, args=args, **options)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def fill(server: RedisServer) -> None:
    """A megabyte over what it may hold, of the six that wait in it."""
    with server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000_000)


def has_room(app: App) -> bool:
    try:
        submit(app, "add", 1, 1)
    except BrokerFull:
        return False
    return True


@pytest.mark.timeout(120)
def test_a_full_store_refuses_jobs_and_is_worked_off(server: RedisServer, tmp_path: Path) -> None:
    """While it is full a node joins, fetches and settles, a retry and a delayed job fall due, a node
    is lost and what it held is taken back, and records go; then there is room again."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    with Fleet(server.url, "full", tmp_path) as fleet:
        lost = fleet.start("--processes", "1", "--lease", "1")
        app = fleet.app()
        held = submit(app, "block_then_append", str(out), "held", str(gate))
        eventually(lambda: lines(out) == ["started held"], timeout=20)
        delayed = submit(app, "append", str(out), "delayed", delay=1.0)
        retried = submit(app, "again", str(out))
        bulk = [submit(app, "append", str(out), PAYLOAD, retention=0) for _ in range(60)]
        fill(server)
        with pytest.raises(BrokerFull):
            submit(app, "append", str(out), "refused")
        with pytest.raises(BrokerFull):
            app.enqueue_many([app.tasks[NAME + "append"].message(str(out), "refused")])

        kill(lost.pid)
        gate.unlink()
        node = fleet.start("--processes", "2", "--lease", "1")
        assert held.result(timeout=40) == "held"
        assert retried.result(timeout=40) == 3
        assert delayed.result(timeout=40) == "delayed"
        eventually(lambda: lines(out).count(PAYLOAD) == len(bulk), timeout=40)
        eventually(lambda: has_room(app), timeout=40)
        assert held.info().state is State.SUCCEEDED
        assert "refused" not in lines(out)
        assert node.poll() is None
        assert "Traceback" not in node.log
        assert "away" not in node.log
        app.close()
