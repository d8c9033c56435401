"""The doctor, as operators call it: in a store that somebody damaged, and beside a node at work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from taskrunner import App, Job, State
from taskrunner.brokers.base import Broker, NodeInfo, Take
from taskrunner.cli.exits import Exit
from taskrunner.inspector import Inspector
from taskrunner.states import FINISHED
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, Fleet

NAME = "tests.process.apps.basic."


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    client = redis_server.client()
    yield client
    client.close()


def doctor(fleet: Fleet, *options: str) -> tuple[int, dict[str, set[tuple[str, str]]]]:
    """The exit code, and by queue what was found."""
    ran = subprocess.run(
        [sys.executable, "-m", "taskrunner", "doctor", "--json", *options],
        cwd=ROOT,
        env={**fleet.environ, "TASKRUNNER_NAMESPACE": fleet.namespace},
        capture_output=True,
        text=True,
        timeout=50,
    )
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for finding in json.loads(ran.stdout)["findings"]:
        found[finding["queue"]].add((finding["kind"], finding["subject"]))
    return ran.returncode, found


class Damaged:
    """A queue for each kind of damage, with jobs to which it is done."""

    def __init__(self, fleet: Fleet, redis: Redis) -> None:
        self.app = fleet.app()
        self.jobs: list[Job[Any]] = []
        self.expected: dict[str, set[tuple[str, str]]] = {}
        self._redis = redis
        self._namespace = fleet.namespace

    def key(self, queue: str, rest: str) -> str:
        return f"{{{self._namespace}:{queue}}}:{rest}"

    def enqueue(self, queue: str, job_id: str, **options: Any) -> None:
        text = "x" * 200
        job = self.app.enqueue(
            NAME + "add", args=(text, text), queue=queue, job_id=job_id, **options
        )
        self.jobs.append(job)

    def fetch(self, queue: str, node: str) -> None:
        broker = self.app.broker
        assert isinstance(broker, Broker)
        broker.join(NodeInfo(node, lease=600.0), [queue])
        assert len(broker.fetch(node, [Take(queue, 1)], 7).deliveries) == 1

    def do(self) -> None:
        for name in ("dropped", "doubled", "orphan", "counter", "lease", "missing", "message"):
            self.enqueue(name, "a", **({"delay": 0.5} if name == "missing" else {}))
            self.enqueue(name, "b")
            getattr(self, f"_{name}")(name)

    def _dropped(self, queue: str) -> None:
        self._redis.delete(self.key(queue, "job:a"))
        self.expected[queue] = {("lost", "a"), ("counter", "p5")}

    def _doubled(self, queue: str) -> None:
        self._redis.zadd(self.key(queue, "scheduled"), {"a": 1e15})
        self._redis.rpush(self.key(queue, "ready:5"), "b")
        self.expected[queue] = {("misplaced", "a"), ("doubled", "b")}

    def _orphan(self, queue: str) -> None:
        self.fetch(queue, "n1")
        self._redis.hdel(self.key(queue, "active:n1"), "7")
        self._redis.hset(self.key(queue, "active:nobody"), "3", "b")
        self._redis.set(self.key(queue, "result:gone"), "x")
        self.expected[queue] = {("unheld", "a"), ("lease", "nobody"), ("misplaced", "b")}
        self.expected[queue] |= {("leftover", "gone")}

    def _counter(self, queue: str) -> None:
        self._redis.hincrby(self.key(queue, "stats"), "p5", 3)
        self._redis.hset(self.key(queue, "stats"), "active", 2)
        self.expected[queue] = {("counter", "p5"), ("counter", "active")}

    def _lease(self, queue: str) -> None:
        self.fetch(queue, "n1")
        self._redis.zrem(self.key(queue, "holders"), "n1")
        self._redis.hdel(self.key(queue, "leases"), "n1")
        self.expected[queue] = {("lease", "n1")}

    def _missing(self, queue: str) -> None:
        self._redis.zrem(self.key(queue, "scheduled"), "a")
        self._redis.lrem(self.key(queue, "ready:5"), 0, "b")
        self.expected[queue] = {("unindexed", "a"), ("unindexed", "b")}

    def _message(self, queue: str) -> None:
        self._redis.delete(self.key(queue, "body:a"))
        self.expected[queue] = {("message", "a")}


@pytest.mark.timeout(180)
def test_each_damage_is_found_mended_and_found_no_more(fleet: Fleet, redis: Redis) -> None:
    damaged = Damaged(fleet, redis)
    assert doctor(fleet) == (Exit.OK, {})
    damaged.do()
    assert doctor(fleet) == (Exit.DAMAGED, damaged.expected)
    code, mended = doctor(fleet, "--repair", "--yes")
    assert code == Exit.REPAIRED
    # Mended, a set that nobody holds is gone at once, with what it should not have held.
    for queue, expected in damaged.expected.items():
        assert expected - mended[queue] <= {("misplaced", "b")}
        assert mended[queue] <= expected
    assert doctor(fleet) == (Exit.OK, {})
    fleet.start("--processes", "1")
    eventually(lambda: all(job.state() in FINISHED for job in damaged.jobs), timeout=60)
    ends = {(job.queue, job.id): job.state() for job in damaged.jobs}
    failed = {("dropped", "a"), ("message", "a")}
    assert {key for key, state in ends.items() if state is State.FAILED} == failed
    assert damaged.app.job("a", "dropped").info().reason == "record lost"
    assert doctor(fleet) == (Exit.OK, {})


@pytest.mark.timeout(180)
def test_beside_a_busy_node_it_finds_nothing(fleet: Fleet) -> None:
    app = fleet.app()
    fleet.start("--processes", "2")
    jobs: list[Job[Any]] = []
    audits = 0
    while audits < 6 or not all(state in FINISHED for state in _states(app, jobs)):
        if audits < 5:
            jobs += app.enqueue_many(_mixed(app))
        report = Inspector(app).doctor(repair=audits % 2 == 1)
        assert report.findings == ()
        audits += 1
    assert len(jobs) == 5 * 800
    assert Inspector(app).doctor().findings == ()
    assert all(state is not State.FAILED for state in _states(app, jobs[::8]))


def _mixed(app: App) -> Iterator[Any]:
    add, fail = app.tasks[NAME + "add"], app.tasks[NAME + "fail"]
    for n in range(100):
        yield add.message(n, 1)
        yield from (add.message("x" * 100, "y") for _ in range(4))
        yield add.options(delay=0.05, priority=n % 10).message(n)
        yield add.options(retention=0, queue="other").message(n)
        yield fail.options(expires=60).message("no")


def _states(app: App, jobs: list[Job[Any]]) -> list[State]:
    from taskrunner.brokers.base import JobKey

    found = app.broker.get([JobKey(job.queue, job.id) for job in jobs])
    return [State.SUCCEEDED if record is None else record.state for record in found]
