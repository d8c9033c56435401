"""What it costs: CPU by process, memory, round trips, commands, bytes.

    meter = Meter(stage, node.roles())
    before = meter.read(); ...; used = meter.used(before)
    used.cpu["supervisor"]; used.round_trips; used.wire; used.inside

Round trips are counted by the server, as reads from its clients: a pipeline is one, unless it is so
long (over 16 KiB) that it arrives in pieces, so the count is never too small. Commands are those of
`INFO commandstats`, which holds what scripts do as well; only scripts and the few commands in WIRE
come over the wire here, the others happen inside scripts.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Final

from benchmarks.harness.stage import Stage

WIRE: Final = frozenset(
    {"evalsha", "eval", "fcall", "subscribe", "unsubscribe", "ping", "hello", "client", "select",
     "script", "auth", "wait"}
)  # fmt: skip
_OWN: Final = frozenset({"info", "config", "command", "flushall", "monitor"})
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """All meters at one moment, or what they moved between two."""

    at: float
    cpu: Mapping[str, float]
    """seconds by role"""
    commands: Counter[str]
    reads: int
    bytes_in: int
    bytes_out: int
    looks: int
    looked: int

    def __sub__(self, before: Reading) -> Reading:
        return Reading(
            at=self.at - before.at,
            cpu={role: used - before.cpu.get(role, 0.0) for role, used in self.cpu.items()},
            commands=self.commands - before.commands,
            reads=self.reads - before.reads,
            bytes_in=self.bytes_in - before.bytes_in,
            bytes_out=self.bytes_out - before.bytes_out,
            looks=self.looks - before.looks,
            looked=self.looked - before.looked,
        )

    @property
    def round_trips(self) -> int:
        """Without those of whoever looked on, one for each look."""
        return max(0, self.reads - self.looks)

    @property
    def wire(self) -> int:
        """Commands that came over the wire."""
        return sum(n for name, n in self.commands.items() if name in WIRE)

    @property
    def inside(self) -> int:
        """Commands inside scripts."""
        all_ = sum(n for name, n in self.commands.items() if name not in WIRE | _OWN)
        return max(0, all_ - self.looked)


class Meter:
    """Reads the meters of a Redis and of processes by role: pids, which must go on living."""

    def __init__(self, stage: Stage, roles: Mapping[str, Sequence[int]]) -> None:
        self._stage = stage
        self._roles = {**roles, "Redis": [stage.server.pid], "client": [os.getpid()]}
        before = self.read()
        self._reading = self.read() - before

    def used(self, before: Reading) -> Reading:
        """What the meters have moved since then, without what a reading itself moves them."""
        found, own = self.read() - before, self._reading
        return replace(
            found,
            reads=found.reads - own.reads,
            bytes_in=found.bytes_in - own.bytes_in,
            bytes_out=found.bytes_out - own.bytes_out,
        )

    def read(self) -> Reading:
        stats = self._stage.redis.info("everything")
        calls: Counter[str] = Counter()
        for name, found in stats.items():
            if name.startswith("cmdstat_"):
                # `client|setname` is a subcommand of client.
                calls[name.removeprefix("cmdstat_").partition("|")[0]] += found["calls"]
        return Reading(
            at=monotonic(),
            cpu={role: sum(map(cpu_of, pids)) for role, pids in self._roles.items()},
            commands=calls,
            reads=stats["total_reads_processed"],
            bytes_in=stats["total_net_input_bytes"],
            bytes_out=stats["total_net_output_bytes"],
            looks=self._stage.looks,
            looked=self._stage.looked,
        )


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, in user code and in the kernel; 0 where it is gone."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text()
        fields = text[text.rfind(")") + 2 :].split()
        return (int(fields[11]) + int(fields[12])) / _TICK
    return 0.0


def peak_mib(pid: int) -> float:
    """The most memory that a process ever had, shared pages included, in MiB."""
    return _kib(Path(f"/proc/{pid}/status"), "VmHWM:") / 1024


def proportional_mib(pid: int) -> float:
    """Memory of a process with what it shares divided among those that share it, in MiB."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1024


def _kib(path: Path, label: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    return 0
