"""What do more children bring: for empty jobs, and for jobs that wait 10 ms?

    python -m benchmarks.processes [--json] [--runs N] [--quick]

Empty jobs are bound by the cores there are; jobs that wait by the children there are.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness.answer import Answer, Chart, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import drain, submit
from benchmarks.harness.stage import Stage
from benchmarks.tasks import app, empty, nap
from taskrunner.message import Message

CHILDREN = (1, 2, 4, 8, 16)
EMPTY = 30_000
WAITING_EACH = 200
SECONDS = 0.01


def ask(how: How) -> Answer:
    quick: dict[int, list[float]] = {number: [] for number in CHILDREN}
    waiting: dict[int, list[float]] = {number: [] for number in CHILDREN}
    with Stage(app) as stage:
        for _ in range(how.runs):
            for number in CHILDREN:
                quick[number].append(_rate(stage, number, empty.message, how.size(EMPTY)))
                count = max(how.size(WAITING_EACH) * number, 20)
                waiting[number].append(_rate(stage, number, lambda: nap.message(SECONDS), count))
    table = Table(
        "children",
        ("children", "empty jobs/s", "jobs of 10 ms/s", "of ideal"),
        note=f"ideal: 100 jobs of 10 ms a second in each child. {how.runs} runs in turns.",
        chart=Chart("children", "jobs of 10 ms/s", "line"),
    )
    for number in CHILDREN:
        rate = Spread.of(waiting[number])
        table.add(number, Spread.of(quick[number]), rate, rate.median * SECONDS / number)
    return Answer([table])


def _rate(stage: Stage, children: int, make: Callable[[], Message], count: int) -> float:
    submit(app, make, count)
    rate = drain(stage, count, "--processes", str(children)).rate
    stage.clear()
    return rate


if __name__ == "__main__":
    main(ask)
