"""How fast do jobs with heavy arguments run: 100 bytes, 10 KB, 1 MB?

python -m benchmarks.payloads [--json] [--runs N] [--quick]
"""

from __future__ import annotations

import os

from benchmarks.harness.answer import Answer, Chart, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import drain, submit
from benchmarks.harness.stage import Stage
from benchmarks.tasks import app, carry

SIZES = {"100 B": (100, 50_000), "10 KB": (10_000, 10_000), "1 MB": (1_000_000, 300)}


def ask(how: How) -> Answer:
    rates: dict[str, list[float]] = {name: [] for name in SIZES}
    with Stage(app) as stage:
        for _ in range(how.runs):
            for name, (size, most) in SIZES.items():
                count, data = how.size(most), os.urandom(size)
                submit(app, lambda data=data: carry.message(data), count)  # type: ignore[misc]
                rates[name].append(drain(stage, count, "--processes", "2").rate)
                stage.clear()
    table = Table(
        "payloads",
        ("size", "jobs/s", "MB/s"),
        note=f"random bytes, 2 processes, {how.runs} runs in turns.",
        chart=Chart("size", "jobs/s"),
    )
    for name, (size, _) in SIZES.items():
        found = rates[name]
        table.add(name, Spread.of(found), Spread.of(rate * size / 1e6 for rate in found))
    return Answer([table])


if __name__ == "__main__":
    main(ask)
