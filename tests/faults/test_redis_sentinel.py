"""Sentinels: the master is found, followed when it changes, and never mistaken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from redis import Redis

from taskrunner.backends.redis import RedisBackend
from taskrunner.brokers.base import Bell, BellKind, JobKey, Limits
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store, make_message
from taskrunner.testing.redis_sentinel import NAME, RedisSentinel
from taskrunner.testing.waiting import eventually

SECRET = "hunter2"
SENTINELS_SECRET = "hunter3"


@pytest.fixture(scope="module")
def watched() -> Iterator[RedisSentinel]:
    """For tests that leave the master what it is."""
    with RedisSentinel(password=SECRET, sentinel_password=SENTINELS_SECRET) as store:
        yield store


def broker_at(url: str, namespace: str = "") -> RedisBroker:
    return RedisBroker.from_url(url, namespace=namespace or uuid4().hex, limits=Limits())


def hosts(store: RedisSentinel) -> str:
    return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in store.sentinels)


def test_jobs_bells_and_results_go_by_way_of_the_sentinels(watched: RedisSentinel) -> None:
    broker = broker_at(watched.url)
    broker.ping()
    mailbox = broker.open_mailbox("waiter")
    assert broker.enqueue([make_message("a")])[0].accepted
    assert asyncio.run(broker.aenqueue([make_message("b")]))[0].accepted
    assert mailbox.wait(5.0) == [Bell(BellKind.QUEUE, "q")]
    with watched.master.client() as client:
        assert client.exists(broker._keys.of_queue("q", "job:a"))
    mailbox.close()
    broker.close()
    backend = RedisBackend.from_url(watched.url, namespace="ns")
    backend.ping()
    backend.close()


def test_the_next_sentinel_is_asked_where_one_is_silent_or_does_not_know(
    watched: RedisSentinel,
) -> None:
    nobody = f"127.0.0.1:1,127.0.0.1:{watched.master.port}"
    url = f"redis+sentinel://:{SECRET}@{nobody},{hosts(watched)}/{NAME}"
    broker = broker_at(f"{url}?sentinel_password={SENTINELS_SECRET}")
    assert broker.queues() == []
    asyncio.run(broker.aenqueue([make_message("a")]))
    broker.close()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis+sentinel://:hunter2@{hosts}/nobody?sentinel_password=hunter3", "'nobody'"),
        ("redis+sentinel://:hunter2@{hosts}/mymaster?sentinel_password=no-hunter3", "invalid"),
        ("redis+sentinel://:hunter2@{hosts}/mymaster", "Authentication required"),
        ("redis+sentinel://:no-hunter2@{hosts}/mymaster?sentinel_password=hunter3", "password"),
        ("redis+sentinel://127.0.0.1:1/mymaster", "sentinel 127.0.0.1:1"),
    ],
)
def test_what_does_not_lead_to_a_master_is_an_outage_with_a_reason(
    watched: RedisSentinel, url: str, complaint: str
) -> None:
    broker = broker_at(url.format(hosts=hosts(watched)))
    with pytest.raises(BrokerUnavailable, match=complaint) as caught:
        broker.queues()
    with pytest.raises(BrokerUnavailable, match=complaint):
        asyncio.run(broker.aenqueue([make_message("a")]))
    with pytest.raises(BrokerUnavailable, match=complaint):
        broker.open_mailbox("n1")
    assert "hunter" not in str(caught.value) + str(caught.value.__cause__) + repr(broker)
    broker.close()


def test_a_replica_is_never_taken_for_the_master(watched: RedisSentinel) -> None:
    """A sentinel may be the last to hear of a failover."""
    broker = broker_at(watched.url)
    assert broker.queues() == []
    with watched.master.client() as client:
        client.replicaof("127.0.0.1", str(watched.replica.port))
        try:
            with pytest.raises(BrokerUnavailable, match="cannot serve now"):
                broker.enqueue([make_message("a")])
            with pytest.raises(BrokerUnavailable, match="no master but a slave"):
                broker.enqueue([make_message("a")])
        finally:
            client.replicaof("NO", "ONE")
    watched.wait_for_master(watched.master)
    eventually(lambda: accepts(broker, "b"), timeout=20)
    broker.close()


def accepts(broker: RedisBroker, job_id: str) -> bool:
    try:
        return broker.enqueue([make_message(job_id)])[0].accepted
    except BrokerUnavailable:
        return False


def writes_its_file(client: Redis) -> bool:
    """A replica begins its append-only file anew after its first synchronisation; until that is
    written, a kill loses everything."""
    found = client.info("persistence")
    return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])


def test_a_failover_is_told_once_and_what_the_new_master_does_not_know_is_fenced() -> None:
    with RedisSentinel(appendonly=True) as store:
        broker = broker_at(store.url)
        jobs = Store(broker)
        known = jobs.run("known")
        mailbox = broker.open_mailbox("n1")
        with store.master.client() as master:
            master.set("after", "all this")  # WAIT is about the writes of its own connection
            assert master.wait(1, 5000) == 1
        # The replica misses one job, and comes back while its master cannot tell it any more.
        store.replica.wait_for(writes_its_file)
        store.replica.kill()
        unknown = jobs.run("unknown")
        store.master.pause()
        store.replica.start()
        store.master.kill()
        store.wait_for_master(store.replica)
        with pytest.raises(BrokerUnavailable):
            mailbox.wait(5.0)
        with pytest.raises(BrokerUnavailable, match="no longer 127"):
            jobs.settle(unknown)
        assert jobs.settle(unknown) is None
        assert jobs.settle(known) is State.SUCCEEDED
        assert broker.get([JobKey("q", "unknown")]) == [None]
        assert broker.held("n1", ["q"]) == []
        assert asyncio.run(broker.aenqueue([make_message("next")]))[0].accepted
        assert mailbox.wait(0.0) == []
        mailbox.close()
        broker.close()
