"""What users of other queues complain about most, where no other test shows it; docs/reliability.md
lists the rest."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner import App, State
from taskrunner.testing.clock import StoreClock
from taskrunner.testing.processes import kill
from taskrunner.testing.waiting import eventually
from tests.process.apps import alone
from tests.process.conftest import Fleet, lines

TARGET = "tests.process.apps.alone:app"
DELAYED = 3000


@pytest.fixture
def client(fleet: Fleet) -> Iterator[App]:
    app = alone.client(fleet.url, fleet.namespace)
    yield app
    app.close()


def test_classic_02_the_fleet_recovers_when_the_only_node_of_a_queue_is_gone(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    fleet.start("--processes", "1", "--queues", "default", "--lease", "1", target=TARGET)
    only = fleet.start("--processes", "1", "--queues", "special", "--lease", "1", target=TARGET)
    held = client.enqueue("gated", args=(str(out), "it", str(gate)), queue="special")
    eventually(lambda: "begin it" in lines(out), timeout=20)
    kill(only.pid, *only.below)
    # The other node does not serve the queue, and sees to it all the same.
    eventually(lambda: held.state() is State.PENDING, timeout=20)
    gate.unlink()
    fleet.start("--processes", "1", "--queues", "special", "--lease", "1", target=TARGET)
    assert held.result(timeout=20) == "it"
    assert "overlap it" not in lines(out)


def test_classic_05_delayed_jobs_wait_in_the_store_and_cost_a_node_nothing(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    append = client.tasks["append"].options(delay=3600)
    later = [append.message(str(out), f"later {n}") for n in range(DELAYED)]
    assert all(job.accepted for job in client.enqueue_many(later))
    node = fleet.start("--processes", "1", target=TARGET)
    now = client.enqueue("append", args=(str(out), "now"))
    assert now.result(timeout=20) == "now"
    node.send_signal(signal.SIGUSR1)
    eventually(lambda: "holds 0 jobs" in node.log, timeout=10)
    with StoreClock(client.broker) as clock:
        clock.step(3601)
        eventually(lambda: len(lines(out)) == DELAYED + 1, timeout=40)
    assert len(set(lines(out))) == DELAYED + 1


def test_classic_06_nothing_waits_behind_a_long_job_while_a_neighbour_idles(
    fleet: Fleet, client: App, tmp_path: Path
) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    fleet.start("--processes", "2", target=TARGET)
    gated = client.tasks["gated"]
    quick = [gated.message(str(out), f"quick {n}", str(tmp_path / "open")) for n in range(80)]
    long = gated.message(str(out), "long", str(gate))

    def ended() -> int:
        return sum(line.startswith("end quick") for line in lines(out))

    # Learnt to be quick, the task is given out by the dozen; then one of its jobs is slow.
    client.enqueue_many(quick[:40])
    eventually(lambda: ended() == 40, timeout=20)
    jobs = client.enqueue_many([*quick[40:50], long, *quick[50:]])
    eventually(lambda: ended() == 80, timeout=20)
    assert [job.state() for job in jobs].count(State.SUCCEEDED) == 40
    gate.unlink()
    assert jobs[10].result(timeout=20) == "long"
