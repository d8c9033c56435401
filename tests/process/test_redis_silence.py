"""A node whose connections die without a word: no end, no reset, nothing arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, lines

NAME = "tests.process.apps.basic."
TIMEOUT = 2
"""Seconds of silence after which a connection counts as dead; the default is 15."""


def test_a_node_resumes_and_keeps_what_it_runs(redis_server: RedisServer, tmp_path: Path) -> None:
    """Every connection of the node dies, those on which it fetches, settles, beats and waits. Within
    some seconds it works again, and what it ran meanwhile counts. It never looks without a bell, so
    it must notice by itself that none can arrive."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    with Proxy(redis_server.url) as proxy:
        url = f"{proxy.url}?socket_timeout={TIMEOUT}"
        with Fleet(url, "silence", tmp_path) as fleet:
            node = fleet.start("--processes", "1", "--lease", "6", TASKRUNNER_IDLE_LOOK_S="1000")
            client = Fleet(redis_server.url, "silence", tmp_path)  # not by way of the proxy
            app = client.app()

            def submit(task: str, *args: Any) -> Any:
                return app.enqueue(NAME + task, args=args)

            running = submit("block_then_append", str(out), "running", str(gate))
            eventually(lambda: lines(out) == ["started running"], timeout=30)
            proxy.forget()
            gate.unlink()
            next_one = submit("append", str(out), "next")
            assert running.result(timeout=40) == "running"
            assert next_one.result(timeout=40) == "next"
            assert lines(out) == ["started running", "running", "next"]
            assert running.info().attempt == 1
            proxy.forget()  # and now that it idles
            assert submit("add", 1, 2).result(timeout=40) == 3
            assert node.poll() is None
            assert "Traceback" not in node.log
            app.close()
