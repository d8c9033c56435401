"""What does an idle node cost: round trips to Redis and CPU seconds?

    python -m benchmarks.idle [--seconds 20]

Round trips are the commands that MONITOR shows and that no script sent.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import monotonic, sleep

from rich.console import Console
from rich.table import Table

from benchmarks import node as nodes
from benchmarks.tasks import empty
from taskrunner.testing.wire import CommandCounter


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    with nodes.redis() as url, nodes.node("benchmarks.tasks:app", "--processes", "2") as process:
        empty.enqueue().result(timeout=60)
        sleep(2)
        with CommandCounter(url) as commands:
            before = _cpu(process.pid)
            began = monotonic()
            sleep(seconds)
            took = monotonic() - began
            cpu = _cpu(process.pid) - before
    table = Table("seconds", "commands/s", "CPU % of the supervisor")
    table.add_row(f"{took:.0f}", f"{commands.total / took:.2f}", f"{100 * cpu / took:.2f}")
    Console().print(table, dict(commands.by_name.most_common(12)))


def _cpu(pid: int) -> float:
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rfind(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
