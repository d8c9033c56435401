"""How long until work goes on, after each kind of death?

    python -m benchmarks.recovery [--runs 3] [--lease 15]

Each time is from the fault to the moment at which a job runs (again) that the fault had stopped, by the
clock that all processes of a host share. "Promised" is what the documentation says.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.table import Table

from benchmarks import tasks
from taskrunner.job import Job
from taskrunner.testing.fleet import Fleet, Node
from taskrunner.testing.processes import kill, pause
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually

PATIENCE_S = 120.0
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Question:
    """A fault, and what was promised of it, in seconds."""

    what: str
    ask: Callable[[Bench], float]
    promised: str


class Bench:
    """A Redis that keeps everything, a proxy in front of it, and nodes; all of them new."""

    def __init__(self, folder: Path, *, lease: float) -> None:
        self.server = RedisServer(appendonly=True)
        self.server.start()
        self.proxy = Proxy(self.server.url)
        self.proxy.start()
        self.fleet = Fleet("benchmarks.tasks:app", broker=self.proxy.url, folder=folder, root=ROOT)
        self.lease = lease
        self.client = self.fleet.app()
        self._stamps = folder / "stamps"

    def close(self) -> None:
        self.fleet.end()
        self.client.close()
        self.proxy.close()
        self.server.close()

    def node(self, *options: str) -> Node:
        node = self.fleet.start("--processes", "1", "--lease", f"{self.lease:g}", *options)
        eventually(lambda: "started" in node.log or node.children, timeout=PATIENCE_S)
        return node

    def running_job(self) -> None:
        """A job that runs, and would run for long."""
        self.client.enqueue(tasks.linger.name, args=(str(self._stamps),))
        self.started(1)

    def started(self, times: int) -> float:
        """When that job was started, so many times by now; waits for it."""
        stamps = eventually(lambda: self._read(times), timeout=PATIENCE_S)
        return stamps[times - 1]

    def _read(self, times: int) -> list[float]:
        text = self._stamps.read_text() if self._stamps.exists() else ""
        stamps = [float(line) for line in text.splitlines()]
        return stamps if len(stamps) >= times else []

    def stamp(self) -> Job[object]:
        """Submit a job whose result is the time at which it ran."""
        return self.client.enqueue(tasks.stamp.name, args=("",))


def killed_child(bench: Bench) -> float:
    node = bench.node()
    bench.running_job()
    began = monotonic()
    kill(node.children[0])
    return bench.started(2) - began


def killed_fork_server(bench: Bench) -> float:
    node = bench.node()
    bench.running_job()
    began = monotonic()
    kill(node.fork_server)
    return bench.started(2) - began


def restarted_supervisor(bench: Bench) -> float:
    """Includes the start of the interpreter and the import of the application."""
    node = bench.node()
    bench.running_job()
    node.crash()
    began = monotonic()
    bench.node()
    return bench.started(2) - began


def killed_beside_another(bench: Bench) -> float:
    node = bench.node()
    bench.running_job()
    bench.node()
    bench.stamp().result(timeout=PATIENCE_S)
    began = monotonic()
    node.crash()
    return bench.started(2) - began


def vanished_host(bench: Bench) -> float:
    """Nothing of it can be proved: all its processes stand still. The lease has to run out."""
    node = bench.node()
    bench.running_job()
    bench.node()
    bench.stamp().result(timeout=PATIENCE_S)
    began = monotonic()
    for pid in (node.pid, *node.below):
        pause(pid)
    return bench.started(2) - began


def redis_restarted(bench: Bench) -> float:
    """From the moment at which it answers again, after five seconds."""
    bench.node()
    bench.stamp().result(timeout=PATIENCE_S)
    bench.server.kill()
    began = monotonic()
    eventually(lambda: monotonic() - began > 5, timeout=10)
    bench.server.start()
    began = monotonic()
    return float(str(bench.stamp().result(timeout=PATIENCE_S))) - began


def connections_reset(bench: Bench) -> float:
    bench.node()
    bench.stamp().result(timeout=PATIENCE_S)
    began = monotonic()
    bench.proxy.cut()
    return float(str(bench.stamp().result(timeout=PATIENCE_S))) - began


def connections_forgotten(bench: Bench) -> float:
    """The node's connections are dropped without a word; the client's are new."""
    bench.node()
    bench.stamp().result(timeout=PATIENCE_S)
    bench.client.close()
    began = monotonic()
    bench.proxy.forget()
    return float(str(bench.stamp().result(timeout=PATIENCE_S))) - began


QUESTIONS = (
    Question("a child is killed", killed_child, "1"),
    Question("the fork server is killed", killed_fork_server, "an import"),
    Question("the supervisor is killed, another starts", restarted_supervisor, "a start"),
    Question("the supervisor is killed beside another of its host", killed_beside_another, "5"),
    Question("a host vanishes, another is up", vanished_host, "lease + 2"),
    Question("Redis comes back", redis_restarted, "2"),
    Question("all connections are reset", connections_reset, "2"),
    Question("all connections die without a word", connections_forgotten, "25"),
)


def main() -> None:
    options = _options()
    table = Table("after", "median s", "longest s", "promised s")
    for question in QUESTIONS:
        times = [_measured(question, options.lease) for _ in range(options.runs)]
        median, longest = statistics.median(times), max(times)
        table.add_row(question.what, f"{median:.2f}", f"{longest:.2f}", question.promised)
    Console().print(table, f"lease {options.lease:g} s, {options.runs} runs")


def _measured(question: Question, lease: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), lease=lease)
        try:
            return question.ask(bench)
        finally:
            bench.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lease", type=float, default=15.0, help="seconds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
