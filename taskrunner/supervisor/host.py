"""What this process may use of its machine: processors and memory.

On Linux the limits of its control group count, of version 1 and 2, as containers have them. On macOS
there are none; free memory is asked of `vm_stat`. Elsewhere, and where nothing can be read, memory is
not known, and bounds nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_UNLIMITED: Final = 2**60
"""Version 1 writes a number about as large for no limit."""


def cpus(root: Path = Path("/")) -> float:
    """Processors; a fraction where a control group grants one."""
    if hasattr(os, "sched_getaffinity"):
        count = float(len(os.sched_getaffinity(0)))
    else:
        count = float(os.cpu_count() or 1)
    return min([count, *_quotas(root)])


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that could be used without pushing anything out; None: not known."""
    found = [*_free_in_groups(root), *_available(root)]
    return max(0, min(found)) if found else None


def own_memory(pid: int) -> int | None:
    """Bytes that a process shares with no other: what one more of its kind costs. None: not known."""
    with contextlib.suppress(OSError, ValueError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return 1024 * sum(map(int, re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)))
    return None


def _available(root: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        text = (root / "proc/meminfo").read_text()
        found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        if found:
            yield 1024 * int(found[1])
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["vm_stat"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        yield from _from_vm_stat(told.stdout)


def _from_vm_stat(text: str) -> Iterator[int]:
    """macOS: pages that are free, or can be had for the asking."""
    size = re.search(r"page size of (\d+) bytes", text)
    pages = re.findall(
        r"^Pages (?:free|inactive|speculative|purgeable):\s+(\d+)", text, re.MULTILINE
    )
    if size and pages:
        yield int(size[1]) * sum(map(int, pages))


# -- control groups


def _quotas(root: Path) -> Iterator[float]:
    for group in _groups(root, ""):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()
            yield int(quota) / int(period)
    for group in _groups(root, "cpu"):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (
                (group / f"cpu.cfs_{which}_us").read_text() for which in ("quota", "period")
            )
            if int(quota) > 0:
                yield int(quota) / int(period)


def _free_in_groups(root: Path) -> Iterator[int]:
    for group in _groups(root, ""):
        yield from _free_in(group, "memory.max", "memory.current", "inactive_file")
    for group in _groups(root, "memory"):
        yield from _free_in(
            group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        )


def _free_in(group: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        most = int((group / limit).read_text())  # "max" where there is none
        if most < _UNLIMITED:
            used = int((group / usage).read_text())
            stat = (group / "memory.stat").read_text()
            # Cached files count as used, and go as soon as somebody wants the memory.
            cached = re.search(rf"^{cache} (\d+)$", stat, re.MULTILINE)
            yield most - used + (int(cached[1]) if cached else 0)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The group of this process and those above it; `controller`: of version 1, none: version 2."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if controller not in names.split(","):
                continue
            top = root / _GROUPS.relative_to("/") / (names if controller else "")
            group = top / path.lstrip("/")
            # In a container the path may be that of the host, which is not seen here.
            yield from (place for place in (group, *group.parents) if place.is_relative_to(top))
