"""A node under Sentinel, whose master dies with jobs in flight and writes that nobody else has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, State
from taskrunner.testing.redis_sentinel import RedisSentinel
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, lines

NAME = "tests.process.apps.basic."


def submit(app: App, task: str, *args: Any, **options: Any) -> Any:
    return app.enqueue(NAME + task, args=args, **options)


@pytest.mark.timeout(120)
def test_a_failover_strands_nothing(tmp_path: Path) -> None:
    """One job runs all the while. One is settled where only the dead master knew of it: it runs
    again. What waits runs on the new master."""
    out, gate, long_gate = tmp_path / "out", tmp_path / "gate", tmp_path / "long gate"
    gate.touch()
    long_gate.touch()
    with RedisSentinel(appendonly=True) as store, Fleet(store.url, "failover", tmp_path) as fleet:
        node = fleet.start("--processes", "2", "--lease", "5")
        app = fleet.app()
        forgotten = submit(app, "block_then_append", str(out), "forgotten", str(gate))
        running = submit(app, "block_then_append", str(out), "running", str(long_gate))
        waiting = [submit(app, "add", n, 1) for n in range(50)]
        eventually(lambda: len(lines(out)) == 2, timeout=40)
        with store.master.client() as master:
            master.set("after", "all this")
            assert master.wait(1, 10_000) == 1
        # The replica misses the settle, and comes back while its master cannot tell it any more.
        store.replica.kill()
        gate.unlink()
        assert forgotten.result(timeout=20) == "forgotten"
        store.master.pause()
        store.replica.start()
        store.master.kill()
        store.wait_for_master(store.replica)
        long_gate.unlink()
        assert running.result(timeout=40) == "running"
        assert running.info().attempt == 1
        assert [job.result(timeout=40) for job in waiting] == list(range(1, 51))
        eventually(lambda: forgotten.state() is State.SUCCEEDED, timeout=40)
        assert lines(out).count("forgotten") == 2
        assert lines(out).count("running") == 1
        assert submit(app, "add", 1, 2).result(timeout=40) == 3
        (stats,) = app.broker.stats(["default"])
        assert stats.counts[State.SUCCEEDED] == sum(stats.counts.values()) == 53
        assert node.poll() is None
        assert "Traceback" not in node.log
        app.close()
