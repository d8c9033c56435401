"""The promises that are hard to keep, each attacked for real. What else attacks them is listed in
docs/reliability.md."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import msgpack
import pytest
from redis import Redis

from taskrunner import App, Job, State
from taskrunner.brokers.base import Broker
from taskrunner.probes import PROBE, RECORDS
from taskrunner.testing.clock import StoreClock
from taskrunner.testing.processes import kill
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.apps import alone
from tests.process.conftest import Fleet, lines

TARGET = "tests.process.apps.alone:app"
HOUR = 3600.0
BEHIND = 6
HOSTILE_COMMANDS = [
    *(b"", b"\xc1", b"\xff" * 4000, b"\x81\xa2do\x01", b"\x93\x01\x02\x03"),
    *(
        msgpack.packb({"do": PROBE, **details})
        for details in (
            {},
            {"to": 5},
            {"to": [RECORDS]},
            {"to": f"{RECORDS}x", "patience": "abc"},
            {"to": f"{RECORDS}x", "patience": float("nan")},
            {"to": f"{RECORDS}x", "patience": -1e300},
        )
    ),
]


class Scene:
    """A store of its own, nodes on it, and jobs that run until the gate is opened."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.fleet = Fleet(server.url, "scene", folder, target=TARGET)
        self.app: App = alone.client(server.url, "scene")
        self.out, self.gate = folder / "out", folder / "gate"
        self.gate.touch()
        self.jobs: list[Job[object]] = []

    def submit_long(self, *names: str) -> None:
        self.jobs += [
            self.app.enqueue("gated", args=(str(self.out), name, str(self.gate))) for name in names
        ]

    def submit_short(self, count: int) -> None:
        self.jobs += [
            self.app.enqueue("append", args=(str(self.out), f"short {n}")) for n in range(count)
        ]

    def begun(self, *names: str, times: int = 1) -> None:
        """Wait until these have begun so often."""
        wanted = {f"begin {name}": times for name in names}
        eventually(
            lambda: all(self.counts[line] >= n for line, n in wanted.items()),
            timeout=40,
            message=f"{wanted} in {self.counts}",
        )

    @property
    def counts(self) -> Counter[str]:
        return Counter(lines(self.out))

    def open(self) -> None:
        self.gate.unlink()

    def finish(self) -> None:
        def all_done() -> bool:
            return all(job.state() is State.SUCCEEDED for job in self.jobs)

        eventually(all_done, timeout=40)

    def pass_time(self, seconds: float) -> None:
        end = monotonic() + seconds
        eventually(lambda: monotonic() > end, timeout=seconds + 10)

    def close(self) -> None:
        self.fleet.end()
        self.app.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with RedisServer(appendonly=True) as server:
        made = Scene(server, tmp_path)
        try:
            yield made
        finally:
            made.close()


def test_redis_away_for_three_leases_while_three_nodes_run_long_jobs(scene: Scene) -> None:
    """None runs twice, and of what waits meanwhile none is lost or run twice either."""
    scene.submit_long("a", "b", "c")
    nodes = [scene.fleet.start("--processes", "1", "--lease", "1") for _ in range(3)]
    scene.begun("a", "b", "c")
    scene.submit_short(3 * BEHIND)
    scene.server.kill()
    for node in nodes:
        eventually(lambda node=node: "is away" in node.log, timeout=20)  # type: ignore[misc]
    scene.pass_time(3.2)
    scene.server.start()
    scene.open()
    scene.finish()
    assert scene.counts == {
        **{f"{what} {name}": 1 for what in ("begin", "end") for name in "abc"},
        **{f"short {n}": 1 for n in range(3 * BEHIND)},
    }
    assert [job.info().losses for job in scene.jobs[:3]] == [0, 0, 0]
    assert all(node.poll() is None for node in nodes)


def test_a_step_of_the_stores_clock_both_ways_takes_nothing_from_anybody(scene: Scene) -> None:
    scene.submit_long("a", "b")
    for _ in range(2):
        scene.fleet.start("--processes", "1", "--lease", "1")
    scene.begun("a", "b")
    with StoreClock(scene.app.broker) as clock:
        for step in (HOUR, -2 * HOUR):
            clock.step(step)
            scene.pass_time(1.3)  # so long that a lease runs out, if it is not renewed
    scene.open()
    scene.finish()
    assert scene.counts == {f"{what} {name}": 1 for what in ("begin", "end") for name in "ab"}
    assert [job.info().losses for job in scene.jobs] == [0, 0]


def test_a_node_that_was_cut_off_for_an_hour_changes_nothing_when_it_is_back(scene: Scene) -> None:
    """Meanwhile the others have run what it held. What it was running it tells too late; what
    waited behind that it never starts."""
    with Proxy(scene.server.url) as proxy, StoreClock(scene.app.broker) as clock:
        scene.submit_long("a")
        scene.submit_short(BEHIND)
        cut_off = scene.fleet.start(
            *("--processes", "1", "--prefetch", str(BEHIND), "--lease", "1"),
            TASKRUNNER_BROKER=proxy.url,
        )
        scene.begun("a")
        proxy.silence()
        clock.step(HOUR)
        scene.fleet.start("--processes", "2", "--lease", "1")
        scene.begun("a", times=2)  # by the other one, beside the first
        eventually(
            lambda: all(job.state() is State.SUCCEEDED for job in scene.jobs[1:]), timeout=30
        )
        scene.open()
        scene.finish()
        eventually(lambda: scene.counts["end a"] == 2, timeout=20)
        before = scene.jobs[0].info()
        proxy.heal()
        eventually(lambda: "fenced" in cut_off.log or "refused" in cut_off.log, timeout=30)
        assert scene.jobs[0].info().record == before.record
        scene.submit_short(1)
        eventually(lambda: len(scene.app.broker.nodes()) >= 2, timeout=20)
    assert all(scene.counts[f"short {n}"] == 1 for n in range(1, BEHIND))
    assert cut_off.poll() is None


def test_a_container_that_is_killed_whole_twice_makes_suspects_of_what_it_held(
    scene: Scene,
) -> None:
    """Supervisor, fork server and children die at once. Nobody knows who did it: each of the jobs
    runs alone after the second time, and those that are innocent succeed."""
    scene.submit_long("a", "b")
    scene.submit_short(BEHIND)
    options = ("--processes", "1", "--concurrency", "2", "--prefetch", str(BEHIND))
    for times in (1, 2):
        node = scene.fleet.start(*options)
        scene.begun("a", "b", times=times)
        kill(node.pid, *node.below)
    assert [job.info().losses for job in scene.jobs[:2]] == [1, 1]  # the second is not seen yet
    scene.fleet.start(*options)
    eventually(lambda: all(job.info().suspect for job in scene.jobs[:2]), timeout=20)
    scene.begun("a", times=3)
    assert scene.counts["begin b"] == 2  # alone means that the other one waits
    scene.open()
    scene.finish()
    assert "overlap a" not in scene.counts
    assert "overlap b" not in scene.counts
    assert {job.info().crashes for job in scene.jobs} == {0}


# -- bad input, from the inside


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n" * 3, b"\x00\x00\x00\x05\x92\x0c\x91\x90\x00"]
)
def test_a_task_that_writes_into_its_pipe_ends_its_own_process(scene: Scene, data: bytes) -> None:
    node = scene.fleet.start("--processes", "2")
    hostile = scene.app.enqueue("scribble", args=(str(scene.out), data))
    scene.submit_short(40)
    eventually(lambda: hostile.state() is State.FAILED, timeout=40)
    info = hostile.info()
    assert (info.reason, info.crashes) == ("crashed", 3)
    assert info.error is not None
    assert "wrote to its pipe" in info.error.message
    scene.finish()
    assert node.poll() is None
    assert "Traceback" not in node.log
    # Each of its three processes was ended, and another one took its place.
    assert not [pid for pid in lines(scene.out) if pid.isdigit() and os.path.exists(f"/proc/{pid}")]
    scene.submit_short(10)
    scene.finish()


def now_ms(redis: Redis) -> float:
    seconds, micro = redis.time()
    return seconds * 1000 + micro / 1000


def test_a_store_that_is_damaged_under_a_running_node_stops_nobody(scene: Scene) -> None:
    """Fields of every tenth job, counters and bells are filled with garbage while jobs run."""
    chance = random.Random(1)
    node = scene.fleet.start("--processes", "2", "--lease", "3")
    eventually(lambda: scene.app.broker.nodes(), timeout=20)
    queue = "{scene:default}:"
    garbage = [b"", b"abc", b"-1", b"nan", b"\xff\xfe", b"9" * 30]
    broker = scene.app.broker
    assert isinstance(broker, Broker)
    (info,) = broker.nodes()
    spoilt: set[str] = set()
    with scene.server.client() as redis:
        for _ in range(12):
            node.pause()  # else most would be over before they are damaged
            scene.submit_short(50)
            for job in chance.sample(scene.jobs[-50:], 5):
                spoilt.add(job.id)
                for field in chance.sample("wpednfxlqoskt", 4):
                    redis.hset(f"{queue}job:{job.id}", field, chance.choice(garbage))
            redis.hset(f"{queue}stats", chance.choice(["p5", "active", "succeeded"]), b"abc")
            redis.hset(f"{queue}meta", chance.choice(["last", "since", "order"]), b"abc")
            redis.publish("{scene}:bell", chance.choice(garbage))
            for n, command in enumerate(HOSTILE_COMMANDS):
                redis.hset(f"{{scene}}:commands:{info.id}", f"{len(scene.jobs)} {n}", command)
                redis.zadd(f"{{scene}}:sent:{info.id}", {f"{len(scene.jobs)} {n}": now_ms(redis)})
            redis.publish(f"{{scene}}:bell:{info.id}", b"5 ")
            redis.hset("{scene}:nodes", chance.choice("xyz"), chance.choice(garbage))
            node.resume()
    others = [job for job in scene.jobs if job.id not in spoilt]
    eventually(lambda: all(job.state() is State.SUCCEEDED for job in others), timeout=40)
    states = [job.state() for job in scene.jobs]  # each can be looked at
    assert len(states) == len(scene.jobs) == 600
    assert node.poll() is None
    tracebacks = node.log.split("Traceback")
    assert all("could not be done" in before[-200:] for before in tracebacks[:-1])
    eventually(lambda: broker.commands(info.id) == [], timeout=20)
    scene.submit_short(10)
    eventually(lambda: all(j.state() is State.SUCCEEDED for j in scene.jobs[-10:]), timeout=20)
