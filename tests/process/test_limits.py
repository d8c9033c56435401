"""Limits over Redis, kept by several nodes at once, also while these are killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from taskrunner import App, State
from taskrunner.limits import Rate
from taskrunner.testing.fleet import Fleet
from taskrunner.testing.grants import GrantWatch, excess
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.apps.limited import RATE
from tests.process.conftest import ROOT, lines

NODE = ("--processes", "1", "--lease", "2")
TARGET = "tests.process.apps.limited:app"


@pytest.fixture
def fleet(redis_server: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(TARGET, broker=redis_server.url, folder=tmp_path, root=ROOT) as fleet:
        yield fleet


def count(path: Path) -> int:
    return len(lines(path))


def serves(app: App, nodes: int) -> bool:
    return len(app.broker.nodes()) >= nodes


@pytest.mark.timeout(120)
def test_four_nodes_together_start_no_more_than_a_rate_permits(fleet: Fleet) -> None:
    app, rate = fleet.app(), Rate.parse(RATE)
    for _ in range(4):
        fleet.start(*NODE)
    eventually(lambda: serves(app, 4), timeout=60)
    with GrantWatch(fleet.url, "task:quick") as watch:
        jobs = [app.enqueue("quick") for _ in range(150)]
        eventually(lambda: all(job.state() is State.SUCCEEDED for job in jobs[-5:]), timeout=60)
        eventually(lambda: app.broker.stats(["default"])[0].processed == 150, timeout=60)
    assert len(watch.times) == 150
    assert excess(watch.times, rate) <= 0.02
    # A second and a half is what it permits; ten times that is what looks every few seconds take.
    assert watch.times[-1] - watch.times[0] < 15.0


@pytest.mark.timeout(240)
def test_no_more_run_at_once_than_may_while_nodes_are_killed(fleet: Fleet, tmp_path: Path) -> None:
    app, random = fleet.app(), Random(7)
    nodes = [fleet.start("--processes", "2", "--lease", "2") for _ in range(3)]
    eventually(lambda: serves(app, 3), timeout=60)
    total = 120
    for number in range(total):
        app.enqueue("placed", (str(tmp_path), number, 0.03))
    for _ in range(2):
        seen = count(tmp_path / "done")
        eventually(lambda seen=seen: count(tmp_path / "done") > seen + 10, timeout=60)  # type: ignore[misc]
        victim = random.choice(nodes)
        nodes.remove(victim)
        victim.crash()
        nodes.append(fleet.start("--processes", "2", "--lease", "2"))
    eventually(lambda: len(set(lines(tmp_path / "done"))) == total, timeout=120)
    assert lines(tmp_path / "too-many") == []
    eventually(lambda: app.limits.get("default", task="placed").running == 0, timeout=30)


@pytest.mark.timeout(120)
def test_one_at_a_time_is_in_order_also_when_its_node_is_killed(
    fleet: Fleet, tmp_path: Path
) -> None:
    app = fleet.app()
    first = fleet.start("--processes", "2", "--lease", "2")
    eventually(lambda: serves(app, 1), timeout=60)
    for number in range(30):
        for key in "ab":
            # By name, from a program without the code: the key is text.
            app.enqueue("in_order", (str(tmp_path), key, number), running_key=key)
    eventually(lambda: count(tmp_path / "order-a") > 5, timeout=60)
    fleet.start("--processes", "2", "--lease", "2")
    first.crash()
    for key in "ab":
        eventually(lambda key=key: len(set(lines(tmp_path / f"order-{key}"))) == 30, timeout=60)  # type: ignore[misc]
        found = list(map(int, lines(tmp_path / f"order-{key}")))
        # The one that ran when its node was killed may stand there twice.
        assert found == sorted(found)


def test_a_pause_stops_all_nodes_and_keeps_the_jobs(fleet: Fleet) -> None:
    app = fleet.app()
    for _ in range(2):
        fleet.start(*NODE)
    eventually(lambda: serves(app, 2), timeout=60)
    app.enqueue("free").result(timeout=30)
    app.limits.pause("default")
    jobs = [app.enqueue("free") for _ in range(5)]
    app.limits.pause("default", task="quick")
    held = app.enqueue("quick")
    app.limits.resume("default")
    for job in jobs:
        job.result(timeout=30)
    eventually(lambda: held.state() is State.WAITING, timeout=30)
    app.limits.resume("default", task="quick")
    held.result(timeout=30)


def test_a_limit_that_is_lifted_lets_those_go_that_wait(fleet: Fleet) -> None:
    app = fleet.app()
    fleet.start(*NODE)
    eventually(lambda: serves(app, 1), timeout=60)
    app.limits.set("default", task="quick", rate="1/h")
    jobs = [app.enqueue("quick") for _ in range(20)]
    jobs[0].result(timeout=30)
    eventually(lambda: jobs[-1].state() is State.WAITING, timeout=30)
    app.limits.set("default", task="quick", rate="none")
    for job in jobs:
        job.result(timeout=30)
