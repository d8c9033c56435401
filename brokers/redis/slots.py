"""Which server of a cluster has which key.

A key is in one of 16,384 slots, by the CRC16 of its hash tag; each slot has one master. Here the
arithmetic, and the map of slots as a server tells it; nothing in this file talks to anybody.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from taskrunner.brokers.redis.address import Server

SLOTS: Final = 16384

QUESTION: Final = (("CLUSTER", "SLOTS"),)
"""What is answered by what `SlotMap.parse` reads; every version of Redis and Valkey knows it."""

_NO_KEY: Final = frozenset(
    {"ASKING", "CLIENT", "CLUSTER", "CONFIG", "ECHO", "INFO", "PING", "SCAN", "SCRIPT", "TIME"}
    | {"WAIT", "WAITAOF"}
)
_KEY_AT: Final = {"EVALSHA": 3, "EVAL": 3, "MEMORY": 2, "OBJECT": 2}
"""Where the first key stands; for all others right after the command."""


@lru_cache(maxsize=8192)
def slot_of(key: str) -> int:
    """The slot of a key: that of what stands between its first braces, if anything does."""
    start = key.find("{")
    end = key.find("}", start + 1)
    tag = key[start + 1 : end] if start >= 0 and end > start + 1 else key
    return crc_hqx(tag.encode(), 0) % SLOTS


def slot_of_request(request: Sequence[Any]) -> int | None:
    """The slot of a command's keys, all of which are in one; None where it has no key."""
    name = request[0]
    return None if name in _NO_KEY else slot_of(request[_KEY_AT.get(name, 1)])


class SlotMap:
    """Who has which slots. Never changes: another map takes its place."""

    def __init__(self, ranges: Sequence[tuple[int, int, Server]]) -> None:
        self._owners: list[Server | None] = [None] * SLOTS
        for first, last, server in ranges:
            self._owners[first : last + 1] = [server] * (last + 1 - first)
        self.servers = tuple(dict.fromkeys(server for _, _, server in ranges))
        """every master that has slots"""

    @classmethod
    def parse(cls, reply: Sequence[Sequence[Any]], asked: Server) -> SlotMap:
        """The answer of the server `asked`; it leaves its own name out where it does not know it."""
        ranges = []
        for first, last, master, *_ in reply:
            host = (master[0] or b"").decode() or asked.host
            if host != "?":  # a name that the server was told to give, and has not got
                ranges.append((first, last, Server(host, master[1])))
        return cls(ranges)

    def owner(self, slot: int) -> Server | None:
        """The master of a slot; None where nobody has it."""
        return self._owners[slot]
