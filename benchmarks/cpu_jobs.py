"""How much of two cores do jobs of 2 ms of CPU get?

    python -m benchmarks.cpu_jobs [--json] [--runs N] [--quick]

Ideal is what as many loops, each alone in a process and with no queue at all, reach at the same
time on this machine: with fewer idle cores than processes nobody could do better.

Two kinds of jobs. One computes for 2 ms by the clock, as most benchmarks' jobs do; what others take of
its core meanwhile is not missed. The other uses 2 ms of CPU time: with as many processes as cores,
everything that Redis, the supervisor and the children take for their own work is taken from the jobs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import drain, submit
from benchmarks.harness.stage import ROOT, Stage
from benchmarks.tasks import app, keep_busy, spin
from taskrunner import Task

JOBS: Final = 5_000
PROCESSES: Final = 2
SECONDS: Final = 0.002
LOOK_S: Final = 0.03
KINDS: Final[Mapping[str, Task[Any, None]]] = {"by the clock": keep_busy, "of CPU time": spin}


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    ours: dict[str, list[float]] = {kind: [] for kind in KINDS}
    ideals: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with Stage(app) as stage:
        for _ in range(how.runs):
            for kind, task in KINDS.items():
                submit(app, partial(task.message, SECONDS), count)
                drained = drain(stage, count, "--processes", str(PROCESSES), look_s=LOOK_S)
                ours[kind].append(drained.rate)
                stage.clear()
                ideals[kind].append(ideal(task.name, count // PROCESSES))
    table = Table(
        "jobs of 2 ms",
        ("what", "jobs/s", "of ideal"),
        note=f"{count:,} jobs, {PROCESSES} processes, {how.runs} runs in turns.",
        chart=Chart("what", "jobs/s"),
    )
    targets = []
    for kind in KINDS:
        rate, best = Spread.of(ours[kind]), Spread.of(ideals[kind])
        share = rate.median / best.median
        table.add(f"2 ms {kind}", rate, share)
        table.add(f"2 ms {kind}, ideal: bare loops", best, 1.0)
        targets.append(Target.at_least(f"jobs of 2 ms {kind}, of ideal", 0.95, share))
    return Answer([table], targets)


def ideal(task: str, each: int) -> float:
    """Jobs a second of loops without a queue."""
    command = [sys.executable, "-m", "benchmarks.harness.loop", task, str(each), str(SECONDS)]
    loops = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    times = [float(loop.communicate()[0]) for loop in loops]
    return sum(each / seconds for seconds in times)


if __name__ == "__main__":
    main(ask)
