"""What the operating system says about processes: whether they are stopped, what they use.

On Linux from /proc; elsewhere from `ps`, which every system has. Asking takes a while there and can take
one here, so do it in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

TURN_S: Final = 0.0005
"""What one that computes gets of a processor at a time, at least, on average."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_HAS_PROC: Final = os.path.exists("/proc/self/task")


class Cpu(NamedTuple):
    """What a thread, or where that is not known a process, has had of processors so far. Seconds."""

    had: float
    waited: float = 0.0
    """for one, while it could have run"""
    turns: int = 0
    """times that it got one; 0: not known"""


class Vitals(NamedTuple):
    """One process at one moment."""

    is_stopped: bool
    """by a signal; not by a debugger"""
    cpu: Mapping[int, Cpu]
    """by thread"""
    resident: int
    """bytes of memory, shared pages counted in"""


Read = Callable[[Sequence[int]], Awaitable[dict[int, Vitals]]]
"""How the loop's thread asks."""


async def read_in_thread(pids: Sequence[int]) -> dict[int, Vitals]:
    """`read`, in a thread."""
    return await asyncio.to_thread(read, pids)


def read(pids: Iterable[int]) -> dict[int, Vitals]:
    """Those of these processes that there are."""
    return _from_proc(pids) if _HAS_PROC else from_ps(pids)


def share(before: Vitals, now: Vitals, seconds: float) -> float:
    """How much of one processor its busiest thread wanted in between.

    Of one thread, not of all: each that waits for the interpreter lock wakes a thousand times a
    second to ask for it, which takes one to two percent.
    """
    nothing = Cpu(0.0)
    wanted = (_wanted(before.cpu.get(thread, nothing), cpu) for thread, cpu in now.cpu.items())
    return max(wanted, default=0.0) / seconds


def demand(before: Vitals, now: Vitals, seconds: float) -> float:
    """How many processors all its threads together wanted in between."""
    nothing = Cpu(0.0)
    wanted = (_wanted(before.cpu.get(thread, nothing), cpu) for thread, cpu in now.cpu.items())
    return sum(wanted) / seconds


def _wanted(before: Cpu, now: Cpu) -> float:
    """With the time it waited for a processor, since on a machine with too much to do one that
    computes gets little; but not of one that only wakes, looks and sleeps again."""
    had, waited, turns = (new - old for new, old in zip(now, before, strict=True))
    return had + waited if had >= turns * TURN_S and turns else had


def _from_proc(pids: Iterable[int]) -> dict[int, Vitals]:
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            state = _fields(f"/proc/{pid}/stat")[0]
            threads = {int(name): _cpu(pid, name) for name in os.listdir(f"/proc/{pid}/task")}
            pages = int(_text(f"/proc/{pid}/statm").split()[1])
            found[pid] = Vitals(state == "T", threads, pages * _PAGE)
    return found


def _cpu(pid: int, thread: str) -> Cpu:
    folder = f"/proc/{pid}/task/{thread}"
    try:
        had, waited, turns = map(int, _text(f"{folder}/schedstat").split())
    except (OSError, ValueError):  # a kernel that does not count this
        fields = _fields(f"{folder}/stat")
        return Cpu((int(fields[11]) + int(fields[12])) / _TICKS)
    return Cpu(had / 1e9, waited / 1e9, turns)


def _fields(path: str) -> list[str]:
    """Of a `stat` file, from the state on: the name before it may hold anything."""
    text = _text(path)
    return text[text.rindex(")") + 1 :].split()


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def from_ps(pids: Iterable[int]) -> dict[int, Vitals]:
    """The same by the program `ps`."""
    asked = ",".join(map(str, pids))
    command = ["ps", "-o", "pid=,stat=,time=,rss=", "-p", asked]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    found = {}
    for line in told.stdout.splitlines():
        with contextlib.suppress(ValueError):
            pid, state, time, resident = line.split()
            cpu = {0: Cpu(_seconds(time))}
            found[int(pid)] = Vitals(state.startswith("T"), cpu, int(resident) * 1024)
    return found


def _seconds(time: str) -> float:
    """`[days-][hours:]minutes:seconds[.hundredths]`."""
    days, dash, clock = time.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + (int(days) * 86_400 if dash else 0)
