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
    after seconds of silence. Whatever is raised ends it, also an interrupt of the running task: replies
    might still be on their way."""

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
        except OSError as error:
            self.disconnect()
            raise _translated(error, "writing to") from error
        except BaseException:
            self.disconnect()
            raise

    def receive(self, count: int, timeout: float | None = None) -> list[Reply]:
        """So many replies, to what was sent with this timeout."""
        replies: list[Reply] = []
        gets = self._reader.gets
        try:
            while len(replies) < count:
                reply = gets()
                if reply is _PARTIAL:
                    self._read()
                elif isinstance(reply, RedisConnectionError):
                    raise reply  # such as LOADING: it speaks of the server, not of the command
                else:
                    replies.append(reply)
            if timeout is not None:
                self._sock.settimeout(self._made.socket_timeout)
        except OSError as error:
            self.disconnect()
            raise _translated(error, "reading from") from error
        except BaseException:
            self.disconnect()
            raise
        return replies

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One round trip."""
        self.send(requests)
        return self.receive(len(requests))

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
            return self.buffered()
        except _NOTHING_THERE:
            return []  # or only half of something
        except OSError as error:
            self.disconnect()
            raise _translated(error, "reading from") from error
        except BaseException:
            self.disconnect()
            raise

    def buffered(self) -> list[Reply]:
        """Messages that have been read from the socket already."""
        messages: list[Reply] = []
        while (message := self._reader.gets()) is not _PARTIAL:
            messages.append(message)
        return messages

    def disconnect(self) -> None:
        """End it, or after a fork let go of what is the parent's."""
        self._made.disconnect()

    def _read(self) -> None:
        data = self._sock.recv(_READ_SIZE)
        if not data:
            raise RedisConnectionError("Connection closed by server.")
        self._reader.feed(data)


def packed(requests: Sequence[Request]) -> bytes:
    """The bytes of some requests, for one write."""
    if len(requests) == 1:
        one: bytes = hiredis.pack_command(tuple(requests[0]))
        return one
    return b"".join([hiredis.pack_command(tuple(request)) for request in requests])


def _translated(error: OSError, doing: str) -> Exception:
    """What happened to a socket, as redis-py says it."""
    if isinstance(error, TimeoutError):
        return RedisTimeoutError(f"Timeout {doing} socket")
    return RedisConnectionError(f"Error while {doing} socket: {error}")
