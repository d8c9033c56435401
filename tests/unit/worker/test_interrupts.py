"""Interrupts hit the delivery they are aimed at, or nothing."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from taskrunner.errors import TaskCancelled, TaskTimeout
from taskrunner.frames import Why
from taskrunner.worker.interrupts import SIGNAL, SignalInterrupts, ThreadInterrupts, guard


@pytest.fixture
def by_signal() -> Iterator[SignalInterrupts]:
    before = signal.getsignal(SIGNAL)
    yield SignalInterrupts()
    signal.signal(SIGNAL, before)


def test_a_blocking_call_is_interrupted(by_signal: SignalInterrupts) -> None:
    def block() -> None:
        threading.Thread(target=by_signal.request, args=(1, Why.TIMEOUT)).start()
        while True:
            time.sleep(60)  # the interrupt must end it

    with pytest.raises(TaskTimeout):
        guard(by_signal, 1, block)


def test_another_number_is_not_hit(by_signal: SignalInterrupts) -> None:
    by_signal.request(2, Why.CANCEL)
    assert guard(by_signal, 1, lambda: "fine") == "fine"


def test_one_that_waits_for_its_start_hits_there(by_signal: SignalInterrupts) -> None:
    by_signal.request(2, Why.CANCEL)
    with pytest.raises(TaskCancelled):
        guard(by_signal, 2, lambda: "never")


@pytest.mark.parametrize("kind", [SignalInterrupts, ThreadInterrupts])
def test_a_thousand_late_interrupts_hit_no_neighbour(
    kind: type[SignalInterrupts | ThreadInterrupts],
) -> None:
    """Jobs that end within a millisecond of their interrupt: each is hit or not, none twice, and
    nothing is raised outside of its guard."""
    before = signal.getsignal(SIGNAL)
    interrupts = kind()
    hit = finished = 0
    chance = random.Random(1)
    aims: list[tuple[int, float]] = [(n, chance.random() / 2000) for n in range(1, 1001)]
    go = threading.Semaphore(0)

    def aim() -> None:
        for number, pause in aims:
            go.acquire()
            end = time.perf_counter() + pause
            while time.perf_counter() < end:
                pass
            interrupts.request(number, Why.TIMEOUT)

    shooter = threading.Thread(target=aim)
    shooter.start()
    for number, _ in aims:
        go.release()
        # Every hundredth waits for its interrupt, however slow this machine is.
        end = time.perf_counter() + (30.0 if number % 100 == 0 else 0.00025)

        def work(end: float = end) -> None:
            while time.perf_counter() < end:
                pass

        try:
            guard(interrupts, number, work)
            finished += 1
        except TaskTimeout:
            hit += 1
    shooter.join()
    signal.signal(SIGNAL, before)
    assert hit + finished == 1000
    assert hit >= 10
