"""Running many jobs that wait already, and what that costs.

    submit ─▶ jobs wait ─▶ a node starts ─▶ a tenth is done: clock on ─▶ all are done: clock off

The same for taskrunner, for a bare loop and, in `peers`, for other queues: nobody is charged for
starting its interpreters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import monotonic, perf_counter
from typing import Final

from benchmarks.harness.floor import Floor
from benchmarks.harness.meters import Meter, Reading, peak_mib
from benchmarks.harness.stage import LOOK_S, Node, Stage, until
from taskrunner import App
from taskrunner.message import Message

CHUNK: Final = 10_000
WARM: Final = 0.1
"""The part of the jobs that is done before the clock is on."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How fast, and what it took while the clock was on."""

    jobs: int
    seconds: float
    used: Reading
    peaks: dict[str, float]
    """the most memory that a process of each role had, in MiB"""

    @property
    def rate(self) -> float:
        """Jobs a second. Raises ValueError where the last job was done before the clock was on."""
        if not self.jobs:
            raise ValueError("too few jobs to be timed: all were done at the first look")
        return self.jobs / self.seconds


def submit(app: App, make: Callable[[], Message], count: int) -> list[str]:
    """Submit so many jobs in bulk; their ids."""
    made = (make() for _ in range(count))
    ids: list[str] = []
    for chunk in chunks(made, CHUNK):
        ids += [job.id for job in app.enqueue_many(chunk)]
    return ids


def chunks(messages: Iterable[Message], size: int) -> Iterator[list[Message]]:
    left = iter(messages)
    while chunk := list(islice(left, size)):
        yield chunk


def drain(
    stage: Stage,
    count: int,
    *options: str,
    queues: Sequence[str] = ("default",),
    look_s: float = LOOK_S,
) -> Drained:
    """Start a node where `count` jobs wait, and see them all done. Whoever looks takes CPU too:
    seldom enough where the jobs need all of it, every `look_s`."""
    before = stage.processed(queues)
    see = partial(_await, stage, queues, look_s=look_s)
    with stage.node(*options) as node:
        first = see(before + max(1, int(WARM * count)))
        meter = Meter(stage, node.roles())
        began, start = monotonic(), meter.read()
        last = see(before + count)
        took = monotonic() - began
        used = meter.used(start)
        return Drained(last - first, took, used, peaks(stage, node))


def _await(stage: Stage, queues: Sequence[str], wanted: int, *, look_s: float) -> int:
    done = 0

    def is_done() -> bool:
        nonlocal done
        done = stage.processed(queues)
        return done >= wanted

    until(is_done, pause=look_s)
    return done


def peaks(stage: Stage, node: Node) -> dict[str, float]:
    """The largest process of each role, at its largest."""
    roles = {**node.roles(), "Redis": [stage.server.pid]}
    return {role: max(map(peak_mib, pids), default=0.0) for role, pids in roles.items()}


def bare_loop(floor: Floor, ids: Sequence[str], queue: str = "default") -> float:
    """Jobs a second that a loop of two scripts fetches and settles, a hundred at a time."""
    floor.join(queue)
    rounds = list(floor.rounds(queue, ids))
    began = perf_counter()
    for fetch, settles in rounds:
        floor.send(fetch)
        for settle in settles:
            floor.send(settle)
    return len(ids) / (perf_counter() - began)
