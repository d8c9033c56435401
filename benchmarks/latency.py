"""How long from `enqueue` to the start of the task: on an idle node, and on one that is half busy?

    python -m benchmarks.latency [--json] [--runs N] [--quick]

A job every 5 ms. In turns with the bare chain: the same scripts, wake and pipe with nothing around
them. Half busy: jobs of 2 ms of CPU beside it that take half of what two children have.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target, share
from benchmarks.harness.ask import How, main
from benchmarks.harness.chain import Chain, chain
from benchmarks.harness.stage import PATIENCE_S, ROOT, Stage
from benchmarks.tasks import app, stamp
from taskrunner import Job

JOBS = 1000
EVERY_S = 0.005
BUSY_JOB_S = 0.002
BUSY_RATE = 500
PARTS = {"p50 ms": 0.5, "p95 ms": 0.95, "p99 ms": 0.99, "max ms": 1.0}
IDLE, BARE, BUSY = "idle node", "bare chain", "half-loaded node"


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    runs: dict[str, list[list[float]]] = {IDLE: [], BARE: [], BUSY: []}
    with Stage(app) as stage, stage.ready_node("--processes", "2"), chain(stage) as bare:
        warm = count // 10
        ours(warm)
        bare_waits(bare, warm)
        for _ in range(how.runs):
            runs[IDLE].append(ours(count))
            runs[BARE].append(bare_waits(bare, count))
        with load():
            ours(warm)
            runs[BUSY] += [ours(count) for _ in range(how.runs)]
    table = Table(
        "from enqueue to start, a job every 5 ms",
        ("what", *PARTS),
        note=f"{count:,} jobs in each of {how.runs} runs, in turns.",
        chart=Chart("what", "p50 ms"),
    )
    spreads = {name: _spreads(found) for name, found in runs.items()}
    for name, found in spreads.items():
        table.add(name, *found)
    return Answer([table], _targets(spreads))


def _spreads(runs: list[list[float]]) -> list[Spread]:
    return [Spread.of(1000 * share(waits, part) for waits in runs) for part in PARTS.values()]


def _targets(spreads: dict[str, list[Spread]]) -> list[Target]:
    (p50, _, p99, _), (bare, *_) = spreads[IDLE], spreads[BARE]
    return [
        Target.at_most("start latency, idle, p50", 0.8, p50.median, " ms"),
        Target.at_most("start latency, idle, p99", 3, p99.median, " ms"),
        Target.at_most(
            "start latency, idle, p50, of the bare chain", 1.25, p50.median / bare.median
        ),
    ]


def paced(count: int, submit: Callable[[], None]) -> list[float]:
    """Submit one every 5 ms; when each submit began."""
    begins = []
    for _ in range(count):
        began = monotonic()
        submit()
        begins.append(began)
        sleep(max(0.0, EVERY_S - (monotonic() - began)))
    return begins


def ours(count: int) -> list[float]:
    """Waits of jobs of taskrunner in seconds, shortest first."""
    jobs: list[Job[float]] = []
    begins = paced(count, lambda: jobs.append(stamp.enqueue("")))
    starts = [job.result(timeout=PATIENCE_S) for job in jobs]
    return sorted(start - began for start, began in zip(starts, begins, strict=True))


def bare_waits(bare: Chain, count: int) -> list[float]:
    """The same of the bare chain."""
    begins = paced(count, bare.submit)
    return sorted(start - began for start, began in zip(bare.started(count), begins, strict=True))


@contextmanager
def load() -> Iterator[None]:
    """Keep half of two children busy."""
    arguments = [str(BUSY_RATE), str(BUSY_JOB_S)]
    command = [sys.executable, "-m", "benchmarks.harness.load", *arguments]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        sleep(1)
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(ask)
