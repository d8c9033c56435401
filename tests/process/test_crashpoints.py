"""Somebody dies at every named point, with jobs in flight: nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskrunner import State
from taskrunner.crashpoints import POINTS
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, Fleet, lines

NAME = "tests.process.apps.basic."
COUNT = 60
IN_CLIENT = {"enqueue.before", "enqueue.after"}
WHILE_STOPPING = {"supervisor.stopping", "release.before", "release.after"}

SUBMIT = """
import sys
from tests.process.apps.basic import app
app.enqueue(sys.argv[1], args=(sys.argv[2], "client"), job_id="from-the-client")
"""


def submit(fleet: Fleet, out: Path) -> list[str]:
    app = fleet.app()
    append = app.tasks[NAME + "append"]
    messages = [append.message(str(out), str(n)) for n in range(COUNT)]
    messages += [append.options(delay=0.2).message(str(out), f"late {n}") for n in range(5)]
    return [job.id for job in app.enqueue_many(messages)]


@pytest.mark.parametrize("point", sorted(POINTS - IN_CLIENT - WHILE_STOPPING))
def test_a_death_at_any_point_loses_nothing(fleet: Fleet, tmp_path: Path, point: str) -> None:
    out, once = tmp_path / "out", tmp_path / "once"
    ids = submit(fleet, out)
    fleet.start(
        *("--processes", "2", "--lease", "3"),
        TASKRUNNER_TEST_CRASH=point,
        TASKRUNNER_TEST_CRASH_ONCE=str(once),
    )
    eventually(once.exists, timeout=20, message=f"nobody reached {point}")
    # The file is made just before the death: whoever dies, another node is there to go on.
    fleet.start("--processes", "1", "--lease", "3")
    app = fleet.app()
    eventually(
        lambda: all(app.job(i, queue="default").state() is State.SUCCEEDED for i in ids),
        timeout=40,
    )
    assert {line for line in lines(out) if line.isdigit()} == {str(n) for n in range(COUNT)}


@pytest.mark.parametrize("point", sorted(WHILE_STOPPING))
def test_a_death_while_stopping_loses_nothing(fleet: Fleet, tmp_path: Path, point: str) -> None:
    out, once, gate = tmp_path / "out", tmp_path / "once", tmp_path / "gate"
    gate.touch()
    app = fleet.app()
    first = app.enqueue(NAME + "block_then_append", args=(str(out), "first", str(gate)))
    ids = [first.id, *submit(fleet, out)]
    node = fleet.start(
        *("--processes", "1", "--prefetch", "100"),
        TASKRUNNER_TEST_CRASH=point,
        TASKRUNNER_TEST_CRASH_ONCE=str(once),
    )
    eventually(lambda: "started first" in lines(out), timeout=20)
    node.terminate()
    assert node.wait(timeout=20) == -9
    gate.unlink()
    fleet.start("--processes", "1")
    eventually(
        lambda: all(app.job(i, queue="default").state() is State.SUCCEEDED for i in ids),
        timeout=40,
    )
    assert {line for line in lines(out) if line.isdigit()} == {str(n) for n in range(COUNT)}


@pytest.mark.parametrize(("point", "stored"), [("enqueue.before", False), ("enqueue.after", True)])
def test_a_client_that_dies_has_submitted_or_not(
    fleet: Fleet, tmp_path: Path, point: str, stored: bool
) -> None:
    out = tmp_path / "out"
    died = subprocess.run(
        [sys.executable, "-c", SUBMIT, NAME + "append", str(out)],
        cwd=ROOT,
        env={**fleet.environ, "TASKRUNNER_TEST_CRASH": point},
    )
    assert died.returncode == -9
    fleet.start("--processes", "1")
    app = fleet.app()
    assert app.enqueue(NAME + "add", args=(1, 1)).result(timeout=20) == 2
    assert lines(out) == (["client"] if stored else [])
