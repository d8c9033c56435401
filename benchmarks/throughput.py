"""How many empty jobs a second does one node run, state and result kept?

    python -m benchmarks.throughput [--jobs 100000] [--processes 2] [--runs 3]

Timed by the store's own records, from the first start to the last settle.
"""

from __future__ import annotations

import argparse
import statistics
from time import perf_counter

from rich.console import Console
from rich.table import Table

from benchmarks import node as nodes
from benchmarks.tasks import app, empty
from taskrunner import State
from taskrunner.brokers.base import JobKey


def main() -> None:
    options = _options()
    table = Table("run", "submitted/s", "run/s")
    rates = []
    with nodes.redis():
        for number in range(options.runs):
            submitted, rate = one_run(options.jobs, options.processes)
            rates.append(rate)
            table.add_row(str(number + 1), f"{submitted:,.0f}", f"{rate:,.0f}")
    table.add_row("median", "", f"{statistics.median(rates):,.0f}")
    Console().print(table)


def one_run(count: int, processes: int) -> tuple[float, float]:
    """Jobs submitted and jobs run a second."""
    began = perf_counter()
    messages = [empty.message() for _ in range(count)]
    jobs = app.enqueue_many(messages)
    submitted = count / (perf_counter() - began)
    before = _succeeded()
    with nodes.node("benchmarks.tasks:app", "--processes", str(processes)):
        nodes.until(lambda: _succeeded() - before >= count)
    keys = [JobKey(job.queue, job.id) for job in jobs]
    records = [
        record
        for at in range(0, count, 1000)
        for record in app.broker.get(keys[at : at + 1000])
        if record is not None
    ]
    assert all(record.state is State.SUCCEEDED for record in records)
    first = min(record.started_at or 0.0 for record in records)
    last = max(record.finished_at or 0.0 for record in records)
    return submitted, count / (last - first)


def _succeeded() -> int:
    return sum(stats.processed for stats in app.broker.stats(["default"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
