"""The connection on which bells arrive.

    a script ── PUBLISH ──▶ Redis ── message ──▶ socket ─┐
                                                         ├─ poll ──▶ the one thread in `wait`
    any thread ── wake ────────────────────▶ pipe ───────┘

No thread, no polling: `wait` sleeps in the kernel until one of the two can be read.

A connection that was dropped without a word looks like one on which nobody rings. So when nothing
was heard for a while `wait` asks with a PING, and gives the connection up when even that is not
answered: `socket_timeout` seconds of silence in all, as for any command.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from typing import Any, Final

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskrunner.brokers.base import Bell, BellKind, Mailbox
from taskrunner.brokers.redis.connection import Connections
from taskrunner.brokers.redis.failures import FAILURES, translate
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.line import Line
from taskrunner.brokers.redis.replies import handed
from taskrunner.clock import monotonic

_QUIET: Final = 2 / 3
"""Of the time in which an answer must come: silence up to here is not worth a question."""
_HANDED: Final = b"%d " % BellKind.HANDED


class RedisMailbox(Mailbox):
    """Subscribed before the constructor returns."""

    def __init__(self, connections: Connections, keys: Keys, name: str) -> None:
        self._connections = connections
        self._name = name
        self._channels = (keys.mailbox(name), keys.everybody)
        self._connection: Line | None = None
        self._timeout: float = connections.address.options["socket_timeout"]
        self._heard_at = 0.0
        self._asked_at: float | None = None
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
            return self._listen(self._connection or self._subscribe(), max(0.0, timeout))
        except FAILURES as error:
            self._drop()
            raise self._connections.lost(error) from error

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

    def _listen(self, connection: Line, timeout: float) -> list[Bell]:
        now = monotonic()
        end = now + timeout
        # First what came together with the answer to SUBSCRIBE: poll does not see it.
        bells = _bells(connection.buffered(), self._name)
        while not bells:
            heard, woken = self._poll(connection, min(end, self._patience()) - now)
            now = monotonic()
            if heard:
                self._heard_at, self._asked_at = now, None
                bells = _bells(connection.arrived(), self._name)
            if woken or now >= end:
                break
            self._ask(connection, now)
        return bells

    def _patience(self) -> float:
        """Until when silence means nothing."""
        quiet = self._timeout * _QUIET
        if self._asked_at is None:
            return self._heard_at + quiet
        return self._asked_at + self._timeout - quiet

    def _ask(self, connection: Line, now: float) -> None:
        """If nothing was heard for a while: whether anybody is there. Raises what redis-py raises."""
        if now < self._patience():
            return
        if self._asked_at is not None:
            self._connections.close()  # what idles beside it has gone the same way
            raise RedisTimeoutError("nothing was heard, and a PING was not answered")
        connection.send([("PING",)])
        self._asked_at = now

    def _subscribe(self) -> Line:
        try:
            connection = self._connections.connect()
        except FAILURES as error:
            raise translate(error, self._connections.address.shown) from error
        try:
            connection.send([("SUBSCRIBE", *self._channels)])
            for _ in self._channels:
                (answer,) = connection.receive(1)
                if isinstance(answer, ResponseError):  # the only answer to all of it
                    raise answer
            connection.listen()
        except FAILURES as error:
            connection.disconnect()
            raise translate(error, self._connections.address.shown) from error
        self._poller = select.poll()
        self._poller.register(connection, select.POLLIN)
        self._poller.register(self._woken, select.POLLIN)
        self._connection = connection
        self._heard_at, self._asked_at = monotonic(), None
        return connection

    def _poll(self, connection: Line, seconds: float) -> tuple[bool, bool]:
        """Sleep until something happens; whether it was on the socket, and whether it was a wake."""
        ready = [fd for fd, _ in self._poller.poll(max(0.0, seconds) * 1000)]
        woken = self._woken in ready
        if woken:
            os.read(self._woken, 65536)
        return len(ready) > woken, woken

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


def _bells(messages: Iterable[Any], name: str) -> list[Bell]:
    """Each once."""
    found = (_bell(message, name) for message in messages)
    return list(dict.fromkeys(bell for bell in found if bell is not None))


def _bell(message: Any, name: str) -> Bell | None:
    """The bell in a message of pub/sub, for the mailbox of this name; None for what is not one."""
    if not isinstance(message, list) or message[0] != b"message":
        return None
    if message[2].startswith(_HANDED):
        return handed(name, message[2][len(_HANDED) :])
    kind, _, rest = message[2].decode(errors="replace").partition(" ")
    queue, _, job_id = rest.partition(" ")
    try:
        return Bell(BellKind(int(kind)), queue, job_id)
    except ValueError:
        return None  # of a later version, or not ours
