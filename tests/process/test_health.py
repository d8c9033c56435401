"""Children that say nothing: one that is stopped, one that hangs, those that compute."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, State
from taskrunner.testing.waiting import eventually
from tests.process.apps import hazards
from tests.process.conftest import Fleet, children_of, fork_server_of, lines

HAZARDS = "tests.process.apps.hazards:app"
IMPATIENT: dict[str, Any] = {
    "TASKRUNNER_SILENCE_STOPPED_S": "3",
    "TASKRUNNER_SILENCE_BLOCKED_S": "3",
    "TASKRUNNER_SILENCE_BUSY_S": "5",
}


@pytest.fixture
def app(fleet: Fleet) -> App:
    return hazards.client(fleet.url, fleet.namespace)


def test_each_silent_child_is_judged_by_what_it_does(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    hangs = app.enqueue("hang", args=(str(out), "hangs"))
    burns = app.enqueue("burn", args=(str(out), "burns"))
    limited = app.enqueue("burn", args=(str(out), "limited"), timeout=9)
    stopped = app.enqueue("nap", args=(str(out), "stopped"))
    computes = app.enqueue("compute", args=(str(out), "computes", 6.0))
    jobs = [hangs, burns, limited, stopped]
    fleet.start(
        *("--processes", "5", "--grace", "0.2", "--prefetch", "0"),
        target=HAZARDS,
        TASKRUNNER_MAX_CRASHES="1",
        **IMPATIENT,
    )
    eventually(lambda: len(lines(out)) == 5, timeout=40)
    eventually(lambda: stopped.info().pid is not None, timeout=20)
    pid = stopped.info().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: all(job.info().finished_at for job in jobs), timeout=50)
    for job, says, stack in (
        (hangs, "and used no processor", "in hang"),
        (burns, "and computed", "in burn"),
        (stopped, "stopped by a signal", "in nap"),
    ):
        info = job.info()
        assert (info.state, info.reason, info.crashes) == (State.FAILED, "crashed", 1)
        assert info.error is not None
        assert "was killed: " in info.error.message
        assert says in info.error.message
        assert stack in info.error.traceback
    assert limited.info().reason == "timeout", "its own time limit was waited for"
    assert computes.result(timeout=40) == "computes", "it gives way to its listener now and then"


def test_of_several_in_a_silent_child_each_is_a_suspect(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    hangs = app.enqueue("hang", args=(str(out), "hangs"))
    other = app.enqueue("linger", args=(str(out), "other", str(gate)))
    fleet.start(
        *("--processes", "1", "--concurrency", "2"),
        target=HAZARDS,
        TASKRUNNER_MAX_CRASHES="1",
        **IMPATIENT,
    )
    eventually(lambda: len(lines(out)) == 2, timeout=40)
    eventually(lambda: other.info().suspect, timeout=30)
    gate.unlink()
    assert other.result(timeout=40) == "other"
    eventually(lambda: hangs.state() is State.FAILED, timeout=30)
    assert (hangs.info().crashes, other.info().crashes) == (1, 0)


def test_a_stopped_fork_server_is_replaced_when_it_is_needed(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    late = app.enqueue("nap", args=(str(out), "late"), timeout=1, retries=0)
    node = fleet.start("--processes", "1", "--grace", "0.2", target=HAZARDS, **IMPATIENT)
    eventually(lambda: lines(out) == ["started late"], timeout=30)
    server = fork_server_of(node.pid)
    (child,) = children_of(node.pid)
    os.kill(server, signal.SIGSTOP)
    eventually(lambda: late.state() is State.FAILED, timeout=30)
    assert late.info().reason == "timeout"
    assert app.enqueue("peace", args=("again",)).result(timeout=40) == "again"
    assert fork_server_of(node.pid) != server
    assert not os.path.exists(f"/proc/{child}/fd/0")
