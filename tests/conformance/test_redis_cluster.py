"""The Redis broker and backend are what the suites say on a cluster of three servers, too.

Each store has a namespace of its own, so that its queues and its directory are now on one server,
now on several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4

import pytest

from taskrunner.backends.redis import RedisBackend
from taskrunner.brokers.base import Broker
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.testing.conformance import BackendConformance
from taskrunner.testing.machine import compare_with_model
from taskrunner.testing.redis_cluster import RedisCluster
from tests.conformance.test_redis import MakeBroker, RedisConformance, brokers_at


class TestOnACluster(RedisConformance):
    @pytest.fixture
    def make_broker(self, redis_cluster: RedisCluster) -> MakeBroker:  # type: ignore[override]
        self.cluster = redis_cluster
        return brokers_at(redis_cluster.url)

    def test_it_agrees_with_the_model(self, fresh_broker: Callable[..., Broker]) -> None:
        """In fewer stories: the scripts are those that one server has run through many."""
        compare_with_model(fresh_broker, examples=5)

    def fences(self, broker: Broker) -> Sequence[str]:
        """One on each server: between servers bells overtake each other."""
        assert isinstance(broker, RedisBroker)
        return tuple(self.cluster.queues_by_owner(namespace=broker._keys.namespace).values())


class TestBackendOnACluster(BackendConformance):
    @pytest.fixture
    def make_backend(self, redis_cluster: RedisCluster) -> Callable[[], RedisBackend]:  # type: ignore[override]
        return lambda: RedisBackend.from_url(redis_cluster.url, namespace=uuid4().hex)
