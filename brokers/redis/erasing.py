"""Removing a whole namespace.

Every server is walked through with SCAN, by the two beginnings that keys of a namespace have, and
what is found is unlinked: the server frees its memory by the way, however large it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from redis.exceptions import ResponseError

from taskrunner.brokers.redis.connection import Connections, Exchange
from taskrunner.brokers.redis.failures import translate
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.line import Reply

SCANNED: Final = 1000
"""Keys of one slice, about."""
_SPECIAL: Final = re.compile(r"([*?\\\[\]^-])")


def erase(connections: Connections, keys: Keys) -> None:
    """Remove every key of a namespace. Raises BrokerUnavailable, also where that is forbidden."""
    shown = connections.address.shown
    for exchange in connections.each_server():
        for start in keys.beginnings:
            for found in _scanned(exchange, f"{_SPECIAL.sub(_escaped, start)}*", shown):
                _checked(exchange([("UNLINK", key) for key in found]), shown)


def _escaped(special: re.Match[str]) -> str:
    return f"\\{special[1]}"


def _scanned(exchange: Exchange, match: str, shown: str) -> Iterator[list[bytes]]:
    """The keys of one server that match, some at a time; a key may come twice."""
    cursor = b"0"
    while True:
        (page,) = _checked(exchange([("SCAN", cursor, "MATCH", match, "COUNT", SCANNED)]), shown)
        cursor, found = page
        if found:
            yield found
        if cursor == b"0":
            return


def _checked(replies: list[Reply], shown: str) -> list[Reply]:
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise translate(reply, shown) from reply
    return replies
