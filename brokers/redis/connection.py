"""Connections to one Redis, and the exchange of many commands for as many replies.

A few threads of one process use a pool at once, each with a connection of its own for the length of
one exchange. redis-py's connections are used without its client: that one repeats commands up to
ten times behind our back. Here a command is sent once; only where an idle connection turns out to
have been closed by the server since its last use, the exchange is made again, once, on a new one.
That is safe because every call of a broker may be repeated.

A pool belongs to the process that made its connections. After a fork the child starts with none:
it neither uses nor shuts down those of its parent.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from taskrunner.brokers.redis.address import Address
from taskrunner.brokers.redis.failures import FAILURES, translate

T = TypeVar("T")

Request: TypeAlias = Sequence[Any]
"""A command and its arguments: bytes, text or numbers."""
Reply: TypeAlias = Any
"""Bytes, int, list or None; a ResponseError where the server refused the one command."""
Talk: TypeAlias = Generator[Sequence[Request], list[Reply], T]
"""A conversation without I/O: yields requests, is sent their replies, returns what came of it."""


class Link(Protocol):
    """What is used of redis-py's connections."""

    _sock: socket.socket | None

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def pack_command(self, *args: Any) -> list[bytes]: ...
    def send_packed_command(self, command: list[bytes]) -> None: ...
    def read_response(self) -> Reply: ...
    def can_read(self, timeout: float) -> bool: ...


_KINDS: Final[Mapping[str, Callable[..., Any]]] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds, seconds, times: a peer that vanished is noticed within a minute."""


class Connections:
    """A pool of connections to one address. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._pid = os.getpid()
        self._idle: deque[Link] = deque()

    def talk(self, talk: Talk[T]) -> T:
        """Carry on a conversation to its end. Raises BrokerUnavailable."""
        try:
            requests = next(talk)
            while True:
                requests = talk.send(self.exchange(requests))
        except StopIteration as end:
            result: T = end.value
            return result

    def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        """One round trip. Raises BrokerUnavailable."""
        if not requests:
            return []
        connection = self._pop()
        try:
            if connection is not None:
                try:
                    return self._exchange(connection, requests)
                except RedisConnectionError as error:
                    if isinstance(error, AuthenticationError):
                        raise
                    self.close()  # the others that idle are as old as this one
            return self._exchange(self.make(), requests)
        except FAILURES as error:
            raise translate(error, self.address.shown) from error

    def make(self) -> Link:
        """A new connection, not connected yet, that does not belong to the pool."""
        made: Link = _KINDS[self.address.scheme](**connection_options(self.address))
        return made

    def close(self) -> None:
        """Close what idles; an exchange that runs now keeps its connection."""
        while (connection := self._pop()) is not None:
            connection.disconnect()

    def _exchange(self, connection: Link, requests: Sequence[Request]) -> list[Reply]:
        try:
            if connection._sock is None:
                connection.connect()
            connection.send_packed_command(pack(connection, requests))
            replies = [_read(connection) for _ in requests]
        except BaseException:
            # Also for an interrupt of the running task: replies may still be on their way.
            connection.disconnect()
            raise
        self._idle.append(connection)
        return replies

    def _pop(self) -> Link | None:
        if os.getpid() != self._pid:
            # Dropped, not closed: redis-py shuts a socket down only in the process that opened it.
            self._idle, self._pid = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None


def connection_options(address: Address) -> dict[str, Any]:
    """Arguments of a redis-py connection, of both kinds."""
    options = {"retry": Retry(NoBackoff(), 0), "protocol": 2, **address.options}
    if address.scheme != "unix":
        options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
    return options


def pack(connection: Any, requests: Sequence[Request]) -> list[bytes]:
    """The bytes of some requests, for one write."""
    packed = connection.pack_command
    return [b"".join(part for request in requests for part in packed(*request))]


def _read(connection: Link) -> Reply:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _keepalive() -> dict[int, int]:
    return {
        getattr(socket, name): value
        for name, value in _KEEPALIVE.items()
        if hasattr(socket, name)  # macOS names the first one otherwise
    }
