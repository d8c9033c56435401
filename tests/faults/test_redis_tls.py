"""Sentinels and clusters over TLS: everybody on the way proves who it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from taskrunner.brokers.base import Bell, BellKind, Limits
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.states import State
from taskrunner.testing._conformance_kit import make_message
from taskrunner.testing.redis_cluster import RedisCluster
from taskrunner.testing.redis_sentinel import RedisSentinel
from taskrunner.testing.redis_server import Tls
from tests.faults.certificates import make_tls


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module", params=["cluster", "sentinel"])
def url(request: pytest.FixtureRequest, tls: Tls) -> Iterator[str]:
    if request.param == "cluster":
        with RedisCluster(masters=2, tls=tls) as cluster:
            yield cluster.url
    else:
        with RedisSentinel(tls=tls) as store:
            yield store.url


def broker_at(url: str) -> RedisBroker:
    return RedisBroker.from_url(url, namespace=uuid4().hex, limits=Limits())


def test_jobs_and_bells_travel_over_tls(url: str) -> None:
    broker = broker_at(url)
    broker.ping()
    mailbox = broker.open_mailbox("n1")
    queues = ["q", "r", "s"]
    assert all(r.accepted for r in broker.enqueue([make_message("a", queue=q) for q in queues]))
    asyncio.run(broker.aenqueue([make_message("b", queue=q) for q in queues]))
    heard: set[Bell] = set()
    while len(heard) < len(queues):
        news = mailbox.wait(5.0)
        assert news, f"heard only {heard}"
        heard.update(news)
    assert heard == {Bell(BellKind.QUEUE, queue) for queue in queues}
    assert [stats.counts[State.PENDING] for stats in broker.stats(queues)] == [2, 2, 2]
    mailbox.close()
    broker.close()


def test_who_cannot_prove_it_is_refused(url: str) -> None:
    broker = broker_at(url.partition("?")[0])
    with pytest.raises(BrokerUnavailable, match=r"(?i)certificate verify failed"):
        broker.queues()
    broker.close()
    plain = broker_at(url.partition("?")[0].replace("rediss", "redis"))
    with pytest.raises(BrokerUnavailable):
        plain.queues()
    plain.close()
