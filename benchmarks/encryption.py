"""What does encryption cost? Jobs a second of one node with keys, beside the same without.

    python -m benchmarks.encryption [--jobs 50000] [--processes 2] [--runs 3]

Plain and encrypted runs take turns, so that what the machine does besides hits both.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from benchmarks import node as nodes
from benchmarks.tasks import app
from benchmarks.throughput import one_run
from taskrunner.config import Config
from taskrunner.crypto import Key

VARIABLE = "TASKRUNNER_ENCRYPTION_KEYS"


def main() -> None:
    options = _options()
    table = Table("jobs", "submitted/s", "run/s", title=f"median of {options.runs} runs")
    found: dict[str, list[tuple[float, float]]] = {"plain": [], "encrypted": []}
    with nodes.redis():
        for _ in range(options.runs):
            for kind, rates in found.items():
                with keys(Key.new().text if kind == "encrypted" else ""):
                    rates.append(one_run(options.jobs, options.processes))
    submitted, run = ([_median(rates, at) for rates in found.values()] for at in (0, 1))
    for at, kind in enumerate(found):
        table.add_row(kind, f"{submitted[at]:,.0f}", f"{run[at]:,.0f}")
    table.add_row("ratio", f"{submitted[1] / submitted[0]:.2f}", f"{run[1] / run[0]:.2f}")
    Console().print(table)


def _median(rates: list[tuple[float, float]], at: int) -> float:
    return statistics.median(rate[at] for rate in rates)


@contextmanager
def keys(text: str) -> Iterator[None]:
    """This process and the nodes that it starts have these keys."""
    os.environ[VARIABLE] = text
    app.adopt(Config.load(code=app.settings))
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
