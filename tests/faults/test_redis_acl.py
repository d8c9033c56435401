"""A user of Redis with exactly the rights that the guide names: they suffice, and are no more."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from taskrunner.backends.base import ResultKey, StoredResult
from taskrunner.backends.redis import RedisBackend
from taskrunner.brokers.base import Bell, BellKind, Limits, Receipt
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.failures import translate
from taskrunner.errors import BrokerUnavailable
from taskrunner.testing._conformance_kit import make_message
from taskrunner.testing.machine import compare_with_model
from taskrunner.testing.redis_cluster import RedisCluster
from taskrunner.testing.redis_sentinel import RedisSentinel
from taskrunner.testing.redis_server import RedisServer
from tests.unit.redis.test_keys import go_everywhere

GUIDE = (Path(__file__).parents[2] / "docs/guides/redis.md").read_text("utf-8")
NAMESPACE = "shop"


def rule(*besides: str) -> list[str]:
    """The command of the guide, with what its table says is needed besides."""
    found = re.search(r"^ACL SETUSER shop [^`]*", GUIDE, re.MULTILINE)
    assert found is not None
    return [*found[0].replace(">PASSWORD", ">secret").split(), *besides]


def besides(purpose: str) -> list[str]:
    (line,) = [line for line in GUIDE.splitlines() if line.startswith(f"| {purpose} |")]
    return re.findall(r"\+[a-z|-]+", line.split(";")[0].split("on the servers")[0])


def as_user(url: str) -> str:
    return url.replace("://", "://shop:secret@")


def broker_at(url: str) -> RedisBroker:
    return RedisBroker.from_url(as_user(url), namespace=NAMESPACE, limits=Limits())


def use(url: str) -> None:
    """Everything that a namespace's programs ask of Redis."""
    broker = broker_at(url)
    broker.ping()
    mailbox = broker.open_mailbox("n1")
    go_everywhere(broker)
    assert Bell(BellKind.QUEUE, "q") in mailbox.wait(5.0)
    asyncio.run(broker.aenqueue([make_message("a")]))
    broker.stats(broker.queues())
    mailbox.close()
    broker.close()
    backend = RedisBackend.from_url(as_user(url), namespace=NAMESPACE)
    key = ResultKey("q", "a", "n1", 1)
    backend.store([StoredResult(key, b"result", 10.0)])
    assert backend.get([key]) == [b"result"]
    backend.remove([key])
    backend.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    with RedisServer() as server:
        with server.client() as client:
            client.execute_command(*rule())
        yield server


def test_the_rights_of_the_guide_suffice(guarded: RedisServer) -> None:
    use(guarded.url)


def test_and_for_any_story_with_an_audit(guarded: RedisServer) -> None:
    with guarded.client() as client:
        client.execute_command(*rule(*besides("`taskrunner doctor`")))
    made: list[RedisBroker] = []

    def make(*, limits: Limits) -> RedisBroker:
        with guarded.client() as client:
            client.flushall()
        made.append(broker_at(guarded.url))
        return made[-1]

    try:
        compare_with_model(make, examples=2)
        assert made[0].remarks()
    finally:
        with guarded.client() as client:
            client.execute_command(*rule())
        for broker in made:
            broker.close()


def test_confirmations_want_two_more(guarded: RedisServer) -> None:
    (purpose,) = re.findall(r"^\| (\[durability\].*?) \|", GUIDE, re.MULTILINE)
    with guarded.client() as client:
        client.execute_command(*rule(*besides(purpose)))
    with Redis(port=guarded.port, username="shop", password="secret", protocol=2) as user:
        assert user.wait(0, 1) == 0
        assert user.config_get("appendfsync")
    with guarded.client() as client:
        client.execute_command(*rule())


@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("CONFIG", "GET", "*"),
        ("SCAN", "0"),
        ("SHUTDOWN",),
        ("GET", "{other:q}:meta"),
        ("SET", "foreign", "1"),
        ("PUBLISH", "{other}:bell", "x"),
        ("EVAL", "return redis.call('GET', 'foreign')", "0"),
    ],
    ids=" ".join,
)
def test_nothing_else_is_permitted(guarded: RedisServer, command: tuple[str, ...]) -> None:
    client = Redis(port=guarded.port, username="shop", password="secret", protocol=2)
    with client, pytest.raises(ResponseError) as caught:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    assert "does not permit this" in str(translate(caught.value, "here"))


def test_another_namespace_is_an_outage_with_a_name(guarded: RedisServer) -> None:
    broker = RedisBroker.from_url(as_user(guarded.url), namespace="other", limits=Limits())
    with pytest.raises(BrokerUnavailable, match="does not permit this"):
        broker.enqueue([make_message("a")])
    with pytest.raises(BrokerUnavailable, match="does not permit this"):
        broker.open_mailbox("n1")
    broker.close()


def test_a_cluster_wants_two_more(redis_cluster: RedisCluster) -> None:
    def set_rights(*command: str) -> None:
        for node in redis_cluster.nodes:
            node.ask(*command)

    set_rights(*rule())
    try:
        with pytest.raises(BrokerUnavailable, match="does not permit this"):
            broker_at(redis_cluster.url).queues()
        set_rights(*rule(*besides("a cluster")))
        use(redis_cluster.url)
    finally:
        set_rights("ACL", "DELUSER", "shop")


def test_sentinels_want_one_more() -> None:
    with RedisSentinel() as store, store.master.client() as client:
        client.execute_command(*rule())
        with pytest.raises(BrokerUnavailable, match="does not permit this"):
            broker_at(store.url).queues()
        client.execute_command(*rule(*besides("sentinels")))
        use(store.url)
        assert "wait" in str(confirm(store.url).unconfirmed)
        rights = [*besides("sentinels"), *besides('`durability="replicated"`')]
        client.execute_command(*rule(*rights))
        assert confirm(store.url) == Receipt(True)


def confirm(url: str) -> Receipt:
    broker = broker_at(url)
    (receipt,) = broker.enqueue([replace(make_message(uuid4().hex), durability="replicated")])
    broker.close()
    return receipt
