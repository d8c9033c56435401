"""Several jobs run in a process when one of them kills it: who did it?"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from taskrunner import App, Job, State
from taskrunner.testing.waiting import eventually
from tests.process.apps import hazards
from tests.process.conftest import Fleet, children_of, lines

HAZARDS = "tests.process.apps.hazards:app"


@pytest.fixture
def app(fleet: Fleet) -> App:
    return hazards.client(fleet.url, fleet.namespace)


def test_of_four_in_one_child_the_one_that_kills_is_convicted(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out, gate, kill = tmp_path / "out", tmp_path / "gate", tmp_path / "kill"
    gate.touch()
    kill.touch()
    jobs: dict[str, Job[object]] = {}
    for name in ("a", "b", "c"):
        jobs[name] = app.enqueue("linger", args=(str(out), name, str(gate)))
    jobs["killer"] = app.enqueue("kill", args=(str(out), "killer", str(kill)))
    fleet.start("--processes", "1", "--concurrency", "4", target=HAZARDS)
    eventually(lambda: set(lines(out)) == {f"started {name}" for name in jobs}, timeout=30)
    kill.unlink()
    eventually(lambda: all(jobs[name].info().suspect for name in "abc"), timeout=20)
    gate.unlink()
    eventually(lambda: all(job.info().finished_at for job in jobs.values()), timeout=50)
    infos = {name: job.info() for name, job in jobs.items()}
    killer = infos.pop("killer")
    assert (killer.state, killer.reason, killer.crashes) == (State.FAILED, "crashed", 3)
    assert killer.suspect
    for name, info in infos.items():
        assert (info.state, info.crashes, info.failures) == (State.SUCCEEDED, 0, 0), name
        assert not info.suspect, name
    runs = Counter(line for line in lines(out) if line.startswith("started"))
    assert runs["started killer"] == 4, "once with the others, three times alone"


def test_a_suspect_that_waits_for_a_sub_job_gets_it_done(
    fleet: Fleet, app: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    asks = app.enqueue("ask", args=(str(out), str(gate)))
    other = app.enqueue("linger", args=(str(out), "other", str(gate)))
    node = fleet.start("--processes", "1", "--concurrency", "2", target=HAZARDS)
    eventually(lambda: len(lines(out)) == 2, timeout=30)
    (child,) = children_of(node.pid)
    os.kill(child, signal.SIGKILL)
    eventually(lambda: asks.info().suspect and other.info().suspect, timeout=20)
    gate.unlink()
    assert asks.result(timeout=40) == "sub"
    assert other.result(timeout=40) == "other"
    for info in (asks.info(), other.info()):
        assert (info.attempt, info.crashes, info.suspect) == (2, 0, False)
