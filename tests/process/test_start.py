"""How nodes start, fail to start, and end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, children_of, descendants, lines

NAME = "tests.process.apps.basic."


def title_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")


def test_threads_left_by_the_import_are_named_and_children_import_themselves(
    fleet: Fleet,
) -> None:
    fleet.start("--processes", "2", target="tests.process.apps.threaded:app")
    assert fleet.app().enqueue(NAME + "add", args=(1, 2)).result(timeout=30) == 3
    assert "left running" in fleet.log()


def test_children_that_cannot_start_end_the_node_with_one_sentence(fleet: Fleet) -> None:
    node = fleet.start("--processes", "1", target="tests.process.apps.doomed:app")
    assert node.wait(timeout=30) != 0
    assert "while they started" in fleet.log()
    assert "Traceback" not in fleet.log()


def test_titles_say_what_runs(fleet: Fleet, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    node = fleet.start("--processes", "1")
    app = fleet.app()
    job = app.enqueue(NAME + "block_then_append", args=(str(out), "x", str(gate)))
    eventually(lambda: lines(out) == ["started x"], timeout=20)
    (child,) = children_of(node.pid)
    wanted = f"taskrunner: worker 1 [{NAME}block_then_append {job.id}]"
    eventually(lambda: title_of(child) == wanted, timeout=10)
    gate.unlink()
    eventually(lambda: title_of(child) == "taskrunner: worker 1 [idle]", timeout=10)


@pytest.mark.parametrize("processes", [1, 3])
def test_an_interrupt_ends_it_cleanly_also_while_it_starts(fleet: Fleet, processes: int) -> None:
    """One process below it is the fork server, which imports; three are its children as well."""
    node = fleet.start("--processes", "2")
    eventually(lambda: len(descendants(node.pid)) >= processes, timeout=20)
    below = descendants(node.pid)
    node.send_signal(signal.SIGINT)
    node.wait(timeout=20)
    assert "Traceback" not in fleet.log()
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in below), timeout=10)


def test_a_second_signal_does_not_wait_for_the_running_job(fleet: Fleet, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    node = fleet.start("--processes", "1", "--shutdown-timeout", "60")
    app = fleet.app()
    job = app.enqueue(NAME + "block_then_append", args=(str(out), "x", str(gate)))
    eventually(lambda: lines(out) == ["started x"], timeout=20)
    node.terminate()
    eventually(lambda: "stopping" in fleet.log(), timeout=10)
    node.terminate()
    assert node.wait(timeout=20) == 0
    info = job.info()
    assert (str(info.state), info.crashes) == ("pending", 0)


def test_usr1_logs_what_everybody_does(fleet: Fleet, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    node = fleet.start("--processes", "1")
    job = fleet.app().enqueue(NAME + "block_then_append", args=(str(out), "x", str(gate)))
    eventually(lambda: lines(out) == ["started x"], timeout=20)
    node.send_signal(signal.SIGUSR1)
    eventually(lambda: f"runs {NAME}block_then_append {job.id}" in fleet.log(), timeout=10)
    gate.unlink()


def test_a_killed_supervisor_leaves_no_process(fleet: Fleet) -> None:
    node = fleet.start("--processes", "3")
    eventually(lambda: len(descendants(node.pid)) == 4, timeout=20)
    below = descendants(node.pid)
    node.kill()
    node.wait()
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in below), timeout=10)


def test_children_that_are_told_to_stop_are_not_killed(fleet: Fleet) -> None:
    """They close their pipes a moment before they exit, and that moment is theirs."""
    app = fleet.app()
    for number in range(4):
        node = fleet.start("--processes", "3")
        jobs = [app.enqueue(NAME + "add", args=(n, 1)) for n in range(30)]
        assert [job.result(timeout=20) for job in jobs] == list(range(1, 31))
        node.terminate()
        assert node.wait(timeout=20) == 0
        assert "SIGKILL" not in fleet.log(number)
