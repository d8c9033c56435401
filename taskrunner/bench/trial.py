"""One setting tried: a node, a producer that keeps enough waiting, and what was done in some seconds.

start ─▶ first job done ─▶ warm-up ─▶ span ─▶ span ─▶ span ─▶ stop
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from taskrunner.bench.grid import Setting
from taskrunner.bench.workplace import Workplace
from taskrunner.brokers.base import QueueStats
from taskrunner.clock import monotonic
from taskrunner.errors import ResultTimeout
from taskrunner.states import State

SPANS: Final = 3
LOOK_S: Final = 0.005
FIRST_S: Final = 120.0
"""Seconds until the first job must be done: a start, and one run of the task."""
WARM_S: Final = 0.5
FEWEST_WAITING: Final = 2_000
WAITING_PER_SLOT: Final = 4
HEADROOM: Final = 1.5
MOST_BYTES: Final = 64 * 1024 * 1024
"""of jobs that wait"""
BYTES_BESIDE: Final = 300
"""of a job that waits, beside its arguments"""
CHUNK: Final = 500


class StillThere(Protocol):
    """A node that runs."""

    def check(self) -> None:
        """Raises StartError where it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """Jobs a second: the median of some spans, the slowest and the fastest of them."""

    rate: float
    low: float
    high: float
    failed: int
    """jobs that failed meanwhile, which the rate counts too"""


class Producer:
    """Has jobs wait before the node starts, as many as it will run, so that submitting takes nothing
    from what is measured; where that was too few, it goes on submitting. `slots`: how many the node
    runs at once; `ahead`: jobs that it may run."""

    def __init__(self, workplace: Workplace, *, slots: int, ahead: float) -> None:
        self._workplace = workplace
        fits = MOST_BYTES // (BYTES_BESIDE + workplace.bytes_of_one)
        self._wanted = max(min(max(FEWEST_WAITING, int(ahead)), fits), WAITING_PER_SLOT * slots)
        self._chunk = min(CHUNK, max(1, self._wanted // 8))
        stats = workplace.stats()
        self._done_before = _done(stats)
        self._submitted = stats.counts[State.PENDING]  # what the trial before this one has left
        self._fill(self._wanted)

    def look(self) -> int:
        """Jobs done since this producer began; sees to it that others wait."""
        done = _done(self._workplace.stats()) - self._done_before
        self._fill(done + self._wanted // 2)
        return done

    def _fill(self, wanted: int) -> None:
        while wanted - self._submitted >= self._chunk:
            self._workplace.submit(self._chunk)
            self._submitted += self._chunk


def _done(stats: QueueStats) -> int:
    return stats.processed + stats.failed


def measure(
    workplace: Workplace,
    setting: Setting,
    seconds: float,
    *,
    start: Callable[[], AbstractContextManager[StillThere]],
    expected: float,
) -> Measured:
    """Try one setting. `start` starts its node; `expected`: jobs a second, if that is known, else 0.
    Raises ResultTimeout where not one job is done in time, and what `still_there` raises."""
    slots = setting.processes * setting.concurrency
    ahead = HEADROOM * expected * (seconds + WARM_S)
    producer = Producer(workplace, slots=slots, ahead=ahead)
    failed = workplace.stats().failed
    with start() as node:
        _await_first(producer, node)
        _span(producer, min(WARM_S, seconds))
        rates = [_span(producer, seconds / SPANS) for _ in range(SPANS)]
        node.check()
        failures = workplace.stats().failed - failed
    return Measured(statistics.median(rates), min(rates), max(rates), failures)


def _await_first(producer: Producer, node: StillThere) -> None:
    end = monotonic() + FIRST_S
    while not producer.look():
        node.check()
        if monotonic() > end:
            raise ResultTimeout(f"no job was done within {FIRST_S:g} s")
        threading.Event().wait(LOOK_S)


def _span(producer: Producer, seconds: float) -> float:
    """Jobs a second in so many seconds, or until one more is done where that takes longer."""
    pause = threading.Event().wait
    before, began = producer.look(), monotonic()
    while True:
        pause(LOOK_S)
        done, took = producer.look() - before, monotonic() - began
        if took >= seconds and (done or took >= FIRST_S):
            return done / took
