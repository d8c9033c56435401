"""How late do delayed jobs start, and what do schedules and far-away jobs cost an idle node?

    python -m benchmarks.lateness [--singles 500] [--crowd 100000] [--far 1000000]

Lateness: from the moment a job was to start to the moment its task begins, by the clock of this
machine, which is also the store's.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep, time

from rich.console import Console
from rich.table import Table

from benchmarks import node as nodes
from benchmarks.tasks import app, begin, empty
from taskrunner.testing.wire import CommandCounter

TARGET = "benchmarks.tasks:app"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--singles", type=int, default=500)
    parser.add_argument("--crowd", type=int, default=100_000)
    parser.add_argument("--far", type=int, default=1_000_000)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="how long an idle node is watched"
    )
    options = parser.parse_args()
    with nodes.redis() as url, tempfile.TemporaryDirectory() as folder:
        if options.singles or options.crowd:
            with nodes.node(TARGET, "--processes", "2"):
                empty.enqueue().result(timeout=60)
                Console().print(lateness(options.singles, options.crowd, Path(folder)))
        if options.far or options.schedules:
            Console().print(idle(url, options.schedules, options.far, options.seconds))


def lateness(alone: int, together: int, folder: Path) -> Table:
    """How late jobs start that were delayed."""
    table = Table("what", "jobs", "p50 ms", "p99 ms", "max ms")
    for name, measure, count in (
        ("single delays of 50 ms to 5 s", singles, alone),
        ("due over 10 s", crowd, together),
    ):
        if count:
            path = folder / measure.__name__
            measure(count, path)
            late = sorted(map(float, path.read_text().split()))
            shown = (f"{1000 * _at(late, share):.1f}" for share in (0.5, 0.99, 1))
            table.add_row(name, str(len(late)), *shown)
    return table


def singles(count: int, path: Path) -> None:
    """One after the other, so that few are on their way at the same time."""
    for _ in range(count):
        due = time() + random.uniform(0.05, 5.0)
        begin.options(eta=datetime.fromtimestamp(due, UTC)).enqueue(str(path), due)
        sleep(0.1)
    nodes.until(lambda: path.read_bytes().count(b"\n") == count)


def crowd(count: int, path: Path) -> None:
    """As many as that, due evenly over ten seconds."""
    start = time() + 5 + count / 10_000
    dues = [start + 10 * n / count for n in range(count)]
    for at in range(0, count, 10_000):
        app.enqueue_many(
            begin.options(eta=datetime.fromtimestamp(due, UTC)).message(str(path), due)
            for due in dues[at : at + 10_000]
        )
    nodes.until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, timeout=180)


def idle(url: str, schedules: int, far: int, seconds: float) -> Table:
    """What a node costs that has nothing to do."""
    table = Table(
        "schedules", "far-away jobs", "commands/s", "CPU %", "memory MiB, before and after"
    )
    with nodes.node(TARGET, "--processes", "2") as process:
        empty.enqueue().result(timeout=60)
        before = _memory(process.pid)
        for at in range(0, far, 10_000):
            app.enqueue_many(
                empty.options(delay=86_400.0 + at + n).message()
                for n in range(min(10_000, far - at))
            )
        for n in range(schedules):
            app.schedules.add(f"schedule-{n}", empty, cron=f"{n % 60} {n % 24} 1 1 *")
        sleep(7)
        with CommandCounter(url) as commands:
            cpu, began = _cpu(process.pid), monotonic()
            sleep(seconds)
            cpu, took = _cpu(process.pid) - cpu, monotonic() - began
        memory = f"{before:.0f}, {_memory(process.pid):.0f}"
    rate, share = f"{commands.total / took:.2f}", f"{100 * cpu / took:.2f}"
    table.add_row(str(schedules), str(far), rate, share, memory)
    Console().print(dict(commands.by_name.most_common(12)))
    return table


def _cpu(pid: int) -> float:
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rfind(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    main()
