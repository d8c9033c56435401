"""What does it cost a job to be unique?

    python -m benchmarks.unique [--json] [--runs N] [--quick]

Ratios to the same jobs without it, in turns: submitted one by one and in bulk, refused because another
has the key, replaced, and run by a node of two processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from time import perf_counter

from benchmarks.harness.answer import Answer, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import drain
from benchmarks.harness.stage import Stage
from benchmarks.tasks import app, empty
from taskrunner import DuplicateJob, Unique
from taskrunner.message import Message

JOBS = 20_000
SINGLES = 2_000
NUMBERS = count()
LATER = empty.options(delay=3600)


def ask(how: How) -> Answer:
    many, few = how.size(JOBS), how.size(SINGLES)
    found: dict[str, tuple[list[float], list[float]]] = {}

    def measured(what: str, of_plain: float, of_unique: float) -> None:
        sides = found.setdefault(what, ([], []))
        sides[0].append(of_plain)
        sides[1].append(of_unique)

    with Stage(app) as stage:
        for _ in range(how.runs):
            alone = one_by_one(few, lambda: empty.message())
            measured("submitted one by one", alone, one_by_one(few, unique))
            measured("refused", alone, one_by_one(few, refused()))
            measured("replaced", alone, one_by_one(few, replaced()))
            stage.clear()
            (bulk, run), (bulk_unique, run_unique) = (
                in_bulk(stage, [make() for _ in range(many)]) for make in (empty.message, unique)
            )
            measured("submitted in bulk", bulk, bulk_unique)
            measured("run", run, run_unique)
    table = Table(
        "jobs a second", ("", "plain", "unique", "ratio"), note=f"{how.runs} runs in turns."
    )
    for what, (of_plain, of_unique) in found.items():
        sides = Spread.of(of_plain), Spread.of(of_unique)
        table.add(what, *sides, sides[1].median / sides[0].median)
    return Answer([table])


def unique() -> Message:
    """With a key of its own."""
    return empty.options(unique=Unique(key=next(NUMBERS))).message()


def refused() -> Callable[[], Message]:
    task = LATER.options(unique=Unique(key="refused"))
    with suppress(DuplicateJob):
        task.enqueue()
    return task.message


def replaced() -> Callable[[], Message]:
    return LATER.options(unique=Unique(key="replaced", on_conflict="replace")).message


def one_by_one(jobs: int, make: Callable[[], Message]) -> float:
    messages = [make() for _ in range(jobs)]
    began = perf_counter()
    for message in messages:
        with suppress(DuplicateJob):
            app.submit(message)
    return jobs / (perf_counter() - began)


def in_bulk(stage: Stage, messages: Sequence[Message]) -> tuple[float, float]:
    """How many a second are submitted, and then run."""
    began = perf_counter()
    assert all(job.accepted for job in app.enqueue_many(messages))
    submitted = len(messages) / (perf_counter() - began)
    try:
        return submitted, drain(stage, len(messages), "--processes", "2").rate
    finally:
        stage.clear()


if __name__ == "__main__":
    main(ask)
