"""A question on the command line: `python -m benchmarks.NAME [--json] [--runs N] [--quick]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.harness.answer import Answer
from benchmarks.harness.show import show
from taskrunner.testing.redis_server import PROGRAM

SHOWN_VERSIONS = ("taskrunner-queue", "redis", "hiredis", "msgpack", "uvloop")


@dataclass(frozen=True, slots=True)
class How:
    """How thoroughly to measure."""

    runs: int
    """how often each thing is measured, in turns with the others"""
    quick: bool
    """a tenth of the work: to see that a benchmark works, not to believe it"""

    def size(self, count: int) -> int:
        """So many things to do, or a tenth of them."""
        return max(1, count // 10) if self.quick else count


def main(ask: Callable[[How], Answer], *, runs: int = 3) -> None:
    """Ask a question as this process' arguments say, and print the answer."""
    said = sys.modules[ask.__module__].__doc__ or ""
    parser = argparse.ArgumentParser(description=said.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--runs", type=int, default=runs, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs: expected 1 or more")
    try:
        answer = ask(How(runs=options.runs, quick=options.quick))
    except FileNotFoundError as error:
        sys.exit(str(error))
    if options.json:
        print(json.dumps({**answer.as_map(), "machine": machine()}))
    else:
        show(answer)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": len(_cores()),
        "system": f"{platform.system()} {platform.release()}",
        "redis": _redis(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: metadata.version(name) for name in SHOWN_VERSIONS},
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line)
    return next(names, platform.machine())


def _redis() -> str:
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return f"Redis {said.partition('v=')[2].partition(' ')[0]}"


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if sys.platform == "linux" else set(range(os.cpu_count() or 1))
