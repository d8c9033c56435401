"""Does a long backlog slow a node down, and what does a waiting job take of Redis' memory?

    python -m benchmarks.backlog [--json] [--runs N] [--quick]

At each length a producer beside the node keeps the backlog there: it submits as many as are done. So
each rate is one of submitting and running together, and they may be compared; of 1,000 jobs, though,
the node itself holds a good part. Memory is what Redis uses more than before, divided by the jobs;
beside the payload: without the bytes of the argument.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import submit
from benchmarks.harness.stage import Stage, until
from benchmarks.tasks import app, carry, empty
from taskrunner.message import Message

LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
SECONDS = 4.0
CHUNK = 250
PAUSE_S = 0.0005
SIZES = (30, 100, 1_000)
SIZED_JOBS = 20_000
WARM_JOBS = 100


def ask(how: How) -> Answer:
    rates: dict[int, list[float]] = {n: [] for n in (LENGTHS[:-1] if how.quick else LENGTHS)}
    sizes: dict[int, float] = {}
    with Stage(app) as stage:
        footprints = {size: footprint(stage, size, how.size(SIZED_JOBS)) for size in SIZES}
        for length, found in rates.items():
            stage.clear()
            before = stage.memory()
            submit(app, empty.message, length)
            sizes[length] = (stage.memory() - before) / length
            with kept_at(stage, length) as producer:
                found += [producer.rate(SECONDS / (4 if how.quick else 1)) for _ in range(how.runs)]
    table = Table(
        "a backlog of empty jobs",
        ("jobs waiting", "jobs/s", "bytes per job"),
        note=f"{how.runs} spans of time at each length, submitting as many as are done; 2 processes.",
        chart=Chart("jobs waiting", "jobs/s"),
    )
    for length, found in rates.items():
        table.add(length, Spread.of(found), sizes[length])
    return Answer([table, _footprints(footprints)], _targets(rates, footprints))


def _footprints(found: dict[int, float]) -> Table:
    table = Table(
        "memory of a waiting job in Redis",
        ("payload, bytes", "bytes per job beside it"),
        note="one argument of so many random bytes.",
    )
    for size, extra in found.items():
        table.add(size, extra)
    return table


def _targets(rates: dict[int, list[float]], footprints: dict[int, float]) -> list[Target]:
    medians = [Spread.of(found).median for found in rates.values()]
    slower = 100 * max(0.0, 1 - medians[-1] / medians[0])
    shortest, longest = min(rates), max(rates)
    what = f"rate at a backlog of {longest:,} against {shortest:,}, slower by"
    return [
        Target.at_most(what, 10, slower, " %"),
        *(
            Target.at_most(f"memory of a waiting job beside {size} bytes", 300, extra, " bytes")
            for size, extra in footprints.items()
        ),
    ]


def footprint(stage: Stage, size: int, count: int) -> float:
    """Bytes of Redis for a waiting job, beside its payload of so many random bytes."""
    stage.clear()
    submit(app, empty.message, WARM_JOBS)  # connections and scripts take memory only once
    before = stage.memory()
    submit(app, lambda: carry.message(os.urandom(size)), count)
    return (stage.memory() - before) / count - size


class Producer:
    """Submits as many jobs as are done, so that about as many wait all the time. Begins where none
    had been done."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._replaced = 0

    def rate(self, seconds: float) -> float:
        """Jobs done a second, in so many seconds."""
        began, before = monotonic(), self._stage.processed()
        while monotonic() - began < seconds:
            self._replace()
        return (self._stage.processed() - before) / (monotonic() - began)

    def _replace(self) -> None:
        missing = self._stage.processed() - self._replaced
        if missing < CHUNK // 2:
            sleep(PAUSE_S)
            return
        made: list[Message] = [empty.message() for _ in range(min(missing, CHUNK))]
        app.enqueue_many(made)
        self._replaced += len(made)


@contextmanager
def kept_at(stage: Stage, length: int) -> Iterator[Producer]:
    """A node, and a producer that has just begun to replace what it does."""
    with stage.node("--processes", "2"):
        until(lambda: stage.processed() > min(length // 10, 5_000), pause=PAUSE_S)
        producer = Producer(stage)
        producer.rate(0.5)
        yield producer


if __name__ == "__main__":
    main(ask)
