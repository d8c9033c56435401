"""TERM at awkward moments: somebody stands still, does not answer, or has not even started.

Each node must end, with exit code 0, while whatever is in the way is still in the way.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import Job, State
from taskrunner.testing.fleet import Node
from taskrunner.testing.processes import pause, wait_until_gone
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet, lines

NAME = "tests.process.apps.basic."


def hold(fleet: Fleet, folder: Path, name: str = "x") -> Job[Any]:
    """A job that runs until the gate is gone."""
    out, gate = folder / "out", folder / "gate"
    gate.touch()
    job = fleet.app().enqueue(NAME + "block_then_append", args=(str(out), name, str(gate)))
    eventually(lambda: f"started {name}" in lines(out), timeout=20)
    return job


def end(node: Node, below: list[int]) -> None:
    """It ends in good order, and with it everything below it."""
    assert node.wait(timeout=45) == 0, node.log
    wait_until_gone(below)
    assert "Traceback" not in node.log


def test_a_stopped_child_is_killed_and_what_it_ran_given_back_unpenalised(
    fleet: Fleet, tmp_path: Path
) -> None:
    node = fleet.start("--processes", "1", "--shutdown-timeout", "0.5")
    job = hold(fleet, tmp_path)
    below = node.below
    pause(node.children[0])
    node.terminate()
    end(node, below)
    info = job.info()
    assert (info.state, info.crashes, info.attempt) == (State.PENDING, 0, 1)


def test_a_fork_server_that_stands_still_keeps_nobody(fleet: Fleet, tmp_path: Path) -> None:
    """It is the one who kills, and it does not hear: its children are killed without it."""
    node = fleet.start("--processes", "2", "--shutdown-timeout", "0.5")
    job = hold(fleet, tmp_path)
    below = node.below
    pause(node.fork_server)
    node.terminate()
    eventually(lambda: "stopping" in node.log, timeout=20)
    node.terminate()
    end(node, below)
    info = job.info()
    # Its run counts: it was seen dead, and only then given back, and not with all else at the end.
    assert (info.state, info.crashes, info.attempt) == (State.PENDING, 0, 1)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[RedisServer, Fleet]]:
    """A server that this test alone may stop, and a fleet that would wait for it for minutes."""
    namespace = f"t{uuid.uuid4().hex[:8]}"
    with RedisServer() as server:
        with Fleet(f"{server.url}?socket_timeout=200", namespace, tmp_path) as fleet:
            yield server, fleet
        server.resume()


@pytest.mark.parametrize("signals", [1, 2])
def test_a_broker_that_does_not_answer_keeps_nobody(
    own: tuple[RedisServer, Fleet], tmp_path: Path, signals: int
) -> None:
    """The job finishes, or with a second signal is killed; what became of it cannot be told."""
    server, fleet = own
    node = fleet.start("--processes", "1", "--lease", "600", "--shutdown-timeout", "4")
    job = hold(fleet, tmp_path)
    below = node.below
    server.pause()
    node.terminate()
    eventually(lambda: "stopping" in node.log, timeout=20)
    if signals == 1:
        (tmp_path / "gate").unlink()
    else:
        node.terminate()
    end(node, below)
    assert "was not told" in node.log
    finished = "x" in lines(tmp_path / "out")
    assert finished is (signals == 1)
    server.resume()
    (tmp_path / "gate").unlink(missing_ok=True)
    # Its host proves that it is dead, long before the lease runs out.
    fleet.start("--processes", "1")
    assert job.result(timeout=30) == "x"


def test_a_broker_that_stops_answering_during_the_start_keeps_nobody(
    own: tuple[RedisServer, Fleet],
) -> None:
    server, fleet = own
    node = fleet.start("--processes", "1", target="tests.process.apps.gated:app", GATE="import")
    eventually(lambda: "imports" in node.log, timeout=20)
    below = node.below
    server.pause()
    node.terminate()
    end(node, below)


def test_children_that_hang_in_their_start_keep_nobody(fleet: Fleet) -> None:
    node = fleet.start("--processes", "2", target="tests.process.apps.gated:app", GATE="start")
    eventually(lambda: node.log.count("hangs") == 2, timeout=20)
    below = node.below
    node.terminate()
    eventually(lambda: "stopping" in node.log, timeout=20)
    node.terminate()
    end(node, below)


def test_idle_children_end_at_once_while_another_finishes(fleet: Fleet, tmp_path: Path) -> None:
    """Their hooks have the time that the running job takes."""
    node = fleet.start("--processes", "3", "--shutdown-timeout", "60")
    job = hold(fleet, tmp_path)
    eventually(lambda: len(node.children) == 3, timeout=20)
    node.terminate()
    eventually(lambda: len(node.children) == 1, timeout=20)
    assert job.state() is State.ACTIVE
    (tmp_path / "gate").unlink()
    assert node.wait(timeout=30) == 0
    assert job.result(timeout=10) == "x"
    assert "SIGKILL" not in node.log


def test_the_whole_group_may_get_the_signal(fleet: Fleet, tmp_path: Path) -> None:
    """Some platforms send TERM to every process there is: only the supervisor acts on it."""
    node = fleet.start("--processes", "1")
    job = hold(fleet, tmp_path)
    below = node.below
    for pid in (*below, node.pid):
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: "stopping" in node.log, timeout=20)
    (tmp_path / "gate").unlink()
    end(node, below)
    assert job.result(timeout=10) == "x"
    assert job.info().attempt == 1
