"""No regression in what a job costs: counted, never timed, so a slow machine is no excuse.

The counts are taken once, by `benchmarks.counts` in a process of its own; the bounds are in
`benchmarks/bounds.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bounds import BOUNDS

pytestmark = pytest.mark.needs_redis

ROOT = Path(__file__).parents[2]
WANTED_ROUND_TRIPS = 0.1


@pytest.fixture(scope="module")
def counts() -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.counts", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    return {row[0]: row[1] for row in table["rows"]}


def test_everything_that_is_counted_has_a_bound(counts: dict[str, float]) -> None:
    assert counts.keys() == BOUNDS.keys()


@pytest.mark.parametrize("what", BOUNDS)
def test_it_costs_no_more_than_before(counts: dict[str, float], what: str) -> None:
    bound = BOUNDS[what]
    assert counts[what] <= bound.most, (
        f"{what}: {counts[what]:.4g} per job, usually {bound.usual:g}, at most {bound.most:.4g}"
    )


def test_a_job_takes_a_small_part_of_a_round_trip(counts: dict[str, float]) -> None:
    assert counts["run: round trips"] < WANTED_ROUND_TRIPS
