"""Somebody dies at every named point, with jobs in flight: nothing is lost.

After each death another node, inside the test, is there to go on: what it takes over is all that
the dead one held. Which story leads past a point stands in the tables below; a point that no table
names is one that a node passes while it works.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskrunner import App, Job, State
from taskrunner.brokers.base import Broker, Command, Mailbox
from taskrunner.crashpoints import BROKER_CALLS, MAILBOX_CALLS, POINTS
from taskrunner.probes import PROBE, RECORDS
from taskrunner.testing import fleet as kit
from taskrunner.testing.crash import CrashAt
from taskrunner.testing.processes import kill
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.apps.campaign import declare
from tests.process.conftest import ROOT, lines

COUNT = 40


def both(*calls: str) -> set[str]:
    return {f"{call}.{side}" for call in calls for side in ("before", "after")}


NEVER = both(
    *("now", "aenqueue", "send", "cancel", "records", "remove_record", "audit", "remarks"),
    *(
        "tick",
        "slots",
        "close_slots",
        "jobs",
        "oldest",
        "requeue",
        "delete",
        "reschedule",
        "rewrite",
    ),
    *("set_limit", "pause", "resume", "limits"),
)
"""Calls that no node makes while it works; of those that do more than look, see
test_crashpoints_of_clients."""
WHEN_COMMANDED = both("commands", "put_record")
"""The answer to a probe is a record."""
WHEN_A_CHILD_DIES = {*both("burial"), "forkserver.reaped"}
AFTER_AN_OUTAGE = both("held")
WITH_A_BACKEND = both("store")
WHILE_STOPPING = {
    *both("release", "leave"),
    *("supervisor.stopping", "supervisor.childless"),
}
WHILE_STOPPING_BELOW = {
    *("child.before_taken", "child.after_taken", "child.stopping", "forkserver.ending"),
}
"""Where it is not the supervisor that dies."""
AT_ONCE = {*both("release"), "supervisor.stopping", "child.before_taken", "child.after_taken"}
"""Before the job that runs has ended."""
WHILE_RELOADING = {"rollover.imported", "rollover.replaced"}
"""See test_reload."""
WHILE_RUNNING = POINTS - (
    NEVER
    | WHILE_RELOADING
    | WHEN_COMMANDED
    | WHEN_A_CHILD_DIES
    | AFTER_AN_OUTAGE
    | WITH_A_BACKEND
    | WHILE_STOPPING
    | WHILE_STOPPING_BELOW
)


class Campaign(kit.Fleet):
    """Nodes, the jobs that were submitted, and what they have written."""

    def __init__(self, url: str, folder: Path, **environ: str) -> None:
        namespace = f"c{uuid.uuid4().hex[:8]}"
        super().__init__(
            "tests.process.apps.campaign:app",
            broker=url,
            folder=folder,
            namespace=namespace,
            root=ROOT,
            environ={"TASKRUNNER_TEST_NAMESPACE": namespace, **environ},
        )
        self.out = folder / "out"
        self.client = declare(
            App(url, namespace=namespace, backend=environ.get("TASKRUNNER_BACKEND"))
        )
        self.jobs: list[Job[object]] = []

    def submit(self) -> None:
        """Jobs of every kind."""
        tasks, out = self.client.tasks, str(self.out)
        messages = [tasks["append"].message(out, str(n)) for n in range(COUNT)]
        messages += [tasks["append"].options(delay=0.2).message(out, f"late {n}") for n in range(5)]
        messages += [tasks["linger"].message(out, f"slow {n}") for n in range(3)]
        messages += [tasks["parent"].message(out, f"parent {n}") for n in range(2)]
        self.jobs += self.client.enqueue_many(messages)
        assert all(job.accepted for job in self.jobs)

    def one(self, *words: str) -> Job[object]:
        """One more job."""
        task, *args = words
        self.jobs.append(self.client.enqueue(task, args=(str(self.out), *args)))
        return self.jobs[-1]

    @contextmanager
    def another_node(self) -> Iterator[None]:
        """In this process, so that it is there at once."""
        with self.client.running(threads=2, lease_s=3):
            yield

    def finish(self) -> None:
        """Every job succeeds, and after one death none has run more than twice."""
        eventually(self._all_succeeded, timeout=40, message="every job succeeds")
        ran = Counter(lines(self.out))
        assert {line for line in ran if line.isdigit()} == {str(n) for n in range(COUNT)}
        assert {line: times for line, times in ran.items() if times > 2} == {}
        (stats,) = self.client.broker.stats(["default"])
        assert {state for state, count in stats.counts.items() if count} == {State.SUCCEEDED}
        for job in self.jobs[:3]:
            assert job.result(timeout=5) is not None

    def _all_succeeded(self) -> bool:
        return all(job.state() is State.SUCCEEDED for job in self.jobs)

    def end(self) -> None:
        super().end()
        self.client.close()


@pytest.fixture
def campaign(redis_server: RedisServer, tmp_path: Path) -> Iterator[Campaign]:
    with Campaign(redis_server.url, tmp_path) as campaign:
        yield campaign


def test_every_call_of_a_broker_has_its_points() -> None:
    """A call that is new in `brokers/base.py` is listed in `taskrunner/crashpoints.py`."""
    calls = {name for base in Broker.__mro__ for name in vars(base) if not name.startswith("_")}
    no_calls = {
        "capabilities",
        "schemes",
        "close",
        "from_url",
        "register",
        "round_trips",
        "set_skew",
        "erase",
    }
    assert calls - no_calls == BROKER_CALLS
    assert set(Mailbox.__abstractmethods__) - {"wake", "close"} == MAILBOX_CALLS


@pytest.mark.parametrize("point", sorted(WHILE_RUNNING))
def test_a_death_at_any_point_loses_nothing(campaign: Campaign, tmp_path: Path, point: str) -> None:
    campaign.submit()
    crash = CrashAt(point, folder=tmp_path)
    campaign.start("--processes", "2", "--lease", "3", crash=crash)
    crash.wait()
    with campaign.another_node():
        campaign.finish()


@pytest.mark.parametrize("point", sorted(WHEN_A_CHILD_DIES))
def test_a_death_over_the_death_of_a_child_loses_nothing(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    campaign.one("hold", "first", str(gate))
    crash = CrashAt(point, folder=tmp_path)
    node = campaign.start("--processes", "1", "--prefetch", "100", crash=crash)
    campaign.submit()
    eventually(lambda: "started first" in lines(campaign.out), timeout=20)
    kill(node.children[0])
    crash.wait()
    gate.unlink()
    with campaign.another_node():
        campaign.finish()


@pytest.mark.parametrize("point", sorted(WHILE_STOPPING | WHILE_STOPPING_BELOW))
def test_a_death_while_stopping_loses_nothing(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    campaign.one("hold", "first", str(gate))
    campaign.submit()
    crash = CrashAt(point, folder=tmp_path)
    node = campaign.start("--processes", "1", "--prefetch", "100", crash=crash)
    eventually(lambda: "started first" in lines(campaign.out), timeout=20)
    node.terminate()
    if point in AT_ONCE:
        crash.wait()
    gate.unlink()
    crash.wait()
    assert node.wait(timeout=20) == (-9 if point in WHILE_STOPPING else 0)
    with campaign.another_node():
        campaign.finish()


@pytest.mark.parametrize("point", sorted(WHEN_COMMANDED))
def test_a_death_over_a_command_loses_nothing(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    crash = CrashAt(point, folder=tmp_path)
    campaign.start("--processes", "1", "--lease", "3", crash=crash)
    (info,) = eventually(campaign.client.broker.nodes, timeout=20)
    campaign.submit()
    assert campaign.client.broker.send(
        info.id, Command.new(PROBE, to=f"{RECORDS}test", patience=1.0)
    )
    crash.wait()
    with campaign.another_node():
        campaign.finish()


@pytest.mark.parametrize("point", sorted(AFTER_AN_OUTAGE))
def test_a_death_after_an_outage_loses_nothing(
    redis_server: RedisServer, tmp_path: Path, point: str
) -> None:
    with Proxy(redis_server.url) as proxy, Campaign(proxy.url, tmp_path) as campaign:
        crash = CrashAt(point, folder=tmp_path)
        node = campaign.start("--processes", "1", crash=crash)
        assert campaign.one("append", "first").result(timeout=20) == "first"
        proxy.refuse()
        proxy.cut()
        eventually(lambda: "is away" in node.log, timeout=20)
        proxy.heal()
        campaign.submit()
        crash.wait()
        with campaign.another_node():
            campaign.finish()


@pytest.mark.parametrize("point", sorted(WITH_A_BACKEND))
def test_a_death_around_a_result_of_its_own_loses_nothing(
    redis_server: RedisServer, tmp_path: Path, point: str
) -> None:
    backend = redis_server.url.removesuffix("/0") + "/1"
    with Campaign(redis_server.url, tmp_path, TASKRUNNER_BACKEND=backend) as campaign:
        campaign.submit()
        crash = CrashAt(point, folder=tmp_path)
        campaign.start("--processes", "1", crash=crash)
        crash.wait()
        with campaign.another_node():
            campaign.finish()
