"""What the system says about real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from taskrunner.supervisor import vitals
from taskrunner.supervisor.vitals import Cpu
from taskrunner.testing.waiting import eventually

IDLE = "print('here', flush=True); input()"
BURNS = "print('here', flush=True)\nwhile True: pass"
GROWN = "kept = bytearray(80 << 20); print('here', flush=True); input()"


@pytest.fixture
def start() -> Iterator[Callable[[str], int]]:
    """Runs a program until it is there; its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: str) -> int:
        pipe = subprocess.PIPE
        process = subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        return process.pid

    yield run
    for process in started:
        process.kill()
        process.communicate()


READERS = pytest.mark.parametrize("read", [vitals.read, vitals.from_ps])


@READERS
def test_a_stopped_process_is_told_from_others(
    start: Callable[[str], int], read: Callable[..., dict[int, vitals.Vitals]]
) -> None:
    idle, stopped = start(IDLE), start(IDLE)
    os.kill(stopped, signal.SIGSTOP)
    eventually(lambda: read([stopped])[stopped].is_stopped)
    assert not read([idle])[idle].is_stopped
    os.kill(stopped, signal.SIGCONT)
    eventually(lambda: not read([stopped])[stopped].is_stopped)


@READERS
def test_memory_is_resident_bytes(
    start: Callable[[str], int], read: Callable[..., dict[int, vitals.Vitals]]
) -> None:
    small, large = start(IDLE), start(GROWN)
    found = read([small, large, 2**22 + 1])
    assert found.keys() == {small, large}
    assert 75 << 20 < found[large].resident - found[small].resident < 90 << 20


def test_who_computes_wants_a_processor_and_who_waits_does_not(start: Callable[[str], int]) -> None:
    idle, burns = start(IDLE), start(BURNS)
    before = vitals.read([idle, burns])

    def wanted(pid: int) -> float:
        return vitals.share(before[pid], vitals.read([pid])[pid], 1.0)

    eventually(lambda: wanted(burns) > 0.5, timeout=30)
    assert wanted(idle) < 0.1


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:01.25", 1.25), ("01:02:03", 3723), ("2-00:00:05", 172_805)]
)
def test_how_ps_writes_times(text: str, seconds: float) -> None:
    assert vitals._seconds(text) == seconds


@pytest.mark.parametrize(
    ("cpu", "share"),
    [(Cpu(0.04, 1.8, 10), 0.92), (Cpu(0.04, 1.8, 2000), 0.02), (Cpu(0.04), 0.02), (Cpu(0.0), 0.0)],
)
def test_who_gets_little_of_a_processor_may_want_more(cpu: Cpu, share: float) -> None:
    before, now = (vitals.Vitals(False, {1: each}, 0) for each in (Cpu(0.0), cpu))
    assert vitals.share(before, now, 2.0) == pytest.approx(share)


def test_a_share_is_that_of_the_busiest_thread() -> None:
    before = vitals.Vitals(False, {1: Cpu(5.0), 2: Cpu(1.0)}, 0)
    now = vitals.Vitals(False, {1: Cpu(5.02), 2: Cpu(1.6), 3: Cpu(0.1)}, 0)
    assert vitals.share(before, now, 2.0) == pytest.approx(0.3)
    assert vitals.share(before, vitals.Vitals(False, {}, 0), 2.0) == 0.0
