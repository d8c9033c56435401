"""What is known of a process that was killed or died is kept with the job that it ran."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from taskrunner import App, ErrorInfo, Job, State
from taskrunner.testing.waiting import eventually
from tests.process.apps import hazards
from tests.process.conftest import Fleet, children_of, lines

HAZARDS = "tests.process.apps.hazards:app"


@pytest.fixture
def app(fleet: Fleet) -> App:
    return hazards.client(fleet.url, fleet.namespace)


def error_of(job: Job[object]) -> ErrorInfo:
    error = job.info().error
    assert error is not None
    return error


def test_of_a_process_that_dies_its_signal_its_memory_and_its_last_lines_are_kept(
    fleet: Fleet, app: App
) -> None:
    before = app.enqueue("peace", args=("long ago",))
    shot = app.enqueue("shoot", args=("before the shot",))
    fell = app.enqueue("segfault", args=("before the fall",))
    fleet.start("--processes", "1", TASKRUNNER_MAX_CRASHES="1", target=HAZARDS)
    eventually(lambda: all(job.info().finished_at for job in (shot, fell)), timeout=40)
    assert before.state() is State.SUCCEEDED
    for job, name, said in ((shot, "SIGKILL", "the shot"), (fell, "SIGSEGV", "the fall")):
        error = error_of(job)
        assert (error.type, job.info().reason) == ("crashed", "crashed")
        assert name in error.message
        assert "memory had peaked at" in error.message
        assert f"WARNING shop: logged before {said}" in error.traceback
        assert f"printed before {said}" in error.traceback
        assert "long ago" not in error.traceback, "that was another job's"
        assert error.at > 0
    assert "Segmentation fault" in error_of(fell).traceback
    assert "in segfault" in error_of(fell).traceback
    assert "in segfault" in fleet.log(), "the stacks are in the log too"
    assert f"not retried [segfault {fell.id}]" in fleet.log()
    assert "printed before the fall" in fleet.log(), "and standard error goes where it went"


@pytest.mark.parametrize("task", ["hang", "nap"])
def test_before_a_kill_for_a_limit_or_a_cancel_the_stacks_are_kept(
    fleet: Fleet, app: App, tmp_path: Path, task: str
) -> None:
    out = tmp_path / "out"
    late = app.enqueue(task, args=(str(out), "late"), timeout=0.5, retries=0)
    unwanted = app.enqueue(task, args=(str(out), "unwanted"))
    fleet.start("--processes", "2", "--grace", "0.3", target=HAZARDS)
    eventually(lambda: len(lines(out)) == 2, timeout=30)
    assert unwanted.cancel()
    eventually(lambda: all(job.info().finished_at for job in (late, unwanted)), timeout=40)
    assert (late.info().state, late.info().reason) == (State.FAILED, "timeout")
    assert unwanted.info().state is State.CANCELLED
    for job, text in ((late, "late"), (unwanted, "unwanted")):
        error = error_of(job)
        assert f"in {task}" in error.traceback
        assert f"logged {text}" in error.traceback
        assert "process was killed" in error.message


def test_what_outstays_the_shutdown_leaves_its_stacks_a_stopped_process_too(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    jobs = [app.enqueue("nap", args=(str(out), str(n))) for n in range(2)]
    node = fleet.start("--processes", "2", "--shutdown-timeout", "0.3", target=HAZARDS)
    eventually(lambda: len(lines(out)) == 2, timeout=30)
    os.kill(children_of(node.pid)[0], signal.SIGSTOP)
    node.terminate()
    assert node.wait(timeout=30) == 0
    for job in jobs:
        info = job.info()
        assert (info.state, info.crashes, info.suspect) == (State.PENDING, 0, False)
        error = error_of(job)
        assert error.type == "stopped"
        assert "did not end within 0.3 s" in error.message
        assert "in nap" in error.traceback
