"""Does it matter among how many queues the jobs are?

    python -m benchmarks.queues [--json] [--runs N] [--quick]

One node serves all of them, as a node does that is not told which.
"""

from __future__ import annotations

from itertools import cycle

from benchmarks.harness.answer import Answer, Chart, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import Drained, drain, submit
from benchmarks.harness.stage import Stage
from benchmarks.tasks import app, empty

JOBS = 50_000
QUEUES = (1, 2, 5, 10, 20, 50, 100)


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    found: dict[int, list[Drained]] = {number: [] for number in QUEUES}
    with Stage(app) as stage:
        for turn in range(how.runs):
            for number, runs in found.items():
                names = [f"queue-{turn}-{number}-{at}" for at in range(number)]
                makers = cycle([empty.options(queue=name) for name in names])
                submit(app, lambda makers=makers: next(makers).message(), count)  # type: ignore[misc]
                runs.append(drain(stage, count, "--processes", "2", queues=names))
                stage.clear()
    table = Table(
        "empty jobs in many queues",
        ("queues", "jobs/s", "round trips per job"),
        note=f"{count:,} jobs in all, 2 processes, {how.runs} runs in turns.",
        chart=Chart("queues", "jobs/s", "line"),
    )
    for number, runs in found.items():
        trips = Spread.of(run.used.round_trips / run.jobs for run in runs)
        table.add(number, Spread.of(run.rate for run in runs), trips)
    return Answer([table])


if __name__ == "__main__":
    main(ask)
