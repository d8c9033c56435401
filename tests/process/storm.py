"""Supervisors are killed, stopped and started at random while schedules fall due every second.

    python -m tests.process.storm [--seconds 60] [--schedules 20] [--seed 1]

Every slot must have been submitted, and by one job only. A job may run twice, since its node is killed
under it: two lines of one id. Two ids for one slot would be a slot that was submitted twice.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from taskrunner.testing.fleet import Fleet, Node
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually

TARGET = "tests.process.apps.timed:app"
ROOT = Path(__file__).parents[2]
NODES = 3
OPTIONS = ("--processes", "1", "--lease", "2", "--log-level", "warning")


@dataclass
class Report:
    """What came of a storm."""

    slots: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    ran_twice: int = 0
    """jobs whose node was killed under them"""
    done: Mapping[str, int] = field(default_factory=dict)
    """what was done to nodes, and how often"""

    @property
    def is_good(self) -> bool:
        return self.slots > 0 and not self.missing and not self.doubled


class Storm:
    """One run. Its schedules catch up on all, since for moments nobody may be alive."""

    def __init__(self, fleet: Fleet, *, schedules: int, seed: int) -> None:
        self.fleet = fleet
        self.path = fleet.folder / "slots"
        self.names = [f"s{n}" for n in range(schedules)]
        self.random = random.Random(seed)
        self.alive: list[Node] = []
        self.stopped: list[Node] = []
        self.done: dict[str, int] = defaultdict(int)
        self.app = fleet.app()

    def run(self, seconds: float) -> Report:
        for _ in range(NODES):
            self.alive.append(self.fleet.start(*OPTIONS))
        for name in self.names:
            self.app.schedules.add(
                *(name, "record", (str(self.path),)),
                every=1.0,
                catch_up="all",
                max_catch_up=1000,
                retention=0,
            )
        eventually(lambda: len(self.seen()) >= len(self.names), timeout=60)
        # One stands still for longer than any record of a job lives.
        self.still(self.alive[0])
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.disturb()
            self.pause(self.random.uniform(0.2, 1.0))
        for node in self.stopped:
            node.resume()
        self.pause(2.0)
        for name in self.names:
            self.app.schedules.pause(name)
        return self.report()

    def pause(self, seconds: float) -> None:
        """Let the storm go on."""
        threading.Event().wait(seconds)

    def disturb(self) -> None:
        choice = self.random.random()
        if len(self.alive) + len(self.stopped) < NODES or not self.alive:
            self.alive.append(self.fleet.start(*OPTIONS))
            self.done["started"] += 1
        elif choice < 0.5:
            self.alive.pop(self.random.randrange(len(self.alive))).crash()
            self.done["killed"] += 1
        elif choice < 0.7:
            self.alive.pop(self.random.randrange(len(self.alive))).terminate()
            self.done["told to end"] += 1
        elif len(self.stopped) < 2:
            self.still(self.random.choice(self.alive))
        elif self.random.random() < 0.5:
            node = self.stopped.pop()
            node.resume()
            self.alive.append(node)
            self.done["resumed"] += 1

    def still(self, node: Node) -> None:
        node.pause()
        self.alive.remove(node)
        self.stopped.insert(0, node)
        self.done["stopped"] += 1

    def seen(self) -> dict[tuple[str, str], list[str]]:
        """The ids of jobs that ran, by schedule and slot."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            schedule, slot, job_id = line.split()
            found[schedule, slot].append(job_id)
        return found

    def report(self) -> Report:
        lasts = self.app.broker.slots("default", self.names)
        last = {name: record.last for name, record in zip(self.names, lasts, strict=True)}

        def is_complete() -> bool:
            return not missing_slots(self.seen(), last)

        with contextlib.suppress(AssertionError):
            eventually(is_complete, timeout=60)
        seen = self.seen()
        return Report(
            slots=len(seen),
            missing=missing_slots(seen, last),
            doubled=[f"{name} {slot}" for (name, slot), ids in seen.items() if len(set(ids)) > 1],
            ran_twice=sum(len(ids) > len(set(ids)) for ids in seen.values()),
            done=dict(self.done),
        )


def missing_slots(
    seen: Mapping[tuple[str, str], list[str]], last: Mapping[str, float]
) -> list[str]:
    """Seconds between the first slot that ran and the last that was claimed that are not there."""
    slots: dict[str, set[int]] = defaultdict(set)
    for name, slot in seen:
        slots[name].add(round(datetime.fromisoformat(slot).timestamp()))
    return [
        f"{name} {second}"
        for name, until in last.items()
        for second in range(min(slots[name], default=0), round(until) + 1)
        if second not in slots[name]
    ]


def storm(url: str, folder: Path, *, seconds: float, schedules: int, seed: int) -> Report:
    with Fleet(TARGET, broker=url, folder=folder, root=ROOT) as fleet:
        return Storm(fleet, schedules=schedules, seed=seed).run(seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--schedules", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with RedisServer() as server, tempfile.TemporaryDirectory() as folder:
        report = storm(
            server.url,
            Path(folder),
            seconds=options.seconds,
            schedules=options.schedules,
            seed=options.seed,
        )
    table = Table("slots", "missing", "doubled", "jobs run again", "what was done to nodes")
    done = ", ".join(f"{count} {what}" for what, count in sorted(report.done.items()))
    counts = (report.slots, len(report.missing), len(report.doubled), report.ran_twice)
    table.add_row(*map(str, counts), done)
    Console().print(table)
    raise SystemExit(0 if report.is_good else 1)


if __name__ == "__main__":
    main()
