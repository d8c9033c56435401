"""How many async jobs that wait 10 ms does a node run, with a hundred at once in each process?

    python -m benchmarks.async_jobs [--json] [--runs N] [--quick]

Ideal: every place always taken, so 10,000 jobs a second in each process.
"""

from __future__ import annotations

from benchmarks.harness.answer import Answer, Chart, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import Drained, drain, submit
from benchmarks.harness.stage import Stage
from benchmarks.tasks import anap, app

JOBS = 50_000
CONCURRENCY = 100
SECONDS = 0.01
PROCESSES = (1, 2)


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    found: dict[int, list[Drained]] = {number: [] for number in PROCESSES}
    with Stage(app) as stage:
        for _ in range(how.runs):
            for number, runs in found.items():
                submit(app, lambda: anap.message(SECONDS), count)
                options = ("--processes", str(number), "--concurrency", str(CONCURRENCY))
                runs.append(drain(stage, count, *options))
                stage.clear()
    table = Table(
        "async jobs that wait 10 ms, concurrency 100",
        ("processes", "jobs/s", "of ideal", "CPU s of children per 10,000"),
        note=f"{count:,} jobs, {how.runs} runs in turns.",
        chart=Chart("processes", "jobs/s"),
    )
    for number, runs in found.items():
        rate = Spread.of(run.rate for run in runs)
        cpu = Spread.of(run.used.cpu["children"] * 10_000 / run.jobs for run in runs)
        table.add(number, rate, rate.median / (number * CONCURRENCY / SECONDS), cpu)
    return Answer([table])


if __name__ == "__main__":
    main(ask)
