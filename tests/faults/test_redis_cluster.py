"""A Redis Cluster that moves slots, forgets scripts, and loses servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import pytest

from taskrunner.backends.base import ResultKey, StoredResult
from taskrunner.backends.redis import RedisBackend
from taskrunner.brokers.base import (
    Delivery,
    Limits,
    Receipt,
    Take,
)
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.cluster import Cluster
from taskrunner.errors import BrokerUnavailable
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store, make_message
from taskrunner.testing.redis_cluster import ClusterNode, RedisCluster
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.faults.test_redis_connections import in_child

T = TypeVar("T")


@pytest.fixture
def cluster(redis_cluster: RedisCluster) -> RedisCluster:
    """For tests that leave it in order."""
    return redis_cluster


@pytest.fixture
def broker(cluster: RedisCluster) -> Iterator[RedisBroker]:
    broker = broker_at(cluster.url)
    yield broker
    broker.close()


def broker_at(url: str) -> RedisBroker:
    return RedisBroker.from_url(url, namespace=uuid4().hex, limits=Limits())


def on_each(cluster: RedisCluster, broker: RedisBroker) -> list[str]:
    """A queue on each server."""
    return list(cluster.queues_by_owner(namespace=broker._keys.namespace).values())


def another(cluster: RedisCluster, node: ClusterNode) -> ClusterNode:
    return cluster.nodes[cluster.nodes.index(node) - 1]


# -- finding it


def test_any_server_leads_to_all(cluster: RedisCluster) -> None:
    last = f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[-1].port}"
    broker = broker_at(last)
    broker.ping()
    queues = on_each(cluster, broker)
    receipts = broker.enqueue([make_message("a", queue=queue) for queue in queues])
    assert all(receipt.accepted for receipt in receipts)
    receipts = asyncio.run(broker.aenqueue([make_message("b", queue=queue) for queue in queues]))
    assert all(receipt.accepted for receipt in receipts)
    assert [stats.counts[State.PENDING] for stats in broker.stats(queues)] == [2, 2, 2]
    keys = [node.ask("DBSIZE") for node in cluster.nodes]
    assert all(keys), keys
    broker.close()


def test_schemes_are_told_apart(cluster: RedisCluster, redis_server: RedisServer) -> None:
    lone = broker_at(redis_server.url.replace("redis://", "redis+cluster://"))
    with pytest.raises(BrokerUnavailable, match="no cluster: say redis://"):
        lone.queues()
    lone.close()
    plain = broker_at(f"redis://127.0.0.1:{cluster.nodes[0].port}")
    queues = on_each(cluster, plain)
    with pytest.raises(BrokerUnavailable, match=r"say redis\+cluster://"):
        plain.stats(queues)
    plain.close()


def test_nobody_there_is_an_outage() -> None:
    broker = broker_at("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:2"):
        broker.queues()
    with pytest.raises(BrokerUnavailable, match="refused"):
        broker.open_mailbox("n1")
    with pytest.raises(BrokerUnavailable, match="cannot reach"):
        asyncio.run(broker.aenqueue([make_message("a")]))
    backend = RedisBackend.from_url("redis+cluster://127.0.0.1:1", namespace="ns")
    with pytest.raises(BrokerUnavailable, match="refused"):
        backend.ping()


def test_a_child_connects_by_itself(cluster: RedisCluster, broker: RedisBroker) -> None:
    queues = on_each(cluster, broker)
    assert isinstance(broker._connections, Cluster)

    def ids() -> set[tuple[str, int]]:
        # With their servers: each of them counts for itself.
        pools = broker._connections._pools.items()  # type: ignore[attr-defined]
        return {(str(at), int(pool.exchange([("CLIENT", "ID")])[0])) for at, pool in pools}

    def work() -> bool:
        broker.enqueue([make_message("of the child", queue=queue) for queue in queues])
        return ids().isdisjoint(before)

    broker.enqueue([make_message("of the parent", queue=queue) for queue in queues])
    before = ids()
    assert in_child(work) == b"True"
    assert ids() == before
    assert [stats.counts[State.PENDING] for stats in broker.stats(queues)] == [2, 2, 2]


def test_scripts_are_loaded_where_they_are_missing(
    cluster: RedisCluster, broker: RedisBroker
) -> None:
    queues = on_each(cluster, broker)
    for forgetful in ([], cluster.nodes[1:], cluster.nodes):
        for node in forgetful:
            node.ask("SCRIPT", "FLUSH")
        stored = broker.enqueue([make_message(uuid4().hex, queue=q) for q in queues * 700])
        assert all(receipt.accepted for receipt in stored)
        asyncio.run(broker.aenqueue([make_message(uuid4().hex, queue=q) for q in queues]))


# -- slots that move


class Flow(threading.Thread):
    """A producer and a node in one, that repeats each call as it was until it is answered."""

    def __init__(self, broker: RedisBroker) -> None:
        super().__init__()
        self.broker = broker
        self.jobs = Store(broker)
        self.jobs.join()
        self.ran: list[str] = []
        self.refused: list[str] = []
        self.stopping = threading.Event()

    def __enter__(self) -> Flow:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join()

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            self.run_one(f"job-{number}", number)

    def run_one(self, job_id: str, number: int) -> None:
        message = make_message(job_id, call=job_id, body=b"x" * 100)
        self.jobs.given["q"].add(job_id)
        self.persistently(lambda: self.broker.enqueue([message]))
        plan = [Take("q", 1)]
        (delivery,) = self.persistently(lambda: self.broker.fetch("n1", plan, number)).deliveries
        self.persistently(lambda: self.jobs.settle(delivery, result=b"y" * 100))
        self.ran.append(delivery.id)

    def persistently(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except BrokerUnavailable as error:
                self.refused.append(str(error))

    def goes_on(self) -> None:
        """Wait until more jobs have run."""
        enough = len(self.ran) + 20
        eventually(lambda: len(self.ran) > enough)

    def is_refused(self) -> None:
        """Wait until another call was refused."""
        enough = len(self.refused) + 1
        eventually(lambda: len(self.refused) > enough)


def test_a_slot_moves_while_jobs_flow(cluster: RedisCluster, broker: RedisBroker) -> None:
    """While it moves, the queue is away; then the same calls go on at its new server, and nothing
    was done by halves."""
    namespace = broker._keys.namespace
    with Flow(broker) as flow:
        for _ in range(3):
            flow.goes_on()
            to = another(cluster, cluster.owner("q", namespace=namespace))
            with cluster.moving("q", to, namespace=namespace) as move:
                flow.is_refused()
                move.some_keys(7)
                flow.is_refused()
            assert cluster.owner("q", namespace=namespace) is to
        flow.goes_on()
    assert {"cannot serve now: Multiple keys" in error for error in flow.refused} == {True}
    assert flow.ran == [f"job-{n + 1}" for n in range(len(flow.ran))]
    flow.jobs.check_counts()
    assert flow.jobs.held() == {}
    assert flow.jobs.stats().counts[State.SUCCEEDED] == len(flow.ran)


def test_what_is_read_is_found_on_both_sides_of_a_move(
    cluster: RedisCluster, broker: RedisBroker
) -> None:
    """Plain commands are sent after their key: ASK. A result backend has nothing else."""
    namespace = broker._keys.namespace
    backend = RedisBackend.from_url(cluster.url, namespace=namespace)
    keys = [ResultKey("q", f"job-{n}", "n1", n) for n in range(20)]
    backend.store([StoredResult(key, b"%d" % key.number, 100.0) for key in keys])
    to = another(cluster, cluster.owner("q", namespace=namespace))
    with cluster.moving("q", to, namespace=namespace) as move:
        assert move.some_keys(10) == 10
        assert backend.get(keys) == [b"%d" % key.number for key in keys]
        backend.store([StoredResult(keys[0], b"new", 100.0)])
        backend.remove(keys[1:3])
        assert backend.get(keys[:4]) == [b"new", None, None, b"3"]
        assert [stats.counts[State.PENDING] for stats in broker.stats(["q"])] == [0]
    assert backend.get(keys[:4]) == [b"new", None, None, b"3"]
    backend.close()


# -- servers that fall


def test_a_replica_takes_over_and_that_is_told_once() -> None:
    with RedisCluster(replicas=1) as cluster:
        broker = broker_at(cluster.url)
        namespace = broker._keys.namespace
        jobs = Store(broker)
        sure = [
            replace(make_message("sure", queue=queue), durability="replicated")
            for queue in on_each(cluster, broker)
        ]
        assert broker.enqueue(sure) == [Receipt(True)] * 3  # each by its own server
        delivery = jobs.run("a")
        fallen = cluster.owner("q", namespace=namespace)
        replica = cluster.replicas[cluster.nodes.index(fallen)]
        eventually(lambda: replica.ask("DBSIZE") == fallen.ask("DBSIZE"))
        fallen.kill()
        with pytest.raises(BrokerUnavailable, match="cannot reach"):
            jobs.settle(delivery)
        eventually(lambda: cluster.owner("q", namespace=namespace) is replica, timeout=20)
        assert eventually(lambda: settled(jobs, delivery), timeout=20) is State.SUCCEEDED
        jobs.check_counts()
        broker.close()


def settled(jobs: Store, delivery: Delivery) -> State | None:
    try:
        return jobs.settle(delivery)
    except BrokerUnavailable:
        return None
