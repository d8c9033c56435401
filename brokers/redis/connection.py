"""Connections to one Redis, and the exchange of many commands for as many replies.

A few threads of one process use a pool at once, each with a connection of its own for the length of
one exchange. redis-py's connections are used (by way of `line`) without its client: that one repeats
commands up to ten times behind our back. Here a command is sent once; only where an idle connection turns out to
have been closed by the server since its last use, the exchange is made again, once, on a new one.
That is safe because every call of a broker may be repeated.

A pool belongs to the process that made its connections. After a fork the child starts with none:
it neither uses nor shuts down those of its parent.
"""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from taskrunner.brokers.redis.address import Address
from taskrunner.brokers.redis.failures import FAILURES, translate
from taskrunner.brokers.redis.line import Line, Made, Reply, Request
from taskrunner.errors import BrokerUnavailable

T = TypeVar("T")

Talk: TypeAlias = Generator[Sequence[Request], list[Reply], T]
"""A conversation without I/O: yields requests, is sent their replies, returns what came of it."""
Exchange: TypeAlias = Callable[[Sequence[Request]], list[Reply]]
"""One round trip."""


_KINDS: Final[Mapping[str, Callable[..., Any]]] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}
_FILES: Final = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_KEEPALIVE: Final = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}
"""Seconds, seconds, times, and milliseconds (Linux) in which what was sent must have reached the
other machine: one that vanished is noticed within a minute, or ten seconds after a command."""


class Pool:
    """Connections to one server, for a few threads at once. Raises what redis-py raises."""

    round_trips = 0
    """begun in this process so far, over all pools"""

    def __init__(self, connect: Callable[[], Line]) -> None:
        self._connect = connect
        self._pid = os.getpid()
        self._idle: deque[Line] = deque()

    def exchange(self, requests: Sequence[Request], timeout: float | None = None) -> list[Reply]:
        """One round trip. `timeout`: seconds for each reply, if not the usual ones."""
        connection, is_fresh = self.send(requests, timeout)
        return self.receive(connection, requests, timeout, is_fresh=is_fresh)

    def send(self, requests: Sequence[Request], timeout: float | None = None) -> tuple[Line, bool]:
        """The first half: the connection on which the replies come, and whether it is a new one."""
        Pool.round_trips += 1
        connection = self._pop()
        if connection is not None:
            try:
                connection.send(requests, timeout)
            except RedisConnectionError:
                self.close()  # the others that idle are as old as this one
            else:
                return connection, False
        try:
            connection = self._connect()
            connection.send(requests, timeout)
        except FAILURES:
            self.close()
            raise
        return connection, True

    def receive(
        self,
        connection: Line,
        requests: Sequence[Request],
        timeout: float | None = None,
        *,
        is_fresh: bool,
    ) -> list[Reply]:
        """The second half."""
        try:
            replies = connection.receive(len(requests), timeout)
        except FAILURES as error:
            # Whatever happened to this one may have happened to all: also where it was silence.
            self.close()
            if is_fresh or not was_closed(error):
                raise
            connection = self._connect()
            connection.send(requests, timeout)
            replies = connection.receive(len(requests), timeout)
        self._idle.append(connection)
        return replies

    def close(self) -> None:
        """Close what idles; an exchange that runs now keeps its connection."""
        while (connection := self._pop()) is not None:
            connection.disconnect()

    def _pop(self) -> Line | None:
        if os.getpid() != self._pid:
            # Dropped, not closed: redis-py shuts a socket down only in the process that opened it.
            self._idle, self._pid = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None


class Connections(ABC):
    """A store of one server or of many, as its address says. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def talk(self, talk: Talk[T], timeout: float | None = None) -> T:
        """Carry on a conversation to its end. Raises BrokerUnavailable."""
        try:
            requests = next(talk)
            while True:
                requests = talk.send(self.exchange(requests, timeout))
        except StopIteration as end:
            result: T = end.value
            return result

    @abstractmethod
    def exchange(self, requests: Sequence[Request], timeout: float | None = None) -> list[Reply]:
        """One round trip. `timeout`: seconds for each reply, if not those of the address. Raises
        BrokerUnavailable."""

    def each_server(self) -> Iterator[Exchange]:
        """The exchange of every server that holds keys, for commands that concern no key."""
        yield self.exchange

    @abstractmethod
    def connect(self) -> Line:
        """A new connection that does not belong to a pool. Raises what redis-py raises."""

    def lost(self, error: Exception) -> BrokerUnavailable:
        """What to raise when such a connection failed."""
        return BrokerUnavailable(str(translate(error, self.address.shown)))

    @abstractmethod
    def close(self) -> None:
        """Close what idles."""


class OneServer(Connections):
    """The pool of the one server that the address names."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._pool = Pool(self.connect)

    def exchange(self, requests: Sequence[Request], timeout: float | None = None) -> list[Reply]:
        if not requests:
            return []
        try:
            return self._pool.exchange(requests, timeout)
        except FAILURES as error:
            raise translate(error, self.address.shown) from error

    def connect(self) -> Line:
        return connect(self.address)

    def close(self) -> None:
        self._pool.close()


def connect(address: Address) -> Line:
    """A new connection to one server. Raises what redis-py raises."""
    made: Made = _KINDS[address.scheme](**connection_options(address))
    made.connect()
    return Line(made)


def connection_options(address: Address) -> dict[str, Any]:
    """Arguments of a redis-py connection, of both kinds. Raises OSError for a certificate that cannot
    be read."""
    options = {"retry": Retry(NoBackoff(), 0), "protocol": 2, **address.options}
    if address.scheme != "unix":
        options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
    for name in _FILES & options.keys():
        # The ssl module, which reads it, does not say which file it was that it could not.
        with open(options[name], "rb"):
            pass
    return options


def was_closed(error: Exception) -> bool:
    """Whether the server had closed the connection, so that another may serve."""
    return isinstance(error, RedisConnectionError) and not isinstance(error, AuthenticationError)


def _keepalive() -> dict[int, int]:
    return {
        getattr(socket, name): value
        for name, value in _KEEPALIVE.items()
        if hasattr(socket, name)  # macOS names the first one otherwise
    }
