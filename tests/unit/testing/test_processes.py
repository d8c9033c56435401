"""What tests see of processes, and what they do to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from taskrunner.testing import processes
from taskrunner.testing.processes import nothing_left_over
from taskrunner.testing.waiting import eventually

SLEEP = "import time; time.sleep(60)"
WITH_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{SLEEP}'])"


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process with one child."""
    process = start(WITH_CHILD)
    eventually(lambda: len(processes.descendants(process.pid)) == 1)
    yield process
    below = processes.descendants(process.pid)
    end(process)
    processes.kill(*below)


def start(code: str, **environ: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environ})


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def left_over(what: str) -> Iterator[None]:
    """The block leaves something, and that is found."""
    with pytest.raises(AssertionError, match=f"left over: {what}"), nothing_left_over(timeout=0.1):
        yield


def test_who_is_below_whom(parent: subprocess.Popen[bytes]) -> None:
    (child,) = processes.descendants(parent.pid)
    assert processes.parent_of(child) == parent.pid
    assert processes.fork_server_of(parent.pid) == child
    assert processes.children_of(parent.pid) == []
    assert child in processes.descendants(os.getpid())
    with pytest.raises(LookupError):
        processes.fork_server_of(child)


def test_a_process_stands_still_and_goes_on(parent: subprocess.Popen[bytes]) -> None:
    with processes.paused(parent.pid):
        assert processes.state_of(parent.pid) == "T"
        assert processes.is_alive(parent.pid)
    eventually(lambda: processes.state_of(parent.pid) == "S")


def test_a_killed_one_is_gone_though_nobody_has_waited_for_it(
    parent: subprocess.Popen[bytes],
) -> None:
    processes.kill(parent.pid)
    assert processes.state_of(parent.pid) == "Z"
    assert not processes.is_alive(parent.pid)
    assert processes.parent_of(parent.pid) is None
    parent.wait()
    assert processes.state_of(parent.pid) is None
    processes.send(parent.pid, signal.SIGCONT)  # nobody minds


def test_waiting_for_one_that_lives_is_an_error(parent: subprocess.Popen[bytes]) -> None:
    with pytest.raises(AssertionError, match=f"{parent.pid}"):
        processes.wait_until_gone([parent.pid], timeout=0)


def test_processes_are_found_by_their_environment() -> None:
    process = start(SLEEP, TASKRUNNER_TEST_MARK="found")
    # Until the program has begun, the environment is that of whoever forked it.
    eventually(lambda: processes.with_environ("TASKRUNNER_TEST_MARK", "found") == [process.pid])
    assert processes.with_environ("TASKRUNNER_TEST_MARK", "foun") == []
    end(process)
    assert processes.with_environ("TASKRUNNER_TEST_MARK", "found") == []


class TestNothingLeftOver:
    def test_nothing_is_left_over(self) -> None:
        with nothing_left_over():
            with socket.socket():
                end(start(SLEEP))
            thread = threading.Thread(target=int)
            thread.start()

    def test_a_process_is(self) -> None:
        with left_over(r"process \d+: .* -c import time"):
            process = start(SLEEP)
        end(process)

    def test_so_is_one_whose_parent_is_dead(self) -> None:
        orphans: list[int] = []
        with left_over(r"process \d+"):
            process = start(WITH_CHILD)
            orphans += eventually(lambda: processes.descendants(process.pid))
            end(process)
        assert len(orphans) == 1
        processes.kill(*orphans)
        os.waitpid(orphans[0], 0)

    def test_so_is_a_socket(self) -> None:
        with left_over(r"descriptor \d+: socket"):
            opened = socket.socket()
        opened.close()

    def test_so_is_a_thread(self) -> None:
        gate = threading.Event()
        thread = threading.Thread(target=gate.wait, name="forgotten")
        with left_over("thread forgotten"):
            thread.start()
        gate.set()
        thread.join()
