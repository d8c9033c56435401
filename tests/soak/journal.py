"""What is written down during a soak: runs by the tasks, faults by whoever makes them.

    a task     ──▶ runs      `start` when a run begins, `end` or `raise` when it does not break off
    the chaos  ──▶ faults    what was done to whom, from when to when

All times are of the clock that every process of a host shares.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

FOREVER = float("inf")


@dataclass(slots=True)
class Run:
    """One run of a job, as its task saw it."""

    job: str
    slot: str
    """the node, by the name it was started under"""
    pid: int
    began: float
    ended: float | None = None
    raised: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done."""

    kind: str
    began: float
    ended: float
    slot: str | None = None
    """the node it was done to; None: all of them"""
    pids: tuple[int, ...] = ()
    """where not all of a node: the processes that it was done to"""
    repeats: bool = False
    """whether runs that it met may have to be repeated; else it only keeps outcomes waiting"""
    overlaps: bool = False
    """whether such a run may go on while it is repeated: its node was cut off, not killed"""


@dataclass
class FaultLog:
    """All faults, in order, and a file that tells of them. Thread-safe."""

    path: Path
    faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        with self._lock:
            self.faults.append(fault)
            with self.path.open("a") as told:
                told.write(f"{fault}\n")

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self.faults))


def write(path: str, word: str, *values: object) -> None:
    """A line, in one write, so that lines stay whole whoever else writes."""
    line = " ".join(map(str, (word, f"{monotonic():.6f}", *values)))
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


@dataclass
class Journal:
    """What the tasks wrote."""

    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    """by job, in the order in which they began"""
    accepted: set[str] = field(default_factory=set)
    """jobs that tasks have submitted"""

    @classmethod
    def read(cls, path: Path) -> Journal:
        journal = cls()
        open_runs: dict[tuple[str, str], Run] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            word, at, job, *rest = line.split()
            if word == "accepted":
                journal.accepted.add(job)
            elif word == "start":
                token, slot, pid = rest
                run = Run(job, slot, int(pid), float(at))
                journal.runs[job].append(run)
                open_runs[job, token] = run
            else:
                run = open_runs[job, rest[0]]
                run.ended, run.raised = float(at), word == "raise"
        return journal
