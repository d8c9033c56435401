"""Servers that are there and cannot serve: each says why in its own way, and all of it is an outage."""

from __future__ import annotations

import asyncio
import threading
from uuid import uuid4

from taskrunner.brokers.base import JobKey, Limits
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.testing._conformance_kit import Store, make_message
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually


def broker_at(url: str, namespace: str = "") -> RedisBroker:
    return RedisBroker.from_url(url, namespace=namespace or uuid4().hex, limits=Limits())


def complaint(broker: RedisBroker) -> str:
    """What it says while it is away, whoever asks; nothing when it is back."""
    try:
        broker.get([JobKey("q", "a")])
        broker.enqueue([make_message("b")])
        asyncio.run(broker.aenqueue([make_message("c")]))
    except BrokerUnavailable as error:
        return str(error)
    return ""


def test_a_server_that_loads_its_data() -> None:
    slow = ["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]
    with RedisServer(extra=slow) as server:
        broker = broker_at(server.url)
        Store(broker).enqueue(*[f"job-{n}" for n in range(2000)])
        with server.client() as client:
            client.save()
        server.kill()
        starting = threading.Thread(target=server.start)
        starting.start()
        try:
            eventually(lambda: "loading the dataset" in complaint(broker), timeout=20)
        finally:
            starting.join()
        eventually(lambda: not complaint(broker), timeout=20)
        broker.close()


def test_a_replica_and_one_that_lost_its_master() -> None:
    with RedisServer() as server, server.client() as client:
        broker = broker_at(server.url)
        Store(broker).enqueue("a")
        client.replicaof("127.0.0.1", "1")
        assert "read only replica" in complaint(broker)
        client.config_set("replica-serve-stale-data", "no")
        assert "Link with MASTER is down" in complaint(broker)
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("NO", "ONE")
        assert complaint(broker) == ""
        broker.close()


def test_a_master_that_wants_replicas() -> None:
    with RedisServer() as server, server.client() as client:
        broker = broker_at(server.url)
        client.config_set("min-replicas-to-write", 1)
        assert "Not enough good replicas" in complaint(broker)
        client.config_set("min-replicas-to-write", 0)
        assert complaint(broker) == ""
        broker.close()
