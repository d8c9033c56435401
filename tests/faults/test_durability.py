"""What the store confirms of a job before its enqueue returns, on real servers.

Whether they know WAITAOF depends on which redis-server is found; that conversation is also tested
without one, in tests/unit/redis/test_durability.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from taskrunner import App, Job, NotConfirmed, OptionError, State
from taskrunner.brokers.redis.durability import KNOWS_WAITAOF
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_cluster import RedisCluster
from taskrunner.testing.redis_sentinel import RedisSentinel
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from taskrunner.testing.wire import script
from taskrunner.worker.upcall import UpcallBroker


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A server and a replica of it that is in step."""
    with RedisServer(extra=["--repl-diskless-sync-delay", "0"]) as master:
        of = ["--replicaof", "127.0.0.1", str(master.port)]
        with RedisServer(extra=of) as replica:
            replica.wait_for(
                lambda client: client.info("replication")["master_link_status"] == "up"
            )
            yield master, replica


@pytest.fixture(scope="module")
def synced() -> Iterator[RedisServer]:
    with RedisServer(appendonly=True) as server:
        yield server


def app_at(url: str, **settings: Any) -> App:
    app = App(url, **settings)
    app.task(name="t")(print)
    return app


def is_there(app: App, job: Job[Any]) -> bool:
    return app.broker.get([(job.queue, job.id)])[0] is not None  # type: ignore[list-item]


def test_a_replica_has_it(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = pair
    app = app_at(master.url, namespace="has")
    job = app.enqueue("t", durability="replicated")
    job_id = asyncio.run(app.aenqueue("t", durability="replicated")).id
    with replica.client() as client:
        for one in (job.id, job_id):
            assert client.exists(f"{{has:default}}:job:{one}")
    app.close()


def test_a_replica_that_does_not_answer(pair: tuple[RedisServer, RedisServer]) -> None:
    """The job is stored; the same messages again are accepted once, and confirmed."""
    master, replica = pair
    app = app_at(master.url, namespace="silent", durability_timeout_s=0.2)
    message = app.tasks["t"].options(durability="replicated").message()
    with replica.paused():
        with pytest.raises(NotConfirmed, match=r"is stored, .*no replica had it") as caught:
            app.submit(message)
        assert (caught.value.job_id, caught.value.stored) == (message.id, True)
        with pytest.raises(NotConfirmed):
            asyncio.run(app.asubmit(message))
        assert app.job(message.id, "default").state() is State.PENDING
        (job,) = app.enqueue_many([message])
        assert isinstance(job.rejection, NotConfirmed)
        assert not job.accepted
        assert job.state() is State.PENDING
    eventually(lambda: app.enqueue_many([message])[0].accepted, timeout=20)
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 1
    app.close()


def test_a_repeat_is_confirmed_by_what_it_writes_itself(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    """Its job was stored over another connection: there is nothing of its own to wait for."""
    master, replica = pair
    first, second = (
        app_at(master.url, namespace="again", durability_timeout_s=0.2) for _ in range(2)
    )
    message = first.tasks["t"].options(durability="replicated").message()
    with replica.paused():
        for app in (first, second):
            with pytest.raises(NotConfirmed):
                app.submit(message)
    first.close()
    second.close()


def knows_waitaof(server: RedisServer) -> bool:
    with server.client() as client:
        version = client.info("server")["redis_version"]
    return tuple(map(int, version.split(".")[:2])) >= KNOWS_WAITAOF


def test_without_a_replica_nothing_is_stored(synced: RedisServer) -> None:
    app = app_at(synced.url, namespace="alone")
    with pytest.raises(NotConfirmed, match=r"was not stored: .*no replica is connected") as caught:
        app.enqueue("t", durability="replicated", job_id="a")
    assert (caught.value.job_id, caught.value.stored) == ("a", False)
    assert app.broker.queues() == ["default"]
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 0
    app.close()


def test_a_server_that_syncs_each_write(synced: RedisServer) -> None:
    app = app_at(synced.url, namespace="synced")
    app.task(name="d", durability="fsynced")(print)
    app.enqueue("d")
    asyncio.run(app.aenqueue("t", durability="fsynced"))
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 2
    app.close()


@pytest.mark.parametrize(
    ("fsync", "words"),
    [("everysec", "with appendfsync everysec: it confirms that from 7.2 on"), (None, "appendonly")],
)
def test_a_server_that_does_not(fsync: Any, words: str) -> None:
    with RedisServer(appendonly=True) as server:
        server.keep(fsync=fsync)
        app = app_at(server.url)
        if fsync is not None and knows_waitaof(server):
            app.enqueue("t", durability="fsynced")
            asyncio.run(app.aenqueue("t", durability="fsynced"))
            server.kill()
            server.start()
            assert app.broker.stats(["default"])[0].counts[State.PENDING] == 2
        else:
            with pytest.raises(NotConfirmed, match=words) as caught:
                app.enqueue("t", durability="fsynced")
            assert not caught.value.stored
        app.close()


def test_a_user_who_may_not_ask() -> None:
    acl = ["--user", "poor", "on", ">secret", "~*", "&*", "+@all", "-config"]
    with RedisServer(appendonly=True, extra=acl) as server:
        app = app_at(server.url.replace("redis://", "redis://poor:secret@"))
        if knows_waitaof(server):  # then it need not ask
            app.enqueue("t", durability="fsynced")
        else:
            with pytest.raises(NotConfirmed, match="may not ask for its appendfsync"):
                app.enqueue("t", durability="fsynced")
        app.close()


def test_each_of_a_bulk_is_answered(synced: RedisServer) -> None:
    app = app_at(synced.url, namespace="bulk")
    task = app.tasks["t"]
    kinds = (task, task.options(durability="replicated"), task.options(durability="fsynced"))
    messages = [kind.message() for _ in range(100) for kind in kinds]
    for jobs in (app.enqueue_many(messages), asyncio.run(app.aenqueue_many(messages))):
        assert [job.accepted for job in jobs] == [True, False, True] * 100
        refused = [job.rejection for job in jobs if not job.accepted]
        assert all(isinstance(one, NotConfirmed) and not one.stored for one in refused)
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 200
    app.close()


def test_an_outage_is_ridden_out_and_the_job_is_there_once() -> None:
    """The reply is lost after the script has run; the server dies, and comes back with the job."""
    with RedisServer(appendonly=True) as server, Proxy(server.url) as proxy:
        app = app_at(proxy.url)
        app.enqueue("t")
        lost = proxy.drop_reply(after=script("enqueue"))
        done: list[Job[Any]] = []
        thread = threading.Thread(
            target=lambda: done.append(app.enqueue("t", durability="fsynced", job_id="a"))
        )
        thread.start()
        lost.wait()
        server.kill()
        server.start()
        thread.join(30)
        assert [job.id for job in done] == ["a"]
        assert app.broker.stats(["default"])[0].counts[State.PENDING] == 2
        app.close()


@pytest.mark.timeout(120)
def test_hole_26_what_was_confirmed_survives_a_failover() -> None:
    with RedisSentinel() as store:
        app = app_at(store.url)
        jobs = [app.enqueue("t", durability="replicated") for _ in range(100)]
        store.master.kill()
        store.wait_for_master(store.replica)
        assert all(job.state() is State.PENDING for job in jobs)
        with pytest.raises(NotConfirmed, match="no replica is connected"):
            app.enqueue("t", durability="replicated")
        app.close()


# -- brokers that confirm nothing


def test_memory_says_what_it_accepts_before_anything_is_submitted() -> None:
    app = app_at("memory://")
    accepts = r"durability='fsynced': .*MemoryBroker.*: expected 'default'"
    task = app.tasks["t"].options(durability="fsynced")
    with pytest.raises(OptionError, match=accepts):
        task.enqueue()
    with pytest.raises(OptionError, match=accepts):
        asyncio.run(task.aenqueue())
    messages = [app.tasks["t"].message(), task.message()]
    with pytest.raises(OptionError, match=accepts):
        app.enqueue_many(messages)
    with pytest.raises(OptionError, match=accepts):
        asyncio.run(app.aenqueue_many(messages))
    assert app.broker.queues() == []
    assert app.enqueue("t", durability="default").accepted


def test_so_it_is_in_a_task_whose_broker_is_its_supervisors() -> None:
    app = app_at(UpcallBroker.__new__(UpcallBroker))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="expected 'default'"):
        app.enqueue("t", durability="replicated")


def test_queues_on_several_servers_of_a_cluster() -> None:
    with RedisCluster(appendonly=True) as cluster:
        app = app_at(cluster.url, namespace="parts")
        queues = list(cluster.queues_by_owner(namespace="parts").values())
        assert len(queues) == 3
        task = app.tasks["t"]
        messages = [task.options(durability="fsynced", queue=queue).message() for queue in queues]
        messages += [task.options(durability="replicated", queue=q).message() for q in queues]
        for jobs in (app.enqueue_many(messages), asyncio.run(app.aenqueue_many(messages))):
            assert [job.accepted for job in jobs] == [True] * 3 + [False] * 3
        pending = [stats.counts[State.PENDING] for stats in app.broker.stats(queues)]
        assert pending == [1, 1, 1]
        app.close()
