"""The connection on which bells arrive.

    a script ── PUBLISH ──▶ Redis ── message ──▶ socket ─┐
                                                         ├─ poll ──▶ the one thread in `wait`
    any thread ── wake ────────────────────▶ pipe ───────┘

No thread, no polling: `wait` sleeps in the kernel until one of the two can be read.
"""

from __future__ import annotations

import os
import select
from typing import Any, Final

from taskrunner.brokers.base import Bell, BellKind, Mailbox
from taskrunner.brokers.redis.connection import Connections, Link, pack
from taskrunner.brokers.redis.failures import FAILURES, translate
from taskrunner.brokers.redis.keys import Keys
from taskrunner.errors import BrokerUnavailable

_MOST: Final = 10_000
"""Bells that one `wait` answers; more would come faster than anybody can look."""


class RedisMailbox(Mailbox):
    """Subscribed before the constructor returns."""

    def __init__(self, connections: Connections, keys: Keys, name: str) -> None:
        self._connections = connections
        self._channels = (keys.mailbox(name), keys.everybody)
        self._connection: Link | None = None
        self._closed = False
        self._open_pipe()
        try:
            self._subscribe()
        except BaseException:
            self.close()
            raise

    def wait(self, timeout: float) -> list[Bell]:
        if self._pid != os.getpid():
            self._start_again_after_fork()
        if self._closed:
            return []
        try:
            connection = self._connection or self._subscribe()
            # First what has been read from the socket already: poll does not see it.
            if not connection.can_read(0) and not self._poll(connection, max(0.0, timeout)):
                return []
            return self._read(connection)
        except FAILURES as error:
            self._drop()
            raise translate(error, self._connections.address.shown) from error

    def wake(self) -> None:
        if not self._closed:
            try:
                os.write(self._wake, b"\0")
            except BlockingIOError:
                pass  # enough wakes are waiting to be seen
            except OSError:
                pass  # closed by another thread a moment ago

    def close(self) -> None:
        if not self._closed:
            self.wake()
            self._closed = True
            self._drop()
            os.close(self._wake)
            os.close(self._woken)

    def _subscribe(self) -> Link:
        connection = self._connections.make()
        try:
            connection.connect()
            connection.send_packed_command(pack(connection, [("SUBSCRIBE", *self._channels)]))
            for _ in self._channels:
                connection.read_response()
        except FAILURES as error:
            connection.disconnect()
            raise translate(error, self._connections.address.shown) from error
        self._connection = connection
        return connection

    def _poll(self, connection: Link, timeout: float) -> bool:
        """Sleep until something happens; whether it was on the socket."""
        sock = connection._sock
        if sock is None:
            raise BrokerUnavailable(f"lost Redis at {self._connections.address.shown}")
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        poller.register(self._woken, select.POLLIN)
        ready = [fd for fd, _ in poller.poll(timeout * 1000)]
        if self._woken in ready:
            os.read(self._woken, 65536)
        return sock.fileno() in ready

    def _read(self, connection: Link) -> list[Bell]:
        bells: dict[Bell, None] = {}
        while True:
            bell = _bell(connection.read_response())
            if bell is not None:
                bells[bell] = None
            if len(bells) >= _MOST or not connection.can_read(0):
                return list(bells)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _open_pipe(self) -> None:
        self._pid = os.getpid()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def _start_again_after_fork(self) -> None:
        """The socket and the pipe are the parent's; closing these copies does nothing to them."""
        os.close(self._wake)
        os.close(self._woken)
        self._drop()
        self._open_pipe()


def _bell(message: Any) -> Bell | None:
    """The bell in a message of pub/sub; None for what is not one."""
    if not isinstance(message, list) or message[0] != b"message":
        return None
    kind, _, rest = message[2].decode(errors="replace").partition(" ")
    queue, _, job_id = rest.partition(" ")
    try:
        return Bell(BellKind(int(kind)), queue, job_id)
    except ValueError:
        return None  # of a later version, or not ours
