"""Both brokers, for what either may have."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from taskrunner.brokers.base import Broker, JobKey, Limits
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.testing._conformance_kit import Store
from taskrunner.testing.redis_server import RedisServer

LIMITS = Limits(failed_max=1000, failed_retention=1000.0)


@pytest.fixture(params=["memory", "redis"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """One broker of each kind, on an empty store."""
    if request.param == "memory":
        made: Broker = MemoryBroker(limits=LIMITS)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        made = RedisBroker.from_url(server.unix_url, namespace=uuid4().hex, limits=LIMITS)
    yield made
    made.close()


@pytest.fixture
def store(broker: Broker) -> Iterator[Store]:
    """Its counters must equal its records when the test ends."""
    store = Store(broker)
    yield store
    store.check_counts()


def keys_of(broker: Broker) -> int:
    """How many things the store keeps, besides those that go by themselves."""
    if isinstance(broker, RedisBroker):
        (found,) = broker._calls.ask([("KEYS", broker._keys.of_queue("*", "*"))])
        return broker._calls.ask([("TTL", key) for key in found]).count(-1)
    assert isinstance(broker, MemoryBroker)
    return sum(len(queue.jobs) + len(queue.tombstones) for queue in broker._queues.values())


def lose_from_its_set(broker: Broker, node: str, key: JobKey) -> None:
    """An active job is in no node's set any more."""
    if isinstance(broker, RedisBroker):
        number = dict(broker.held(node, [key.queue]))[key]
        broker._calls.ask([("HDEL", broker._keys.held_by(key.queue, node), number)])
    else:
        assert isinstance(broker, MemoryBroker)
        del broker._queues[key.queue].held[node][key.id]
