"""How much of two cores do jobs of 2 ms of CPU get?

    python -m benchmarks.cpu_jobs [--json] [--runs N] [--quick]

Ideal is what as many loops, each alone in a process and with no queue at all, reach at the same
time on this machine: with fewer idle cores than processes nobody could do better.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import drain, submit
from benchmarks.harness.stage import ROOT, Stage
from benchmarks.tasks import app, spin

JOBS = 5_000
PROCESSES = 2
SECONDS = 0.002


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    ours, ideals = [], []
    with Stage(app) as stage:
        for _ in range(how.runs):
            submit(app, lambda: spin.message(SECONDS), count)
            ours.append(drain(stage, count, "--processes", str(PROCESSES)).rate)
            stage.clear()
            ideals.append(ideal(count // PROCESSES))
    rate, best = Spread.of(ours), Spread.of(ideals)
    table = Table(
        "jobs of 2 ms of CPU",
        ("what", "jobs/s", "of ideal"),
        note=f"{count:,} jobs, {PROCESSES} processes, {how.runs} runs in turns.",
        chart=Chart("what", "jobs/s"),
    )
    share = rate.median / best.median
    table.add("taskrunner", rate, share)
    table.add("ideal: bare loops", best, 1.0)
    return Answer([table], [Target.at_least("2 ms CPU jobs, of ideal", 0.95, share)])


def ideal(each: int) -> float:
    """Jobs a second of loops without a queue."""
    command = [sys.executable, "-m", "benchmarks.harness.loop", str(each), str(SECONDS)]
    loops = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    times = [float(loop.communicate()[0]) for loop in loops]
    return sum(each / seconds for seconds in times)


if __name__ == "__main__":
    main(ask)
