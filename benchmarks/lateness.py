"""How late do delayed jobs start, and what do schedules and far-away jobs cost an idle node?

    python -m benchmarks.lateness [--json] [--runs N] [--quick]

Lateness: from the moment a job was to start to the moment its task begins, by the clock of this
machine, which is also the store's. Single ones are far apart; the crowd waits from the start, and
falls due evenly over ten seconds. Runs are one: the crowd is its own sample.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import sleep, time

from benchmarks.harness.answer import Answer, Table, Target, share
from benchmarks.harness.ask import How, main
from benchmarks.harness.meters import Meter, proportional_mib
from benchmarks.harness.stage import Node, Stage, until
from benchmarks.tasks import app, begin, empty

SINGLES = 200
CROWD = 100_000
SPREAD_S = 10.0
FAR = 200_000
SCHEDULES = 1_000
WATCHED_S = 10.0
SETTLES_S = 7.0


def ask(how: How) -> Answer:
    with Stage(app) as stage, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with stage.ready_node("--processes", "2"):
            alone = _measured(singles, how.size(SINGLES), folder / "singles")
            together = _measured(crowd, how.size(CROWD), folder / "crowd")
        stage.clear()
        with stage.ready_node("--processes", "2") as node:
            upkeep = idle(stage, node, how)
    table = Table("how late delayed jobs start, in ms", ("what", "jobs", "p50", "p99", "max"))
    table.add("single delays of 50 ms to 2 s", len(alone), *_parts(alone))
    table.add("due over 10 s", len(together), *_parts(together))
    targets = [
        Target.at_most("single delayed jobs, p99 lateness", 10, _parts(alone)[1], " ms"),
        Target.at_most(f"{len(together):,} due over 10 s, p99", 50, _parts(together)[1], " ms"),
    ]
    return Answer([table, upkeep], targets)


def _measured(measure: Callable[[int, Path], None], count: int, path: Path) -> list[float]:
    measure(count, path)
    return sorted(1000 * float(late) for late in path.read_text().split())


def _parts(late: list[float]) -> list[float]:
    return [share(late, part) for part in (0.5, 0.99, 1)]


def singles(count: int, path: Path) -> None:
    """One after the other, so that few are on their way at the same time."""
    for _ in range(count):
        due = time() + random.uniform(0.05, 2.0)
        begin.options(eta=datetime.fromtimestamp(due, UTC)).enqueue(str(path), due)
        sleep(0.05)
    until(lambda: path.exists() and path.read_bytes().count(b"\n") == count)


def crowd(count: int, path: Path) -> None:
    """As many as that, due evenly over ten seconds."""
    start = time() + 5 + count / 10_000
    dues = [start + SPREAD_S * n / count for n in range(count)]
    for at in range(0, count, 10_000):
        app.enqueue_many(
            begin.options(eta=datetime.fromtimestamp(due, UTC)).message(str(path), due)
            for due in dues[at : at + 10_000]
        )
    until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, pause=0.1)


def idle(stage: Stage, node: Node, how: How) -> Table:
    """What a node costs that only waits for things which are far away."""
    far, schedules = how.size(FAR), how.size(SCHEDULES)
    before = proportional_mib(node.pid)
    for at in range(0, far, 10_000):
        delays = range(at, min(at + 10_000, far))
        app.enqueue_many(empty.options(delay=86_400.0 + delay).message() for delay in delays)
    for n in range(schedules):
        app.schedules.add(f"schedule-{n}", empty, cron=f"{n % 60} {n % 24} 1 1 *")
    sleep(SETTLES_S)
    meter = Meter(stage, node.roles())
    start = meter.read()
    sleep(WATCHED_S)
    used = meter.used(start)
    table = Table(
        "a node that waits for things far away",
        ("schedules", "delayed jobs", "round trips/s", "CPU %", "MiB before", "MiB after"),
        note="memory of the supervisor; the jobs are due in a day and more.",
    )
    cpu = 100 * used.cpu["supervisor"] / used.at
    after = proportional_mib(node.pid)
    table.add(schedules, far, used.round_trips / used.at, cpu, before, after)
    return table


if __name__ == "__main__":
    main(ask, runs=1)
