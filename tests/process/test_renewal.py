"""Processes that have run many jobs, or grown large, make room for fresh ones."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from taskrunner import App, State
from taskrunner.testing.waiting import eventually
from tests.process.apps import hazards
from tests.process.conftest import Fleet, children_of, lines

HAZARDS = "tests.process.apps.hazards:app"


@pytest.fixture
def app(fleet: Fleet) -> App:
    return hazards.client(fleet.url, fleet.namespace)


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}/fd/0")


def test_no_process_runs_more_jobs_than_it_may(fleet: Fleet, app: App) -> None:
    jobs = app.enqueue_many([hazards.work.message() for _ in range(300)])
    node = fleet.start("--processes", "2", "--max-jobs", "25", target=HAZARDS)
    ran = Counter(job.result(timeout=50) for job in jobs)
    assert sum(ran.values()) == 300
    assert max(ran.values()) <= 25
    assert len(ran) >= 12
    eventually(lambda: len(children_of(node.pid)) == 2, timeout=20)
    assert all(job.info().attempt == 1 for job in jobs[:20])
    assert fleet.log().count("is replaced: it has been given 25 jobs") >= 10


def test_a_long_last_job_keeps_its_place_while_its_successor_stands_by(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    long = app.enqueue("linger", args=(str(out), "long", str(gate)))
    node = fleet.start("--processes", "1", "--max-jobs", "1", target=HAZARDS)
    eventually(lambda: lines(out) == ["started long"], timeout=30)
    eventually(lambda: len(children_of(node.pid)) == 2, timeout=20)
    following = app.enqueue("linger", args=(str(out), "next", ""))
    asks = app.enqueue("ask", args=(str(out), ""))
    gate.unlink()
    assert following.result(timeout=30) == "next"
    assert lines(out)[:3] == ["started long", "ended long", "started next"]
    assert long.state() is State.SUCCEEDED
    assert asks.result(timeout=30) == "sub", "it gives its place to the job it waits for"
    eventually(lambda: len(children_of(node.pid)) == 1, timeout=20)


def test_a_death_beside_its_successor_leaves_one_process_not_two(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    job = app.enqueue("linger", args=(str(out), "x", str(gate)))
    node = fleet.start("--processes", "1", "--max-jobs", "1", target=HAZARDS)
    eventually(lambda: len(children_of(node.pid)) == 2 and job.info().pid, timeout=30)
    old = job.info().pid
    assert old is not None
    os.kill(old, signal.SIGKILL)
    eventually(lambda: lines(out) == ["started x"] * 2, timeout=30)
    gate.unlink()
    assert job.result(timeout=30) == "x"
    assert job.info().crashes == 1
    eventually(lambda: len(children_of(node.pid)) == 1, timeout=20)


def test_a_process_that_has_grown_is_replaced_when_its_job_has_ended(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    grows = app.enqueue("grow", args=(str(out), 120, str(gate)))
    node = fleet.start("--processes", "1", "--max-memory", "100MiB", target=HAZARDS)
    eventually(lambda: len(lines(out)) == 1, timeout=30)
    old = int(lines(out)[0].split()[1])
    eventually(lambda: len(children_of(node.pid)) == 2, timeout=20)
    assert grows.state() is State.ACTIVE
    gate.unlink()
    assert grows.result(timeout=20) == old
    eventually(lambda: is_gone(old), timeout=20)
    assert app.enqueue("work").result(timeout=20) != old
    eventually(lambda: len(children_of(node.pid)) == 1, timeout=20)
    assert (grows.info().crashes, grows.info().attempt) == (0, 1)
    assert "MiB of memory" in fleet.log()
    assert "ChildDied" not in fleet.log()


def test_a_limit_that_no_process_can_keep_to_is_said_and_everything_runs(
    fleet: Fleet, app: App
) -> None:
    fleet.start("--processes", "1", "--max-memory", "2MiB", target=HAZARDS)
    assert app.enqueue("work").result(timeout=30)
    eventually(lambda: "no child can keep to that" in fleet.log(), timeout=30)
    assert app.enqueue("work").result(timeout=30)
