"""Processes are killed with work in their hands; what an outsider can see must add up."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

from taskrunner import State
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, children_of, descendants, fork_server_of, lines

COUNT = 300


def holding(fleet: Fleet, tmp_path: Path, *options: str) -> tuple[Path, Path, list[str]]:
    """A node of one child that runs one job, has COUNT behind it, and waits at the gate."""
    app = fleet.app()
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    first = app.enqueue(
        "tests.process.apps.basic.block_then_append", args=(str(out), "first", str(gate))
    )
    append = app.tasks["tests.process.apps.basic.append"]
    jobs = app.enqueue_many([append.message(str(out), str(n)) for n in range(COUNT)])
    assert all(job.accepted for job in jobs)
    fleet.start("--processes", "1", "--prefetch", str(COUNT), *options)
    eventually(lambda: "started first" in lines(out), timeout=20)
    return out, gate, [first.id, *(job.id for job in jobs)]


def finish(fleet: Fleet, ids: list[str], timeout: float = 30) -> None:
    app = fleet.app()

    def all_done() -> bool:
        return all(app.job(i, queue="default").state() is State.SUCCEEDED for i in ids)

    eventually(all_done, timeout=timeout)


def test_a_killed_childs_unstarted_jobs_run_exactly_once(fleet: Fleet, tmp_path: Path) -> None:
    out, gate, ids = holding(fleet, tmp_path)
    (child,) = children_of(fleet.nodes[0].pid)
    gate.unlink()
    os.kill(child, signal.SIGKILL)
    finish(fleet, ids)
    ran = Counter(line for line in lines(out) if line.isdigit())
    assert set(ran) == {str(n) for n in range(COUNT)}
    # What was running or unreported at the moment of death may run again, nothing else.
    assert sum(ran.values()) - COUNT <= COUNT


def test_work_behind_a_killed_job_is_unpenalised(fleet: Fleet, tmp_path: Path) -> None:
    out, gate, ids = holding(fleet, tmp_path)
    (child,) = children_of(fleet.nodes[0].pid)
    os.kill(child, signal.SIGKILL)  # the gate is shut: nothing behind the first has started
    eventually(lambda: not os.path.exists(f"/proc/{child}/fd/0"), timeout=10)
    gate.unlink()
    finish(fleet, ids)
    ran = Counter(line for line in lines(out) if line.isdigit())
    assert ran == {str(n): 1 for n in range(COUNT)}
    app = fleet.app()
    info = app.job(ids[0], queue="default").info()
    assert (info.attempt, info.crashes) == (2, 1)
    for job_id in ids[1:20]:
        info = app.job(job_id, queue="default").info()
        assert (info.attempt, info.crashes) == (1, 0)


def test_a_killed_fork_server_is_replaced_and_loses_nothing(fleet: Fleet, tmp_path: Path) -> None:
    out, gate, ids = holding(fleet, tmp_path)
    node = fleet.nodes[0].pid
    before = set(descendants(node))
    (child,) = children_of(node)
    os.kill(fork_server_of(node), signal.SIGKILL)
    # The kernel kills the child with it, a moment later: until then it must not get on.
    eventually(lambda: not os.path.exists(f"/proc/{child}/fd/0"), timeout=10)
    gate.unlink()
    finish(fleet, ids)
    ran = Counter(line for line in lines(out) if line.isdigit())
    assert ran == {str(n): 1 for n in range(COUNT)}
    assert not before & set(descendants(node))


def test_a_second_supervisor_finishes_what_a_killed_one_held(fleet: Fleet, tmp_path: Path) -> None:
    out, gate, ids = holding(fleet, tmp_path)
    node = fleet.nodes[0]
    below = descendants(node.pid)
    assert len(below) >= 2
    node.kill()
    node.wait()
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in below), timeout=10)
    gate.unlink()
    fleet.start("--processes", "1")
    finish(fleet, ids)
    ran = Counter(line for line in lines(out) if line.isdigit())
    assert set(ran) == {str(n) for n in range(COUNT)}


def test_term_gives_back_what_is_unstarted_and_lets_the_running_end(
    fleet: Fleet, tmp_path: Path
) -> None:
    out, gate, ids = holding(fleet, tmp_path)
    node = fleet.nodes[0]
    app = fleet.app()
    node.terminate()
    eventually(lambda: app.job(ids[-1], queue="default").state() is State.PENDING, timeout=10)
    gate.unlink()
    assert node.wait(timeout=20) == 0
    assert lines(out) == ["started first", "first"]
    assert app.job(ids[0], queue="default").state() is State.SUCCEEDED
    assert app.job(ids[1], queue="default").info().attempt == 0


def test_a_job_that_outlasts_the_shutdown_is_given_back_unpenalised(
    fleet: Fleet, tmp_path: Path
) -> None:
    _, gate, ids = holding(fleet, tmp_path, "--shutdown-timeout", "0.2")
    assert gate.exists()
    node = fleet.nodes[0]
    node.terminate()
    assert node.wait(timeout=20) == 0
    info = fleet.app().job(ids[0], queue="default").info()
    assert (info.state, info.crashes) == (State.PENDING, 0)


def test_a_job_that_kills_its_process_fails_as_crashed(fleet: Fleet, tmp_path: Path) -> None:
    app = fleet.app()
    out = tmp_path / "out"
    job = app.enqueue("tests.process.apps.basic.die", args=(str(out),))
    fleet.start("--processes", "1")
    eventually(lambda: job.state() is State.FAILED, timeout=30)
    info = job.info()
    assert info.reason == "crashed"
    assert info.error is not None
    assert "SIGKILL" in info.error.message
    assert len(lines(out)) == info.crashes == 3  # max_crashes
    follower = app.enqueue("tests.process.apps.basic.add", args=(1, 2))
    assert follower.result(timeout=20) == 3
