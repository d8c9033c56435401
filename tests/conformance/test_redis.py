"""The Redis broker and backend are what the suites say: over TCP, and over a unix socket."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from taskrunner.backends.redis import RedisBackend
from taskrunner.brokers.base import Broker, JobKey, Limits
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.testing._conformance_kit import Damage
from taskrunner.testing.conformance import BackendConformance, BrokerConformance
from taskrunner.testing.machine import compare_with_model
from taskrunner.testing.redis_server import RedisServer
from tests.conformance.damage import damage_redis

MakeBroker = Callable[..., RedisBroker]


def brokers_at(url: str) -> MakeBroker:
    """Makes brokers, each in a namespace of its own and therefore on an empty store."""

    def make(*, limits: Limits) -> RedisBroker:
        return RedisBroker.from_url(url, namespace=uuid4().hex, limits=limits)

    return make


class RedisConformance(BrokerConformance):
    def lose_from_active_set(self, broker: Broker, node: str, key: JobKey) -> bool:
        assert isinstance(broker, RedisBroker)
        number = dict(broker.held(node, [key.queue]))[key]
        broker._calls.ask([("HDEL", broker._keys.held_by(key.queue, node), number)])
        return True

    def damage(self, broker: Broker, how: Damage, key: JobKey) -> bool:
        return damage_redis(broker, how, key)


class TestOverTcp(RedisConformance):
    @pytest.fixture
    def make_broker(self, redis_url: str) -> MakeBroker:  # type: ignore[override]
        return brokers_at(redis_url)


def test_it_does_what_the_model_does(redis_server: RedisServer) -> None:
    made: list[RedisBroker] = []

    def make(*, limits: Limits) -> RedisBroker:
        made.append(brokers_at(redis_server.unix_url)(limits=limits))
        return made[-1]

    try:
        compare_with_model(make)
    finally:
        for broker in made:
            broker.close()


class TestOverUnixSocket(RedisConformance):
    @pytest.fixture
    def make_broker(self, redis_url: str, redis_server: RedisServer) -> MakeBroker:  # type: ignore[override]
        return brokers_at(redis_server.unix_url)


class TestRedisBackend(BackendConformance):
    @pytest.fixture
    def make_backend(self, redis_url: str) -> Callable[[], RedisBackend]:  # type: ignore[override]
        return lambda: RedisBackend.from_url(redis_url, namespace=uuid4().hex)
