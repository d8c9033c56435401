"""The number of processes: by hand, from anywhere, and by the load."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskrunner import State
from taskrunner.inspector import Inspector
from taskrunner.testing.waiting import eventually
from tests.process.apps import basic
from tests.process.conftest import ROOT, TARGET, Fleet, lines

NAME = "tests.process.apps.basic."


def hold(fleet: Fleet, folder: Path, count: int) -> list[Any]:
    """Jobs that run until the gate is gone."""
    out, gate = folder / "out", folder / "gate"
    gate.touch()
    app = fleet.app()
    return [
        app.enqueue(NAME + "block_then_append", args=(str(out), str(n), str(gate)))
        for n in range(count)
    ]


def started(folder: Path) -> int:
    return sum(line.startswith("started") for line in lines(folder / "out"))


def cli(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskrunner", *words],
        cwd=ROOT,
        env=fleet.environ,
        capture_output=True,
        text=True,
        timeout=40,
    )


def test_by_signal_and_by_command_and_what_runs_is_finished(fleet: Fleet, tmp_path: Path) -> None:
    node = fleet.start("--processes", "2")
    eventually(lambda: len(node.children) == 2, timeout=20)
    node.send_signal(signal.SIGTTIN)
    eventually(lambda: len(node.children) == 3, timeout=20)
    assert "3 processes now: by hand" in node.log
    jobs = hold(fleet, tmp_path, 3)
    eventually(lambda: started(tmp_path) == 3, timeout=20)
    for says in ("2 processes now", "1 process now", "1 process as before"):
        node.send_signal(signal.SIGTTOU)  # one by one: two of a kind that wait are one
        eventually(lambda says=says: says in node.log, timeout=20)  # type: ignore[misc]
    # All three are busy: those that are too many go when they have finished.
    assert len(node.children) == 3
    (tmp_path / "gate").unlink()
    assert [job.result(timeout=20) for job in jobs] == ["0", "1", "2"]
    assert {job.info().attempt for job in jobs} == {1}
    eventually(lambda: len(node.children) == 1, timeout=20)
    (me,) = Inspector(fleet.app()).nodes()
    assert cli(fleet, "control", me.id[:6], "grow").returncode == 0
    eventually(lambda: len(node.children) == 2, timeout=20)
    assert cli(fleet, "control", "nobody", "grow").returncode == 5
    eventually(lambda: Inspector(fleet.app()).nodes()[0].processes == 2, timeout=20)
    Inspector(fleet.app()).control(None, "stop")
    assert node.wait(timeout=20) == 0
    assert " ERROR " not in node.log


def test_it_follows_the_load_and_kills_nothing(fleet: Fleet, tmp_path: Path) -> None:
    """Four jobs that only wait: it grows to four, though there is one processor or two. When three
    have ended it shrinks, and the fourth goes on."""
    node = fleet.start(
        *("--processes", "1..4"),
        TASKRUNNER_GROW_AFTER_S="0.1",
        TASKRUNNER_SHRINK_AFTER_S="0.5",
    )
    app = fleet.app()
    eventually(lambda: len(node.children) == 1, timeout=20)
    jobs = hold(fleet, tmp_path, 4)
    eventually(lambda: started(tmp_path) == 4, timeout=30)
    assert len(node.children) == 4
    eventually(lambda: Inspector(app).nodes()[0].busy == 4, timeout=20)
    long_gate = tmp_path / "long-gate"
    long_gate.touch()
    long = app.enqueue(
        NAME + "block_then_append", args=(str(tmp_path / "out"), "long", str(long_gate))
    )
    (tmp_path / "gate").unlink()
    assert sorted(job.result(timeout=20) for job in jobs) == ["0", "1", "2", "3"]
    eventually(lambda: len(node.children) == 1, timeout=30)
    assert long.state() is State.ACTIVE
    long_gate.unlink()
    assert long.result(timeout=20) == "long"
    assert {job.info().attempt for job in (*jobs, long)} == {1}
    assert " ERROR " not in node.log


def test_work_that_computes_does_not_grow_beyond_the_processors(
    fleet: Fleet, tmp_path: Path
) -> None:
    node = fleet.start("--processes", "1..8", TASKRUNNER_GROW_AFTER_S="0.1")
    app = fleet.app()
    gate = tmp_path / "gate"
    gate.touch()
    jobs = [app.enqueue(NAME + "compute", args=(str(gate),)) for _ in range(40)]
    eventually(lambda: "though work waits for more: its processes want" in node.log, timeout=30)
    most = len(os.sched_getaffinity(0))
    assert len(node.children) <= most
    gate.unlink()
    assert all(job.result(timeout=30) for job in jobs)


def test_a_range_in_a_program(tmp_path: Path) -> None:
    gate, out = tmp_path / "gate", tmp_path / "out"
    gate.touch()
    with basic.app.running(processes="1..3", grow_after_s=0.0):
        jobs = [basic.block_then_append.enqueue(str(out), str(n), str(gate)) for n in range(3)]
        eventually(lambda: started(tmp_path) == 3, timeout=30)
        gate.unlink()
        assert [job.result(timeout=20) for job in jobs] == ["0", "1", "2"]


ON_A_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
# Said in both cases: whoever runs the tests may have been started by nohup.
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "nohup" else signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "taskrunner", "run", *sys.argv[2:]])
"""


@pytest.mark.parametrize("how", ["plain", "nohup"])
def test_a_closed_terminal_is_no_deploy(fleet: Fleet, tmp_path: Path, how: str) -> None:
    master, slave = pty.openpty()
    log = tmp_path / "log"
    with log.open("wb") as file:
        node = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, how, TARGET, "--processes", "1"],
            cwd=ROOT,
            env=fleet.environ,
            stdin=slave,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    os.close(slave)
    try:
        eventually(lambda: " started: " in log.read_text(), timeout=20)
        os.close(master)
        if how == "nohup":
            assert fleet.app().enqueue(NAME + "add", args=(1, 2)).result(timeout=20) == 3
            node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=20) == 0
        assert "anew" not in log.read_text()
    finally:
        node.kill()
        node.wait()
