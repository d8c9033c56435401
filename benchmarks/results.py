"""How fast do results come back to whoever waits for them?

    python -m benchmarks.results [--json] [--runs N] [--quick]

One after the other: submit, wait, and only then the next. Together: submit a thousand, then wait for
each of them, from one thread and from asyncio.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from benchmarks.harness.answer import Answer, Spread, Table, share
from benchmarks.harness.ask import How, main
from benchmarks.harness.stage import PATIENCE_S, Stage
from benchmarks.tasks import app, empty

SINGLES = 1_000
TOGETHER = 5_000


def ask(how: How) -> Answer:
    alone, many = how.size(SINGLES), how.size(TOGETHER)
    waits: list[float] = []
    singles, threaded, looped = [], [], []
    with Stage(app) as stage, stage.ready_node("--processes", "2"):
        for _ in range(how.runs):
            found = one_after_another(alone)
            singles.append(len(found) / sum(found))
            waits += found
            threaded.append(together(many))
            looped.append(asyncio.run(atogether(many)))
    waits.sort()
    rates = Table("waiting for results", ("how", "results/s"), note=f"{how.runs} runs in turns.")
    rates.add("one after the other", Spread.of(singles))
    rates.add(f"{many:,} together, one thread", Spread.of(threaded))
    rates.add(f"{many:,} together, asyncio", Spread.of(looped))
    times = Table(
        "from enqueue to the result, in ms", ("jobs", "p50", "p95", "p99", "max"),
        note="One at a time, on an idle node.",
    )  # fmt: skip
    times.add(len(waits), *(1000 * share(waits, part) for part in (0.5, 0.95, 0.99, 1)))
    return Answer([rates, times])


def one_after_another(count: int) -> list[float]:
    waits = []
    for _ in range(count):
        began = perf_counter()
        empty.enqueue().result(timeout=PATIENCE_S)
        waits.append(perf_counter() - began)
    return waits


def together(count: int) -> float:
    began = perf_counter()
    jobs = app.enqueue_many(empty.message() for _ in range(count))
    for job in jobs:
        job.result(timeout=PATIENCE_S)
    return count / (perf_counter() - began)


async def atogether(count: int) -> float:
    began = perf_counter()
    jobs = await app.aenqueue_many(empty.message() for _ in range(count))
    await asyncio.gather(*(job.aresult(timeout=PATIENCE_S) for job in jobs))
    return count / (perf_counter() - began)


if __name__ == "__main__":
    main(ask)
