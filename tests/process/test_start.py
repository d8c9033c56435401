"""How nodes start, fail to start, and end."""

from __future__ import annotations

import os
import re
import signal
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from taskrunner import State
from taskrunner.cli.exits import Exit
from taskrunner.testing.waiting import eventually
from tests.process.apps import forked, hazards
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


def test_children_import_nothing_that_the_fork_server_could_have_for_them(fleet: Fleet) -> None:
    """Each import after the fork costs each child its time and memory, and is of whatever code is on
    the disk by then."""
    fleet.start("--processes", "1", target="tests.process.apps.forked:app")
    app = fleet.app()
    app.task(name="late")(forked.late.fn)
    found = app.enqueue("late").result(timeout=30)
    assert isinstance(found, list)
    ours = [name for name in found if name.startswith(("taskrunner.", "redis", "hiredis"))]
    assert ours == []


def test_children_that_cannot_start_end_the_node_with_one_sentence(fleet: Fleet) -> None:
    node = fleet.start("--processes", "1", target="tests.process.apps.doomed:app")
    assert node.wait(timeout=30) == Exit.START
    assert fleet.log().count("(pid ") == 5, "five were tried"
    sentence = fleet.log().splitlines()[-1]
    assert "5 children in a row died while they started, the last with exit status 7" in sentence
    assert "look at what its child_start hooks do" in sentence
    assert "Traceback" not in fleet.log()


@pytest.mark.parametrize(
    ("doom", "says"),
    [
        (
            "raises",
            ["a child_start hook of its middleware raised", "\n  RuntimeError: no database"],
        ),
        ("falls", ["the last with signal SIGSEGV", "Segmentation fault", "in child_start"]),
    ],
)
def test_why_they_cannot_is_said(fleet: Fleet, doom: str, says: list[str]) -> None:
    node = fleet.start("--processes", "1", target="tests.process.apps.doomed:app", DOOM=doom)
    assert node.wait(timeout=30) == Exit.START
    assert "while they started" in fleet.log()
    for text in says:
        assert text in fleet.log()


def test_a_job_that_kills_its_children_ends_as_crashed_and_the_node_lives(
    fleet: Fleet,
) -> None:
    app = hazards.client(fleet.url, fleet.namespace)
    falls = app.enqueue_many([hazards.segfault.message("x") for _ in range(2)])
    node = fleet.start("--processes", "1", target="tests.process.apps.hazards:app")
    eventually(lambda: all(job.state() is State.FAILED for job in falls), timeout=50)
    assert {job.info().reason for job in falls} == {"crashed"}
    assert app.enqueue("peace", args=("then",)).result(timeout=30) == "then"
    assert node.poll() is None
    died = re.findall(r"^(\S+) ERROR   child 1 .* was killed by SIGSEGV", fleet.log(), re.MULTILINE)
    times = [datetime.fromisoformat(moment).timestamp() for moment in died]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    # The first replacement starts at once, the next ones after 0.1 s, 0.2 s, 0.4 s, 0.8 s.
    assert [gap >= wait for gap, wait in zip(gaps, (0, 0.1, 0.2, 0.4, 0.8), strict=True)] == [
        True
    ] * 5


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


def test_processes_that_run_tasks_do_not_get_the_secret_of_api_keys(fleet: Fleet) -> None:
    node = fleet.start("--processes", "1", TASKRUNNER_API_KEY_SECRET="s3cret-" * 6, HARMLESS="yes")
    eventually(lambda: node.children, timeout=30)
    for pid in (node.fork_server, *node.children):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        # A process that has set its title has overwritten what the kernel shows here.
        assert b"HARMLESS=yes" in environ or b"=" not in environ
        assert b"s3cret-" not in environ
