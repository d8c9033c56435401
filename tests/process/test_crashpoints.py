"""Somebody dies at every named point, with jobs in flight: nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskrunner import State
from taskrunner.brokers.base import Broker, Mailbox
from taskrunner.crashpoints import BROKER_CALLS, MAILBOX_CALLS, POINTS
from taskrunner.testing.crash import CrashAt
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, Fleet, lines

NAME = "tests.process.apps.basic."
COUNT = 60
WHILE_STOPPING = {"supervisor.stopping", "release.before", "release.after"}
WHILE_RUNNING = {
    *("fetch.before", "fetch.after", "settle.before", "settle.after", "beat.before", "beat.after"),
    *("promote.before", "promote.after", "reap.before", "reap.after"),
    *(point for point in POINTS if point.startswith(("dispatch.", "collect.", "child."))),
    *("supervisor.starting", "forkserver.imported", "forkserver.forked"),
} - {"child.before_taken", "child.after_taken", "child.stopping"}

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


def test_every_call_of_a_broker_has_its_points() -> None:
    """A call that is new in `brokers/base.py` is listed in `taskrunner/crashpoints.py`."""
    calls = {name for base in Broker.__mro__ for name in vars(base) if not name.startswith("_")}
    no_calls = {"capabilities", "schemes", "close", "from_url", "register", "set_skew"}
    assert calls - no_calls == BROKER_CALLS
    assert set(Mailbox.__abstractmethods__) - {"wake", "close"} == MAILBOX_CALLS


@pytest.mark.parametrize("point", sorted(WHILE_RUNNING))
def test_a_death_at_any_point_loses_nothing(fleet: Fleet, tmp_path: Path, point: str) -> None:
    out, crash = tmp_path / "out", CrashAt(point, folder=tmp_path)
    ids = submit(fleet, out)
    fleet.start("--processes", "2", "--lease", "3", crash=crash)
    crash.wait()
    # Whoever died, another node is there to go on.
    fleet.start("--processes", "1", "--lease", "3")
    app = fleet.app()
    eventually(
        lambda: all(app.job(i, queue="default").state() is State.SUCCEEDED for i in ids),
        timeout=40,
    )
    assert {line for line in lines(out) if line.isdigit()} == {str(n) for n in range(COUNT)}


@pytest.mark.parametrize("point", sorted(WHILE_STOPPING))
def test_a_death_while_stopping_loses_nothing(fleet: Fleet, tmp_path: Path, point: str) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    app = fleet.app()
    first = app.enqueue(NAME + "block_then_append", args=(str(out), "first", str(gate)))
    ids = [first.id, *submit(fleet, out)]
    node = fleet.start(
        *("--processes", "1", "--prefetch", "100"), crash=CrashAt(point, folder=tmp_path)
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
