"""What an operator should know of the server: what it may lose, what it may refuse.

Read from INFO and CONFIG. Both may be forbidden, by an ACL or by whoever runs the server; then that
is said, and the rest judged by what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from redis.exceptions import ResponseError

from taskrunner.brokers.base import Remark
from taskrunner.brokers.redis.connection import Connections, Exchange
from taskrunner.brokers.redis.keys import Keys

CLOSE: Final = 0.9
"""The part of its memory that a server may use before that is a risk."""
_SECTIONS: Final = ("server", "memory", "persistence", "stats", "replication")

Info = Mapping[str, str]


def remarks(connections: Connections, keys: Keys) -> list[Remark]:
    """Of every server. Raises BrokerUnavailable."""
    found: dict[Remark, None] = {}
    for exchange in connections.each_server():
        found |= dict.fromkeys(of_server(info(exchange), config(exchange)))
    (skew,) = connections.exchange([("GET", keys.skew)])
    if isinstance(skew, bytes) and skew != b"0":
        text = f"the store's clock is moved by {int(skew) / 1000:g} s: that is for tests"
        found[Remark("clock", text, True)] = None
    return list(found)


def info(exchange: Exchange) -> Info:
    """What a server says of itself; empty where that is forbidden."""
    found: dict[str, str] = {}
    # One by one: before version 7 INFO takes one section only.
    for answer in exchange([("INFO", section) for section in _SECTIONS]):
        if isinstance(answer, bytes):
            lines = (line.partition(":") for line in answer.decode(errors="replace").splitlines())
            found |= {name: value.strip() for name, colon, value in lines if colon}
    return found


def config(exchange: Exchange) -> Info | None:
    """How it is set up, as far as it matters; None where that is forbidden."""
    asked = [("CONFIG", "GET", name) for name in ("appendonly", "appendfsync", "save")]
    answers = exchange(asked)
    if any(isinstance(answer, ResponseError) for answer in answers):
        return None
    return {
        name.decode(): value.decode()
        for answer in answers
        for name, value in zip(answer[::2], answer[1::2], strict=True)
    }


def of_server(found: Info, setup: Info | None) -> Iterable[Remark]:
    """What is remarkable; pure."""
    if not found:
        yield Remark("server", "it does not permit INFO: nothing is known of it", False)
        return
    yield Remark("server", f"Redis {found.get('redis_version', 'unknown')}", False)
    if found.get("role") not in (None, "master"):
        yield Remark("server", "it is a replica: nothing can be stored in it", True)
    yield from _memory(found)
    yield from _persistence(found, setup)


def _memory(found: Info) -> Iterator[Remark]:
    policy = found.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        text = (
            f"maxmemory-policy is {policy}: a full server throws jobs away; with noeviction it "
            "refuses new ones and the others are worked off"
        )
        yield Remark("memory", text, True)
    if int(found.get("evicted_keys", 0)):
        text = f"{found['evicted_keys']} keys were evicted since it was started: jobs may be gone"
        yield Remark("memory", text, True)
    used, most = int(found.get("used_memory", 0)), int(found.get("maxmemory", 0))
    if most and used >= CLOSE * most:
        text = f"{100 * used // most} % of maxmemory are used: at 100 % new jobs are refused"
        yield Remark("memory", text, True)


def _persistence(found: Info, setup: Info | None) -> Iterator[Remark]:
    for name, what in (
        ("aof_last_write_status", "the append-only file cannot be written"),
        ("aof_last_bgrewrite_status", "the append-only file could not be rewritten"),
        ("rdb_last_bgsave_status", "the last snapshot failed"),
    ):
        if found.get(name, "ok") != "ok":
            yield Remark("persistence", f"{what}: see the server's log", True)
    yield Remark("persistence", _what_may_be_lost(found, setup), False)


def _what_may_be_lost(found: Info, setup: Info | None) -> str:
    if found.get("aof_enabled") == "1":
        how = None if setup is None else setup.get("appendfsync")
        if how is None:
            return "there is an append-only file; how often it is synced cannot be asked"
        return {
            "always": "appendfsync is always: what was acknowledged survives a crash",
            "everysec": "appendfsync is everysec: a crash may cost the last two seconds",
        }.get(how, f"appendfsync is {how}: a crash of the machine may cost half a minute or more")
    lost = "without an append-only file a crash costs"
    if setup is None:
        return f"{lost} everything since the last snapshot, or everything where there is none"
    if setup.get("save"):
        return f"{lost} everything since the last snapshot (save {setup['save']})"
    return f"{lost} everything: there are no snapshots either"
