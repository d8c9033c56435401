"""All questions, one after the other, and the page that holds the answers.

    python -m benchmarks.report [NAMES] [--runs N] [--quick] [--write] [--page-only]

Each question is asked in a process of its own. With --write the answers go to docs/charts/*.json, their
pictures to docs/charts/*.svg, and the tables into docs/performance.md, between its markers; --page-only
writes page and pictures again from the answers that are there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console

from benchmarks.harness import page
from benchmarks.harness.answer import Answer
from benchmarks.harness.show import show
from benchmarks.harness.stage import ROOT

QUESTIONS = (
    "throughput",
    "submit",
    "latency",
    "cpu_jobs",
    "async_jobs",
    "idle",
    "backlog",
    "lateness",
    "payloads",
    "queues",
    "processes",
    "results",
    "brokers",
    "encryption",
    "http",
    "counts",
)
PEERS = "peers"
"""Asked for by name only: it installs the others first."""
LONGEST_S = (400.0, 3_600.0)
"""Seconds until a question, and the one about peers, is given up."""


def main() -> int:
    options = _options()
    names: Sequence[str] = options.names or QUESTIONS
    console, failed = Console(), []
    for name in () if options.page_only else names:
        console.rule(name)
        began = monotonic()
        found = _asked(name, options)
        if found is None:
            failed.append(name)
            continue
        show(Answer.of_map(found))
        console.print(f"{name} took {monotonic() - began:.0f} s", style="dim")
        if options.write:
            page.keep(name, found)
    if options.write or options.page_only:
        page.write((*QUESTIONS, PEERS))
    if failed:
        console.print(f"no answer: {', '.join(failed)}", style="red")
    return 1 if failed else 0


def _asked(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """What a question answered; None where it failed, and has said why."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
    if options.runs is not None:
        command += ["--runs", str(options.runs)]
    if options.quick:
        command.append("--quick")
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=LONGEST_S[name == PEERS]
        )
    except subprocess.SubprocessError as error:
        print(error, file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    known = (*QUESTIONS, PEERS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--runs", type=int, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--write", action="store_true", help=f"write {_shown(page.PAGE)}")
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"there is no question {', '.join(unknown)}: there are {', '.join(known)}")
    return options


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
