"""A job that takes its whole node down each time it runs, beside jobs that do no harm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from taskrunner import App, Job, JobFailed, State
from taskrunner.testing.fleet import Node
from taskrunner.testing.waiting import eventually
from tests.process.apps import hazards
from tests.process.conftest import Fleet, lines

HAZARDS = "tests.process.apps.hazards:app"
NEIGHBOURS = ("a", "b")
DEATHS = 5
"""Twice with all the others, once alone in its process, and twice alone on its node."""


@pytest.fixture
def app(fleet: Fleet) -> App:
    return hazards.client(fleet.url, fleet.namespace)


@pytest.mark.timeout(120)
def test_a_job_that_takes_down_every_node_that_runs_it_is_convicted_and_nobody_else(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # They never get as far as their end beside the killer: they are lost as often as that.
    others: list[Job[object]] = [
        app.enqueue("last", args=(str(out), name, 1.0)) for name in NEIGHBOURS
    ]
    killer = app.enqueue("take_down", args=(str(out), "killer"))

    def start() -> Node:
        return fleet.start("--processes", "3", target=HAZARDS, TASKRUNNER_MAX_CRASHES="2")

    for _ in range(DEATHS):
        node = start()
        eventually(lambda node=node: node.poll() is not None, timeout=40)  # type: ignore[misc]
    node = start()
    eventually(lambda: killer.state() is State.FAILED, timeout=30)
    for job in others:
        job.result(timeout=30)
    info = killer.info()
    assert (info.reason, info.crashes, info.losses, info.failures) == ("crashed", 2, DEATHS, 0)
    with pytest.raises(JobFailed, match="was lost, which ran this job and nothing else"):
        killer.result(timeout=5)
    for job in others:
        harmless = job.info()
        assert (harmless.state, harmless.crashes, harmless.suspect) == (State.SUCCEEDED, 0, False)
        assert harmless.losses >= 3, "else it was never in doubt"
    counts = Counter(lines(out))
    assert counts["started killer"] == DEATHS
    assert [counts[f"ended {name}"] for name in NEIGHBOURS] == [1, 1]
    # Who is free again works on.
    more = [app.enqueue("work") for _ in range(20)]
    assert all(job.result(timeout=20) for job in more)
    assert node.poll() is None
