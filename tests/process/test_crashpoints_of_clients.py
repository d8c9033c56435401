"""Clients and operators that die at each call: it was made, or it was not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from taskrunner import JobNotFound, State
from taskrunner.brokers.base import Broker, JobKey, NodeInfo
from taskrunner.limits import Scope, ScopeKind
from taskrunner.testing.crash import CrashAt
from taskrunner.testing.redis_server import RedisServer
from tests.process.conftest import ROOT, lines
from tests.process.test_crashpoints import Campaign, both

CLIENTS_JOB = "from-the-client"
CLIENT = """
import asyncio, sys
from taskrunner import App
from taskrunner.brokers.base import Command, JobKey
from taskrunner.limits import Limit, Scope, ScopeKind
call, out = sys.argv[1:]
app = App()
submit = dict(args=(out, "client"), job_id="from-the-client")
key = JobKey("default", "from-the-client")
job = app.job(key.id, queue=key.queue)
match call:
    case "enqueue":
        app.enqueue("append", **submit)
    case "aenqueue":
        asyncio.run(app.aenqueue("append", **submit))
    case "cancel":
        job.cancel()
    case "send":
        app.broker.send("n1", Command.new("stop"))
    case "pause":
        app.broker.pause("default", Scope(ScopeKind.QUEUE))
    case "resume":
        app.broker.resume("default", Scope(ScopeKind.QUEUE))
    case "set_limit":
        app.broker.set_limit("default", Scope(ScopeKind.QUEUE), Limit(max_running=7))
    case "requeue":
        app.broker.requeue([key])
    case "delete":
        app.broker.delete([key])
    case "reschedule":
        app.broker.reschedule([key], delay=1000)
    case "get" | "watch" | "open_mailbox" | "wait":
        job.result(timeout=20)
"""


@pytest.fixture
def campaign(redis_server: RedisServer, tmp_path: Path) -> Iterator[Campaign]:
    with Campaign(redis_server.url, tmp_path) as campaign:
        yield campaign


def die_in_client(campaign: Campaign, point: str, folder: Path) -> bool:
    """A client dies at this point of its only call; whether that was after it."""
    client = start_client(campaign, CrashAt(point, folder=folder))
    assert client.wait(timeout=30) == -9
    return point.endswith(".after")


def start_client(campaign: Campaign, crash: CrashAt) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, crash.point.partition(".")[0], str(campaign.out)],
        cwd=ROOT,
        env={**campaign.environ, **crash.environ},
    )


@pytest.mark.parametrize("point", sorted(both("enqueue", "aenqueue")))
def test_a_client_that_dies_has_submitted_or_not(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    done = die_in_client(campaign, point, tmp_path)
    with campaign.another_node():
        if done:
            assert campaign.client.job(CLIENTS_JOB, queue="default").result(timeout=20) == "client"
        assert campaign.one("append", "last").result(timeout=20) == "last"
    assert set(lines(campaign.out)) == ({"client", "last"} if done else {"last"})


@pytest.mark.parametrize("point", sorted(both("cancel")))
def test_a_client_that_dies_has_cancelled_or_not(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    job = campaign.client.tasks["append"].options(job_id=CLIENTS_JOB).enqueue("", "")
    done = die_in_client(campaign, point, tmp_path)
    assert job.state() is (State.CANCELLED if done else State.PENDING)


@pytest.mark.parametrize("point", sorted(both("requeue", "delete", "reschedule")))
def test_an_operator_that_dies_has_done_it_or_not(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    append = campaign.client.tasks["append"]
    job = append.options(job_id=CLIENTS_JOB, delay=1).enqueue(str(campaign.out), "client")
    campaign.jobs.append(job)
    before = job.info().eta
    done = die_in_client(campaign, point, tmp_path)
    if point == "delete.after":
        with pytest.raises(JobNotFound):
            job.info()
        return
    if point == "reschedule.after":
        assert job.info().eta != before
        campaign.client.broker.requeue([JobKey("default", job.id)])
    elif point == "requeue.after":
        assert job.state() is State.PENDING
    else:
        assert (done, job.info().eta) == (False, before)
    with campaign.another_node():
        assert job.result(timeout=20) == "client"
    assert lines(campaign.out) == ["client"]


@pytest.mark.parametrize("point", sorted(both("pause", "resume", "set_limit")))
def test_an_operator_that_dies_holds_a_queue_or_does_not(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    broker, queue = campaign.client.broker, Scope(ScopeKind.QUEUE)
    job = campaign.one("append", "held")
    if point.startswith("resume"):
        broker.pause("default", queue)
    before = broker.limits("default")
    done = die_in_client(campaign, point, tmp_path)
    assert (broker.limits("default") != before) is done
    broker.resume("default", queue)
    with campaign.another_node():
        assert job.result(timeout=20) == "held"


@pytest.mark.parametrize("point", sorted(both("send")))
def test_a_client_that_dies_has_sent_its_command_or_not(
    campaign: Campaign, tmp_path: Path, point: str
) -> None:
    broker = campaign.client.broker
    assert isinstance(broker, Broker)
    broker.join(NodeInfo("n1", lease=60), ["default"])
    done = die_in_client(campaign, point, tmp_path)
    assert [command.do for command in broker.commands("n1")] == (["stop"] if done else [])


@pytest.mark.parametrize("point", sorted(both("get", "watch", "open_mailbox", "wait")))
def test_a_client_that_dies_while_it_waits_is_nobodys_trouble(
    campaign: Campaign, redis_server: RedisServer, tmp_path: Path, point: str
) -> None:
    append = campaign.client.tasks["append"]
    job = append.options(job_id=CLIENTS_JOB).enqueue(str(campaign.out), "client")
    crash = CrashAt(point, folder=tmp_path)
    client = start_client(campaign, crash)
    record = f"{{{campaign.namespace}:default}}:job:{CLIENTS_JOB}"

    def is_watched_or_dead(redis: Redis) -> bool:
        return crash.has_happened or redis.hget(record, "v") is not None

    redis_server.wait_for(is_watched_or_dead)
    with campaign.another_node():
        assert job.result(timeout=20) == "client"
    assert client.wait(timeout=20) == -9
    assert lines(campaign.out) == ["client"]
