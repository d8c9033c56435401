"""The known holes of asynq that are about processes; see tests/faults/test_asynq_holes.py."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, JobCancelled, JobFailed, State
from taskrunner.testing.processes import is_alive
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.apps import alone
from tests.process.conftest import Fleet, lines

TARGET = "tests.process.apps.alone:app"
HOUR = 3600.0


def begun(path: Path, name: str) -> Callable[[], bool]:
    return lambda: f"begin {name}" in lines(path)


@pytest.fixture
def client(fleet: Fleet) -> Iterator[App]:
    app = alone.client(fleet.url, fleet.namespace)
    yield app
    app.close()


@pytest.mark.parametrize("task", ["stubborn", "astubborn"])
@pytest.mark.parametrize("concurrency", ["1", "3"])
def test_hole_02_a_timed_out_handler_is_stopped_and_never_overlaps_itself(
    fleet: Fleet, client: App, tmp_path: Path, task: str, concurrency: str
) -> None:
    """It is to be run three times, each time ignores its interrupt, and another process is free."""
    out = tmp_path / "out"
    job = client.enqueue(task, args=(str(out), "it"))
    fleet.start(
        *("--processes", "2", "--concurrency", concurrency, "--grace", "0.2"), target=TARGET
    )
    with pytest.raises(JobFailed):
        job.result(timeout=40)
    info = job.info()
    assert (info.reason, info.attempt, info.failures, info.crashes) == ("timeout", 3, 3, 0)
    assert Counter(lines(out))["begin it"] == 3
    assert "overlap it" not in lines(out)
    assert "end it" not in lines(out)


def test_hole_02_a_cancelled_handler_keeps_its_place_until_it_has_stopped(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    node = fleet.start("--processes", "1", "--grace", "1", target=TARGET)
    job = client.enqueue("stubborn", args=(str(out), "it"), timeout=60, job_id="fixed")
    eventually(begun(out, "it"), timeout=20)
    assert job.cancel()
    eventually(lambda: "interrupted it" in lines(out), timeout=10)
    (child,) = node.children
    assert is_alive(child)
    assert job.state() is State.ACTIVE
    with pytest.raises(JobCancelled):
        job.result(timeout=20)
    assert not is_alive(child)
    again = client.enqueue("last", args=(str(out), "it", 0.0), job_id="fixed")
    assert again.result(timeout=20) == "it"
    assert "overlap it" not in lines(out)


def test_hole_14_a_recovery_is_told_in_the_log_and_in_the_record(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    node = fleet.start("--processes", "1", target=TARGET)
    job = client.enqueue("gated", args=(str(out), "it", str(gate)))
    eventually(begun(out, "it"), timeout=20)
    node.crash()
    fleet.start("--processes", "1", target=TARGET)
    eventually(lambda: lines(out).count("begin it") == 2, timeout=20)
    assert "their node is gone" in fleet.log(1)
    assert job.info().losses == 1
    gate.unlink()
    assert job.result(timeout=20) == "it"
    assert "overlap it" not in lines(out)


class Doorman:
    """Stands where a Redis was, and counts who knocks."""

    def __init__(self, port: int) -> None:
        self.knocks = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            try:
                visitor, _ = self._socket.accept()
            except OSError:
                return
            self.knocks += 1
            visitor.close()

    def leave(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def test_hole_17_while_redis_is_down_nobody_loops(tmp_path: Path) -> None:
    """By what arrives at its door and by what the node's processes compute, not by time."""
    with RedisServer() as server, Fleet(server.url, "down", tmp_path) as fleet:
        node = fleet.start("--processes", "1", "--lease", "3")
        app = fleet.app()
        assert app.enqueue("tests.process.apps.basic.add", args=(1, 2)).result(timeout=20) == 3
        server.kill()
        doorman = Doorman(server.port)
        eventually(lambda: "is away" in node.log, timeout=20)
        computed = cpu_seconds(node.pid)
        before, began = doorman.knocks, time.monotonic()
        # Long enough for every thread to have come to its longest pause, of a second.
        eventually(lambda: doorman.knocks >= before + 15, timeout=40)
        took = time.monotonic() - began
        assert doorman.knocks - before < 20 * took + 40
        assert cpu_seconds(node.pid) - computed < 0.5 * took
        doorman.leave()
        server.start()
        assert app.enqueue("tests.process.apps.basic.add", args=(2, 2)).result(timeout=30) == 4
        app.close()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


SITE = """
import os, time
real, ahead = time.time, float(os.environ["TEST_CLOCK_AHEAD"])
time.time = lambda: real() + ahead
"""


def test_hole_20_clocks_that_are_an_hour_apart_change_nothing(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    """One machine an hour ahead, one an hour behind, a client that goes right; leases of two
    seconds, and a job that outlasts them."""
    out = tmp_path / "out"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    nodes = [
        fleet.start(
            *("--processes", "1", "--lease", "2"),
            target=TARGET,
            PYTHONPATH=str(tmp_path / "site"),
            TEST_CLOCK_AHEAD=str(ahead),
        )
        for ahead in (HOUR, -HOUR)
    ]
    eventually(lambda: len(client.broker.nodes()) == 2, timeout=30)
    started = sorted(node.started_at for node in client.broker.nodes())
    assert started[1] - started[0] > HOUR  # the clocks are what they should be
    long = client.enqueue("last", args=(str(out), "long", 5.0))
    expiring = client.enqueue("append", args=(str(out), "in time"), expires=60)
    early = client.enqueue("append", args=(str(out), "early"), delay=HOUR / 2)
    due = [
        client.enqueue("append", args=(str(out), f"due {n}"), delay=1.0, deadline=in_a_minute())
        for n in range(4)
    ]
    assert [job.result(timeout=20) for job in (expiring, *due)]
    assert long.result(timeout=20) == "long"
    assert early.state() is State.SCHEDULED
    assert (long.info().losses, long.info().attempt) == (0, 1)
    assert lines(out).count("begin long") == 1
    assert not any("took back" in node.log for node in nodes)


def in_a_minute() -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) + timedelta(minutes=1)


def test_hole_21_a_forced_shutdown_gives_back_only_what_has_stopped(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    """Another node waits for the job, and must not get it while it still runs."""
    out = tmp_path / "out"
    first = fleet.start("--processes", "1", "--shutdown-timeout", "0.3", target=TARGET)
    job = client.enqueue("stubborn", args=(str(out), "it"), timeout=600)
    eventually(begun(out, "it"), timeout=20)
    (child,) = first.children
    fleet.start("--processes", "1", target=TARGET)
    eventually(lambda: len(client.broker.nodes()) == 2, timeout=20)
    assert first.stop() == 0
    assert not is_alive(child)
    eventually(lambda: lines(out).count("begin it") == 2, timeout=20)
    assert "overlap it" not in lines(out)
    info = job.info()
    assert (info.failures, info.crashes, info.losses) == (0, 0, 0)


def test_hole_24_a_hung_handler_does_not_keep_its_lease(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    """Its process is stopped, so that nothing inside it can end it; the supervisor lives."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    node = fleet.start("--processes", "1", "--grace", "0.2", target=TARGET)
    job = client.enqueue("gated", args=(str(out), "it", str(gate)), timeout=1, retries=1)
    eventually(begun(out, "it"), timeout=20)
    os.kill(node.children[0], signal.SIGSTOP)
    eventually(lambda: lines(out).count("begin it") == 2, timeout=30)
    gate.unlink()
    assert job.result(timeout=30) == "it"
    assert lines(out).count("begin it") == 2
    assert "overlap it" not in lines(out)
    assert node.poll() is None
