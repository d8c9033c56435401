"""What do limits cost, and are they kept?

    python -m benchmarks.limits [--json] [--runs N] [--quick]

The cost: empty jobs that no limit concerns, in a queue without limits and in one that has some; the
same with a rate far above what is reached, and with more places than are ever taken. The keeping:
four nodes and a rate, seen by somebody who watches the store; once in peace, once while nodes are
killed.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from random import Random
from time import monotonic, sleep

from benchmarks.harness.answer import Answer, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import Drained, drain, submit
from benchmarks.harness.stage import Node, Stage, until
from benchmarks.tasks import app, empty
from taskrunner import Task
from taskrunner.limits import Limit, Rate
from taskrunner.testing.grants import GrantWatch, excess

JOBS = 30_000
SECONDS = 20
NODES = 4
HIGH = "1000000/s burst 1000000"
RATES = ("200/s", "1000/s", "100/s burst 1")
BUCKET = f"task:{empty.name}"
CASES: dict[str, Task[[], None]] = {
    "no limits": empty,
    "no limits, in a queue with limits of another task": empty.options(queue="beside"),
    "rate_limit, never reached": empty.options(rate_limit=HIGH, queue="rate"),
    "max_running, never reached": empty.options(max_running=100_000, queue="running"),
    "both, by keys": empty.options(
        rate_limit=HIGH, rate_key="r", max_running=100_000, running_key="k", queue="keys"
    ),
}


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    found: dict[str, list[Drained]] = {case: [] for case in CASES}
    with Stage(app) as stage:
        for turn in range(how.runs):
            for case, task in CASES.items():
                found[case].append(_run(stage, task, f"{turn}", count))
        kept = _kept(stage, SECONDS / (5 if how.quick else 1))
    return Answer([_costs(found, count), kept])


def _run(stage: Stage, task: Task[[], None], turn: str, count: int) -> Drained:
    queue = f"{task.chosen.queue or 'plain'}-{turn}"
    task = task.options(queue=queue)
    if queue.startswith("beside"):
        app.broker.declare_limits([queue], {"another": Limit(Rate.parse("1/s"), 1)})  # type: ignore[attr-defined]
    submit(app, task.message, count)
    try:
        return drain(stage, count, "--processes", "2", queues=[queue])
    finally:
        stage.clear()


def _costs(found: dict[str, list[Drained]], count: int) -> Table:
    table = Table(
        "empty jobs",
        ("", "jobs/s", "of those without", "round trips per job"),
        note=f"{count:,} jobs, 2 processes, {len(found['no limits'])} runs in turns. Jobs that a"
        " limit concerns are given to processes two milliseconds in advance, not 25.",
    )
    plain = Spread.of(run.rate for run in found["no limits"]).median
    for case, runs in found.items():
        rate = Spread.of(run.rate for run in runs)
        trips = Spread.of(run.used.round_trips / run.jobs for run in runs)
        table.add(case, rate, rate.median / plain, trips)
    return table


def _kept(stage: Stage, seconds: float) -> Table:
    table = Table(
        f"{NODES} nodes and a rate, {seconds:g} s",
        ("rate", "nodes killed", "starts", "of the limit, %", "too many in any window"),
        note="Starts as the store stamps them. The limit is burst + rate * time; a window has too"
        " many where it has more than that. 0 or less: none has.",
    )
    for text in RATES:
        for kills in (0, 3):
            stage.clear()
            times, killed = _grants(stage, text, seconds, kills)
            rate = Rate.parse(text)
            limit = rate.burst - 1 + (times[-1] - times[0]) / rate.interval
            table.add(
                text, killed, len(times), 100 * len(times) / limit, round(excess(times, rate), 3)
            )
    return table


def _grants(stage: Stage, text: str, seconds: float, kills: int) -> tuple[list[float], int]:
    """When jobs were started, more of which wait than could be; and how many nodes were killed."""
    rate, random, killed = Rate.parse(text), Random(1), 0
    limited = empty.options(rate_limit=text)
    options = ("--processes", "1", "--lease", "3")
    with ExitStack() as stack:
        nodes = [stack.enter_context(stage.node(*options)) for _ in range(NODES)]
        until(lambda: len(app.broker.nodes()) >= NODES)
        with GrantWatch(stage.server.url, BUCKET) as watch:
            submit(app, limited.message, int(2 * seconds / rate.interval) + rate.burst)
            end = monotonic() + seconds
            for _ in range(kills):
                sleep(seconds / (kills + 2))
                _kill(victim := random.choice(nodes))
                nodes.remove(victim)
                nodes.append(stack.enter_context(stage.node(*options)))
                killed += 1
            sleep(max(0.0, end - monotonic()))
            times = list(watch.times)
    return times, killed


def _kill(node: Node) -> None:
    os.kill(node.pid, signal.SIGKILL)
    node.wait()


if __name__ == "__main__":
    main(ask)
