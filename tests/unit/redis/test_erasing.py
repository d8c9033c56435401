"""Erasing a namespace from a Redis that others use too."""

from __future__ import annotations

import contextlib

import pytest

from taskrunner.brokers.base import Limits
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.errors import BrokerError
from taskrunner.testing._conformance_kit import Store, make_message
from taskrunner.testing.redis_server import RedisServer

pytestmark = pytest.mark.needs_redis


@pytest.mark.parametrize(
    ("mine", "theirs"), [("a*", "ab"), ("a", "ab"), ("[ab]", "a"), ("a?", "ab")]
)
def test_a_name_is_no_pattern(
    redis_server: RedisServer, redis_url: str, mine: str, theirs: str
) -> None:
    for namespace in (mine, theirs):
        broker(redis_url, namespace).enqueue([make_message("job", queue="q")])
    with contextlib.closing(redis_server.client()) as client:
        client.set("stranger", 1)
        broker(redis_url, mine).erase()
        left = [key.decode() for key in client.scan_iter()]
    assert "stranger" in left
    assert not [key for key in left if key.startswith((f"{{{mine}:", f"{{{mine}}}"))]
    assert Store(broker(redis_url, theirs)).find("job") is not None


def test_without_the_right_to_scan_it_says_so(redis_server: RedisServer, redis_url: str) -> None:
    with contextlib.closing(redis_server.client()) as client:
        client.execute_command(
            *["ACL", "SETUSER", "few", "on", ">few", "~*", "&*", "+@all", "-scan"]
        )  # type: ignore[no-untyped-call]
        try:
            with pytest.raises(BrokerError, match="scan"):
                broker(redis_url.replace("redis://", "redis://few:few@"), "mine").erase()
        finally:
            client.execute_command("ACL", "DELUSER", "few")  # type: ignore[no-untyped-call]


def broker(url: str, namespace: str) -> RedisBroker:
    return RedisBroker.from_url(url, namespace=namespace, limits=Limits())
