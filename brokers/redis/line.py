"""One connection to one server, from commands to bytes and from bytes to replies.

    redis-py: address, TLS, login ──▶ socket ──▶ Line: hiredis both ways ──▶ redis-py: the end

redis-py makes it and ends it, with all its options. In between commands and replies go over its
socket directly: a short command costs half of what it costs by way of redis-py, and where a process
has been idle for a moment each line of Python costs several times what it costs in a loop.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

import hiredis
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

Request: TypeAlias = Sequence[Any]
"""A command and its arguments: bytes, text or numbers."""
Reply: TypeAlias = Any
"""Bytes, int, list or None; a ResponseError where the server refused the one command."""

_READ_SIZE: Final = 65536
"""Bytes; more than a record of TLS, of which nothing stays behind where `poll` would not see it."""
_PARTIAL: Final = object()
_NOTHING_THERE: Final = (BlockingIOError, ssl.SSLWantReadError)


class Made(Protocol):
    """What is used of redis-py's connections."""

    _sock: socket.socket | None
    socket_timeout: float

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...


class Line:
    """For one thread at a time. Raises what redis-py raises: its ConnectionError, or its TimeoutError
    after seconds of silence. Whoever catches something disconnects."""

    def __init__(self, made: Made) -> None:
        """`made` has just been connected."""
        assert made._sock is not None
        self._made = made
        self._sock = made._sock
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_PARTIAL,
        )

    def send(self, requests: Sequence[Request], timeout: float | None = None) -> None:
        """Send commands. `timeout`: seconds for this and for each reply, if not the usual ones."""
        try:
            if timeout is not None:
                self._sock.settimeout(timeout)
            self._sock.sendall(packed(requests))
        except TimeoutError as error:
            raise RedisTimeoutError("Timeout writing to socket") from error
        except OSError as error:
            raise RedisConnectionError(f"Error while writing to socket: {error}") from error

    def receive(self, count: int, timeout: float | None = None) -> list[Reply]:
        """So many replies, to what was sent with this timeout."""
        replies = self.buffered(count)
        while len(replies) < count:
            self._read()
            replies += self.buffered(count - len(replies))
        if timeout is not None:
            self._sock.settimeout(self._made.socket_timeout)
        return replies

    def buffered(self, most: int | None = None) -> list[Reply]:
        """Replies, or messages, that have been read from the socket already."""
        found: list[Reply] = []
        gets = self._reader.gets
        while len(found) != most and (reply := gets()) is not _PARTIAL:
            if isinstance(reply, RedisConnectionError):
                raise reply  # such as LOADING: it speaks of the server, not of the command
            found.append(reply)
        return found

    # -- a line on which messages come unasked

    def listen(self) -> None:
        """From here on reading takes what is there and does not wait."""
        self._sock.settimeout(0.0)

    def fileno(self) -> int:
        """To wait for messages with. Negative where it has been disconnected."""
        return self._sock.fileno()

    def arrived(self) -> list[Reply]:
        """Messages that are there. To be called whenever the descriptor can be read."""
        try:
            self._read()
        except _NOTHING_THERE:
            return []  # or only half of something
        return self.buffered()

    def disconnect(self) -> None:
        """End it, or after a fork let go of what is the parent's."""
        self._made.disconnect()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ_SIZE)
        except _NOTHING_THERE:
            raise
        except TimeoutError as error:
            raise RedisTimeoutError("Timeout reading from socket") from error
        except OSError as error:
            raise RedisConnectionError(f"Error while reading from socket: {error}") from error
        if not data:
            raise RedisConnectionError("Connection closed by server.")
        self._reader.feed(data)


def packed(requests: Sequence[Request]) -> bytes:
    """The bytes of some requests, for one write."""
    return b"".join([hiredis.pack_command(tuple(request)) for request in requests])
