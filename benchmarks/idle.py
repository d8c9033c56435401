"""What does an idle node cost: round trips to Redis and CPU seconds?

    python -m benchmarks.idle [--seconds 20]

Round trips are the commands that MONITOR shows and that no script sent.
"""

from __future__ import annotations

import argparse
import os
import threading
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import redis
from rich.console import Console
from rich.table import Table

from benchmarks import node as nodes
from benchmarks.tasks import empty


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    with nodes.redis() as url, nodes.node("benchmarks.tasks:app", "--processes", "2") as process:
        empty.enqueue().result(timeout=60)
        sleep(2)
        commands: Counter[str] = Counter()
        threading.Thread(target=_watch, args=(url, commands), daemon=True).start()
        before = _cpu(process.pid)
        began = monotonic()
        sleep(seconds)
        took = monotonic() - began
        cpu = _cpu(process.pid) - before
    table = Table("seconds", "commands/s", "CPU % of the supervisor")
    count = sum(commands.values())
    table.add_row(f"{took:.0f}", f"{count / took:.2f}", f"{100 * cpu / took:.2f}")
    Console().print(table, dict(commands.most_common(12)))


def _watch(url: str, commands: Counter[str]) -> None:
    client = redis.Redis.from_url(url)
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        for entry in monitor.listen():
            if entry and entry["client_type"] != "lua":
                words = entry["command"].split()
                commands[" ".join(words[:1])] += 1


def _cpu(pid: int) -> float:
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rfind(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
