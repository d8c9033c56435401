"""A node that serves queues on three servers of a cluster, run as users run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from redis.crc import key_slot

from taskrunner import App, State
from taskrunner.testing.redis_cluster import RedisCluster
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, lines

NAME = "tests.process.apps.basic."
LEASE = 1.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(appendonly=True) as cluster:
        yield cluster


@pytest.fixture
def fleet(cluster: RedisCluster, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(cluster.url, f"t{uuid4().hex[:8]}", tmp_path) as fleet:
        yield fleet


def submit(app: App, task: str, *args: Any, **options: Any) -> Any:
    return app.enqueue(NAME + task, args=args, **options)


@pytest.mark.timeout(120)
def test_a_server_that_falls_takes_only_its_own_queues_with_it(
    cluster: RedisCluster, fleet: Fleet, tmp_path: Path
) -> None:
    """It is killed while a job of its queue runs, and is away for more than a lease, the directory
    of queues and nodes with it. The other queues go on; when it is back the job settles, under the
    token that it had."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    queues = cluster.queues_by_owner(namespace=fleet.namespace)
    fallen = cluster.of_slot(key_slot(fleet.namespace.encode()))
    lost = queues.pop(cluster.nodes.index(fallen))
    node = fleet.start("--processes", "2", "--lease", str(LEASE))
    app = fleet.app()
    for queue in (lost, *queues.values()):
        jobs = [submit(app, "add", n, 1, queue=queue) for n in range(20)]
        assert [job.result(timeout=40) for job in jobs] == list(range(1, 21))
    running = submit(app, "block_then_append", str(out), "running", str(gate), queue=lost)
    eventually(lambda: lines(out) == ["started running"], timeout=20)

    fallen.kill()
    newcomer = fleet.app()  # knows of nothing that this one has written down
    until = monotonic() + 2 * LEASE
    while monotonic() < until:
        for client in (app, newcomer):
            jobs = [submit(client, "add", 1, 1, queue=queue) for queue in queues.values()]
            assert [job.result(timeout=20) for job in jobs] == [2, 2]
    gate.unlink()
    eventually(lambda: "running" in lines(out), timeout=20)
    fallen.start()
    cluster.wait_until_ok()
    assert running.result(timeout=40) == "running"
    assert running.info().attempt == 1
    assert submit(app, "add", 2, 1, queue=lost).result(timeout=40) == 3
    assert lines(out).count("running") == 1
    assert (node.poll(), "Traceback" in node.log) == (None, False)
    told = [line for line in node.log.splitlines() if lost in line and "started" not in line]
    assert len(told) == 2, "that it is away, and that it is back"
    assert "is away, trying again" not in node.log
    newcomer.close()
    app.close()


@pytest.mark.timeout(120)
def test_jobs_flow_while_their_slot_moves(cluster: RedisCluster, fleet: Fleet) -> None:
    fleet.start("--processes", "2", "--lease", str(LEASE))
    app = fleet.app()
    jobs = []
    for _ in range(2):
        to = cluster.nodes[cluster.nodes.index(cluster.owner("q", namespace=fleet.namespace)) - 1]
        jobs += [submit(app, "add", n, 1, queue="q") for n in range(100)]
        with cluster.moving("q", to, namespace=fleet.namespace) as move:
            move.some_keys(50)
        jobs += [submit(app, "add", n, 1, queue="q") for n in range(100)]
    assert [job.result(timeout=40) for job in jobs] == [n + 1 for n in range(100)] * 4
    (stats,) = app.broker.stats(["q"])
    assert {state: n for state, n in stats.counts.items() if n} == {State.SUCCEEDED: 400}
    app.close()
