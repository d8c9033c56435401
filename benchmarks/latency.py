"""How long from `enqueue` to the start of the task, on an idle node?

python -m benchmarks.latency [--seconds 5] [--every 5]
"""

from __future__ import annotations

import argparse
from time import monotonic, sleep

from rich.console import Console
from rich.table import Table

from benchmarks import node as nodes
from benchmarks.tasks import stamp


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--every", type=float, default=5.0, help="milliseconds between jobs")
    options = parser.parse_args()
    with nodes.redis(), nodes.node("benchmarks.tasks:app", "--processes", "2"):
        stamp.enqueue("").result(timeout=60)
        jobs = []
        end = monotonic() + options.seconds
        while (now := monotonic()) < end:
            jobs.append((now, stamp.enqueue("")))
            sleep(max(0.0, options.every / 1000 - (monotonic() - now)))
        waits = sorted(1000 * (job.result(timeout=30) - now) for now, job in jobs)
    table = Table("jobs", "p50 ms", "p95 ms", "p99 ms", "max ms")
    table.add_row(str(len(waits)), *(f"{_at(waits, share):.2f}" for share in (0.5, 0.95, 0.99, 1)))
    Console().print(table)


def _at(waits: list[float], share: float) -> float:
    return waits[min(len(waits) - 1, int(share * len(waits)))]


if __name__ == "__main__":
    main()
