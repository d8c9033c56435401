from __future__ import annotations

from typing import Any

import pytest

from taskrunner.brokers.base import Limits, Remark
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.vitals import of_server
from taskrunner.testing.redis_server import RedisServer

HEALTHY = {
    "redis_version": "7.0.15",
    "role": "master",
    "maxmemory": "0",
    "maxmemory_policy": "noeviction",
    "used_memory": "1000",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "evicted_keys": "0",
}
ALWAYS = {"appendonly": "yes", "appendfsync": "always", "save": ""}


def risks(**changed: str) -> list[str]:
    return [remark.text for remark in of_server({**HEALTHY, **changed}, ALWAYS) if remark.is_risk]


def test_a_healthy_server_has_no_risks() -> None:
    assert risks() == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"evicted_keys": "12"}, "12 keys were evicted"),
        ({"maxmemory": "1100"}, "90 % of maxmemory"),
        ({"role": "slave"}, "replica"),
        ({"aof_last_write_status": "err"}, "cannot be written"),
        ({"rdb_last_bgsave_status": "err"}, "snapshot failed"),
    ],
)
def test_a_risk_is_named(changed: dict[str, Any], words: str) -> None:
    (text,) = risks(**changed)
    assert words in text


@pytest.mark.parametrize(
    ("aof", "setup", "words"),
    [
        ("1", ALWAYS, "survives a crash"),
        ("1", {"appendfsync": "everysec"}, "two seconds"),
        ("1", {"appendfsync": "no"}, "half a minute"),
        ("1", None, "cannot be asked"),
        ("0", {"save": "3600 1"}, "since the last snapshot (save 3600 1)"),
        ("0", {"save": ""}, "everything: there are no snapshots"),
        ("0", None, "or everything where there is none"),
    ],
)
def test_what_a_crash_may_cost_is_said_in_words(
    aof: str, setup: dict[str, str] | None, words: str
) -> None:
    remarks = list(of_server({**HEALTHY, "aof_enabled": aof}, setup))
    (text,) = [remark.text for remark in remarks if remark.topic == "persistence"]
    assert words in text
    assert not any(remark.is_risk for remark in remarks)


def test_a_server_that_says_nothing() -> None:
    (remark,) = of_server({}, None)
    assert not remark.is_risk


def remarks_at(url: str) -> list[Remark]:
    broker = RedisBroker.from_url(url, namespace="n", limits=Limits())
    try:
        return broker.remarks()
    finally:
        broker.close()


def test_a_real_server_is_read() -> None:
    extra = ("--maxmemory-policy", "allkeys-lru", "--maxmemory", "1200000")
    with RedisServer(appendonly=True, extra=extra) as server:
        found = remarks_at(server.url)
        topics = [(remark.topic, remark.is_risk) for remark in found]
        assert ("memory", True) in topics
        assert any("allkeys-lru" in remark.text for remark in found)
        assert any("survives a crash" in remark.text for remark in found)


def test_a_user_who_may_not_ask_is_told_so() -> None:
    acl = ("--user", "poor", "on", ">secret", "~*", "&*", "+@all", "-config", "-info")
    with RedisServer(extra=acl) as server:
        url = server.url.replace("redis://", "redis://poor:secret@")
        (remark,) = remarks_at(url)
        assert "INFO" in remark.text
        broker = RedisBroker.from_url(url, namespace="n", limits=Limits())
        assert list(broker.audit())[-1] == []
        broker.close()
