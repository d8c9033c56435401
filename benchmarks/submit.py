"""How fast are jobs submitted: one by one, from threads, in bulk, from asyncio?

    python -m benchmarks.submit [--json] [--runs N] [--quick]

Over loopback, while nobody runs them. Beside it, in turns and over the same loopback, bare redis-py
with the same script and ready-made arguments: a loop of single calls, and pipelines of a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.floor import Floor
from benchmarks.harness.stage import Stage
from benchmarks.tasks import app, empty

ONE_BY_ONE = 10_000
IN_BULK = 50_000
THREADS = 8
AT_ONCE = 100

SINGLE, BULK = "one by one", "in bulk"
BARE, PIPELINED = "bare EVALSHA, one by one", "bare EVALSHA, pipelines of 100"


def ask(how: How) -> Answer:
    few, many = how.size(ONE_BY_ONE), how.size(IN_BULK)
    rates: dict[str, list[float]] = {}
    with Stage(app) as stage:
        floor = Floor(stage.server.url)
        ways: dict[str, Callable[[], int]] = {
            SINGLE: lambda: one_by_one(few),
            f"from {THREADS} threads": lambda: from_threads(few),
            BULK: lambda: in_bulk(many),
            "from asyncio, one by one": lambda: asyncio.run(one_after_another(few)),
            f"from asyncio, {AT_ONCE} at once": lambda: asyncio.run(many_at_once(few)),
            "from asyncio, in bulk": lambda: asyncio.run(abulk(many)),
        }
        empty.enqueue()
        for _ in range(how.runs):
            for name, way in ways.items():
                began = perf_counter()
                count = way()
                rates.setdefault(name, []).append(count / (perf_counter() - began))
                stage.clear()
            rates.setdefault(BARE, []).append(bare(floor, few))
            stage.clear()
            rates.setdefault(PIPELINED, []).append(pipelined(floor, many))
            stage.clear()
        floor.close()
    return _answer({name: Spread.of(found) for name, found in rates.items()}, how)


def _answer(found: dict[str, Spread], how: How) -> Answer:
    table = Table(
        "submitting",
        ("how", "jobs/s", "of the bare loop"),
        note=f"{how.runs} runs in turns; bulk is compared with pipelines, the rest with single calls.",
        chart=Chart("how", "jobs/s"),
    )
    for name, rate in found.items():
        of = PIPELINED if name == PIPELINED or name.endswith(BULK) else BARE
        table.add(name, rate, rate.median / found[of].median)
    single = found[SINGLE].median / found[BARE].median
    bulk = found[BULK].median / found[PIPELINED].median
    return Answer(
        [table],
        [
            Target.at_least("submit one by one, of a bare EVALSHA loop", 0.8, single),
            Target.at_least("submit in bulk, of bare pipelines of 100", 1.0, bulk),
        ],
    )


def one_by_one(count: int) -> int:
    for _ in range(count):
        empty.enqueue()
    return count


def from_threads(count: int) -> int:
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(one_by_one, [count // THREADS] * THREADS))


def in_bulk(count: int) -> int:
    return len(app.enqueue_many(empty.message() for _ in range(count)))


async def one_after_another(count: int) -> int:
    for _ in range(count):
        await empty.aenqueue()
    return count


async def many_at_once(count: int) -> int:
    rounds = count // AT_ONCE
    for _ in range(rounds):
        await asyncio.gather(*(empty.aenqueue() for _ in range(AT_ONCE)))
    return rounds * AT_ONCE


async def abulk(count: int) -> int:
    return len(await app.aenqueue_many(empty.message() for _ in range(count)))


def bare(floor: Floor, count: int) -> float:
    requests = floor.enqueue("default", [empty.message() for _ in range(count)])
    began = perf_counter()
    for request in requests:
        floor.send(request)
    return count / (perf_counter() - began)


def pipelined(floor: Floor, count: int) -> float:
    requests = floor.enqueue("default", [empty.message() for _ in range(count)])
    began = perf_counter()
    floor.pipelined(requests)
    return count / (perf_counter() - began)


if __name__ == "__main__":
    main(ask, runs=5)
