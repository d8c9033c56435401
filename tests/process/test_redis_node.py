"""A node on Redis, run as users run it: what an outsider sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, JobCancelled, State
from taskrunner.brokers.base import Command, JobKey
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, Fleet, children_of, lines

NAME = "tests.process.apps.basic."


def submit(app: App, task: str, *args: Any, **options: Any) -> Any:
    return app.enqueue(NAME + task, args=args, **options)


def cli(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskrunner", *words, "--namespace", fleet.namespace],
        cwd=ROOT,
        env=fleet.environ,
        capture_output=True,
        text=True,
        timeout=40,
    )


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that this test alone may stop and start."""
    with RedisServer(appendonly=True) as server:
        yield server


def test_the_command_line_goes_the_whole_road(fleet: Fleet) -> None:
    fleet.start("--processes", "1")
    target = "tests.process.apps.basic:app"
    done = cli(fleet, "enqueue", target, NAME + "add", "1", "--kwargs", '{"b": 2}', "--wait")
    assert done.returncode == 0, done.stderr
    assert "3" in done.stdout
    job = submit(fleet.app(), "add", 20, 22)
    assert job.result(timeout=20) == 42
    shown = json.loads(cli(fleet, "status", job.id, "--json").stdout)
    assert (shown["state"], shown["result"]) == ("succeeded", 42)
    assert cli(fleet, "queues").returncode == 0


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_tasks_wait_for_tasks(fleet: Fleet, concurrency: str) -> None:
    fleet.start("--processes", "1", "--concurrency", concurrency)
    assert submit(fleet.app(), "nest", 5).result(timeout=40) == 5


def test_with_concurrency_many_run_at_once(fleet: Fleet, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    app = fleet.app()
    jobs = [submit(app, "block_then_append", str(out), str(n), str(gate)) for n in range(4)]
    fleet.start("--processes", "1", "--concurrency", "4")
    eventually(lambda: len(lines(out)) == 4, timeout=20)
    gate.unlink()
    assert [job.result(timeout=20) for job in jobs] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("task", ["forever"])
@pytest.mark.parametrize("concurrency", ["1", "3"])
def test_a_running_job_is_cancelled_from_elsewhere(
    fleet: Fleet, tmp_path: Path, task: str, concurrency: str
) -> None:
    out = tmp_path / "out"
    fleet.start("--processes", "1", "--concurrency", concurrency, "--grace", "0.5")
    job = submit(fleet.app(), task, str(out))
    eventually(lambda: lines(out)[:1] == ["started"], timeout=20)
    assert job.cancel() is True
    with pytest.raises(JobCancelled):
        job.result(timeout=20)


def test_priorities_hold_inside_a_queue(fleet: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    app = fleet.app()
    for priority in (1, 5, 9, 3):
        for n in range(2):
            submit(app, "append", str(out), f"{priority}-{n}", priority=priority)
    fleet.start("--processes", "1", "--prefetch", "0")
    eventually(lambda: len(lines(out)) == 8, timeout=20)
    assert lines(out) == [f"{p}-{n}" for p in (9, 5, 3, 1) for n in range(2)]


def test_a_delayed_job_waits_and_an_expired_one_never_runs(fleet: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    app = fleet.app()
    late = submit(app, "append", str(out), "late", expires=0.01)
    delayed = submit(app, "append", str(out), "delayed", delay=0.5)
    eventually(lambda: app.broker.now() > late.info().expires_at.timestamp(), timeout=5)
    fleet.start("--processes", "1")
    assert delayed.result(timeout=20) == "delayed"
    eventually(lambda: late.state() is State.EXPIRED, timeout=20)
    assert lines(out) == ["delayed"]


def test_a_job_of_an_unknown_task_waits_for_a_node_that_knows_it(fleet: Fleet) -> None:
    app = App(fleet.url, namespace=fleet.namespace)  # declares nothing: any name goes
    job = app.enqueue("shop.later", args=(1,))
    fleet.start("--processes", "1")
    eventually(lambda: job.state() is State.WAITING, timeout=20)
    other = submit(app, "add", 1, 1)
    assert other.result(timeout=20) == 2
    newer = App(fleet.url, namespace=fleet.namespace)
    newer.task(name="shop.later")(lambda n: n + 1)
    with newer.running(threads=1):
        assert job.result(timeout=40) == 2


def test_nodes_that_know_different_tasks_share_a_queue(fleet: Fleet) -> None:
    """What the one parks the other takes straight from there: nothing goes back and forth."""
    newer = App(fleet.url, namespace=fleet.namespace)
    newer.task(name="shop.later")(lambda n: n + 1)
    fleet.start("--processes", "1")
    assert submit(fleet.app(), "add", 1, 1).result(timeout=20) == 2
    with newer.running(threads=1):
        jobs = [newer.enqueue("shop.later", args=(n,)) for n in range(30)]
        jobs += [submit(fleet.app(), "add", n, 1) for n in range(30)]
        assert [job.result(timeout=40) for job in jobs] == [n + 1 for n in range(30)] * 2
    eventually(lambda: not newer.broker.stats(["default"])[0].parked, timeout=10)


def put_wire(fleet: Fleet, server: RedisServer, job_id: str, wire: bytes) -> None:
    """Other bytes in the place of a job's message, by a hand that goes around the scripts."""
    queue = f"{{{fleet.namespace}:default}}"
    with server.client() as client:
        client.hdel(f"{queue}:job:{job_id}", "1", "2")
        client.hset(f"{queue}:job:{job_id}", "w", wire)
        client.delete(f"{queue}:body:{job_id}")


def test_garbage_in_a_record_fails_that_job_and_no_other(
    fleet: Fleet, tmp_path: Path, redis_server: RedisServer
) -> None:
    app = fleet.app()
    bad = submit(app, "add", 1, 1)
    good = submit(app, "add", 2, 2)
    put_wire(fleet, redis_server, bad.id, b"\xc1\x00 not msgpack")
    fleet.start("--processes", "1")
    assert good.result(timeout=20) == 4
    eventually(lambda: bad.state() is State.FAILED, timeout=20)
    assert bad.info().reason == "unreadable"
    record = app.broker.get([JobKey(bad.queue, bad.id)])[0]
    assert record is not None
    assert record.wire == b"\xc1\x00 not msgpack"


def test_a_message_of_a_later_version_waits_and_is_not_destroyed(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    """What the next version's client wrote: first one node lets it wait, then one with no patience
    gives it up, with its bytes kept."""
    app = fleet.app()
    later, other = submit(app, "add", 1, 1), submit(app, "add", 2, 2)
    key = JobKey(later.queue, later.id)
    wire = b"\x94\x02\xa3add\xc4\x01x\xc0"
    put_wire(fleet, redis_server, later.id, wire)
    node = fleet.start("--processes", "1")
    assert other.result(timeout=20) == 4
    eventually(lambda: later.state() is State.WAITING, timeout=20)
    assert "cannot read messages of version 2" in node.log
    (record,) = app.broker.get([key])
    assert record is not None
    assert (record.park_key, record.wire, record.attempts) == ("version:2", wire, 0)
    node.stop()
    again = submit(app, "add", 3, 3)
    put_wire(fleet, redis_server, again.id, wire)
    fleet.start("--processes", "1", TASKRUNNER_UNKNOWN_TASK_TTL_S="0.1")
    eventually(lambda: again.state() is State.FAILED, timeout=40)
    assert again.info().reason == "unknown version"
    (record,) = app.broker.get([JobKey(again.queue, again.id)])
    assert record is not None
    assert record.wire == wire
    assert later.state() is State.WAITING


def test_a_broker_outage_is_weather(own_redis: RedisServer, tmp_path: Path) -> None:
    """Redis is killed while a job runs; it comes back, the job settles, the next ones run."""
    fleet = Fleet(own_redis.url, "weather", tmp_path)
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    try:
        node = fleet.start("--processes", "1", "--lease", "3")
        app = fleet.app()
        job = submit(app, "block_then_append", str(out), "one", str(gate))
        eventually(lambda: lines(out) == ["started one"], timeout=20)
        own_redis.kill()
        gate.unlink()
        eventually(lambda: lines(out) == ["started one", "one"], timeout=20)
        eventually(lambda: "is away" in fleet.log(), timeout=10)
        own_redis.restart()
        assert job.result(timeout=30) == "one"
        assert submit(app, "add", 1, 2).result(timeout=30) == 3
        assert node.poll() is None
        assert job.info().attempt == 1
        assert "Traceback" not in fleet.log()
    finally:
        fleet.end()


def test_a_stopped_node_loses_its_jobs_and_starts_none_of_them_later(
    fleet: Fleet, tmp_path: Path
) -> None:
    """A supervisor is stopped for longer than its lease: another node runs what it held, and when
    it goes on, nothing of that runs again."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    gate.touch()
    app = fleet.app()
    first = submit(app, "block_then_append", str(out), "first", str(gate))
    rest = [submit(app, "append", str(out), str(n)) for n in range(20)]
    stopped = fleet.start("--processes", "1", "--prefetch", "30", "--lease", "1")
    eventually(lambda: lines(out) == ["started first"], timeout=20)
    children = children_of(stopped.pid)
    stopped.send_signal(signal.SIGSTOP)
    # Two: the first job, taken back as well, waits at the gate in one of them.
    fleet.start("--processes", "2", "--lease", "1")
    eventually(lambda: all(job.state() is State.SUCCEEDED for job in rest), timeout=30)
    gate.unlink()
    assert first.result(timeout=20) == "first"
    stopped.send_signal(signal.SIGCONT)
    last = [submit(app, "append", str(out), f"last {n}") for n in range(40)]
    for job in last:
        job.result(timeout=20)
    ran = [line for line in lines(out) if line.isdigit()]
    assert sorted(ran, key=int) == [str(n) for n in range(20)]
    assert all(os.path.exists(f"/proc/{pid}") for pid in children)
    assert stopped.poll() is None


def test_a_command_reaches_a_running_node(fleet: Fleet) -> None:
    node = fleet.start("--processes", "1")
    app = fleet.app()
    assert submit(app, "add", 1, 1).result(timeout=20) == 2
    (info,) = app.broker.nodes()
    for name in ("levitate", "dump"):
        assert app.broker.send(info.id, Command.new(name)) is True
    eventually(lambda: "holds 0 jobs" in fleet.log(), timeout=20)
    assert "'levitate', which this version does not know" in fleet.log()
    assert app.broker.send(info.id, Command.new("stop")) is True
    assert node.wait(timeout=20) == 0
    assert app.broker.send(info.id, Command.new("dump")) is False
