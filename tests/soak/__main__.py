"""Break everything for a while, and count what was lost.

    python -m tests.soak [--minutes 10] [--seed N] [--nodes 3] [--processes 2] [--lease 6] [--rate 150]

Prints a table; exit status 1 where anything was found. The logs of such a run are kept.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.soak.soak import Plan, soak
from tests.soak.verdict import Verdict

MOST_SHOWN = 50


def main() -> int:
    # Whoever ends it early leaves nothing behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    console = Console()
    console.print(f"soak for {options.minutes:g} minutes, seed {seed}")
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{seed}-"))
    plan = Plan(
        seconds=60 * options.minutes,
        seed=seed,
        nodes=options.nodes,
        processes=options.processes,
        lease=options.lease,
        rate=options.rate,
    )
    verdict = soak(plan, folder)
    console.print(table_of(verdict, seed))
    for line in verdict.findings[:MOST_SHOWN]:
        console.print(line, markup=False, soft_wrap=True)
    if verdict.findings:
        console.print(f"{len(verdict.findings)} findings; the logs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def table_of(verdict: Verdict, seed: int) -> Table:
    """What was accepted and what became of it, and what was done to it."""
    table = Table("jobs", "", "faults", "", title=f"seed {seed}")
    jobs = list(verdict.counts.items())
    faults = sorted(verdict.faults.items())
    for row in range(max(len(jobs), len(faults))):
        job = jobs[row] if row < len(jobs) else ("", "")
        fault = faults[row] if row < len(faults) else ("", "")
        table.add_row(job[0], str(job[1]), fault[0], str(fault[1]))
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="default: a random one, which is printed")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="of each node")
    parser.add_argument("--lease", type=float, default=6.0, help="seconds")
    parser.add_argument("--rate", type=float, default=150.0, help="jobs a second")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
