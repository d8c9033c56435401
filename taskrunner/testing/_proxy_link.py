"""One connection through the proxy: two sockets, what flows between them, and its faults.

    client socket ──▶ Flow up   ──▶ server socket      what a client sends until it is answered
    client socket ◀── Flow down ◀── server socket      is one turn: a round trip

Everything here belongs to the proxy's one thread; `Fault` is what a test holds in its hands.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import hiredis

READ_SIZE: Final = 1 << 16
MOST_QUEUED: Final = 1 << 20
_SLICE_S: Final = 0.02
"""Throttled, a flow passes on as much as this time allows, and waits."""
_RESET: Final = struct.pack("ii", 1, 0)


class Fault:
    """A fault that waits for its moment: a request that contains one of `marks`."""

    def __init__(
        self, marks: tuple[bytes, ...], *, on_reply: bool, keep: int, cut: bool, times: int
    ) -> None:
        self.marks = marks
        self.on_reply = on_reply
        self.keep = keep
        self.cut = cut
        self.left = times
        self.happened = 0
        """how often it has happened"""
        self._changed = threading.Condition()

    def wait(self, timeout: float = 10.0) -> None:
        """Wait until it has happened as often as was asked. Raises AssertionError after `timeout`
        seconds."""
        with self._changed:
            done = self._changed.wait_for(lambda: self.left <= 0, timeout)
        assert done, f"not within {timeout:g} s: a request with {self.marks!r} and its fault"

    def take(self, sent: bytes) -> bool:
        """Whether it applies to these bytes; it has then happened, or is about to."""
        return self.left > 0 and any(mark in sent for mark in self.marks)

    def tell(self) -> None:
        """It has happened."""
        with self._changed:
            self.left -= 1
            self.happened += 1
            self._changed.notify_all()


@dataclass(slots=True)
class Weather:
    """What all connections suffer until it is healed."""

    silent: bool = False
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    """0: as fast as it goes"""


@dataclass(slots=True)
class Tally:
    """What has gone through the proxy since it was started."""

    connections: int = 0
    round_trips: int = 0
    """turns of a conversation: however many commands were sent at once, they count as one"""
    requests: int = 0
    """commands, where the protocol is Redis'"""
    bytes_up: int = 0
    bytes_down: int = 0


class Frames:
    """Counts what is complete in a stream of RESP. What is not RESP counts as one a piece."""

    def __init__(self) -> None:
        self._reader: hiredis.Reader | None = hiredis.Reader()

    @property
    def is_opaque(self) -> bool:
        return self._reader is None

    @property
    def is_partial(self) -> bool:
        return self._reader is not None and self._reader.has_data()

    def feed(self, data: bytes) -> int:
        """How many frames these bytes complete."""
        if self._reader is None:
            return 1
        count = 0
        try:
            self._reader.feed(data)
            while self._reader.gets() is not False:
                count += 1
        except hiredis.ProtocolError:
            self._reader = None
            return 1
        return count


class Flow:
    """What was read from one socket and waits to be written to the other."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.ended = False
        """the source said that nothing more comes"""
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._next_at = 0.0
        self._shut = False

    @property
    def wants_read(self) -> bool:
        return not self.ended and self._size < MOST_QUEUED

    @property
    def is_empty(self) -> bool:
        return not self._queue

    @property
    def is_over(self) -> bool:
        return self.ended and not self._queue

    def due(self) -> float | None:
        """When something can be written; None: there is nothing."""
        return max(self._queue[0][0], self._next_at) if self._queue else None

    def put(self, data: bytes, at: float) -> None:
        if data:
            self._queue.append((at, data))
            self._size += len(data)

    def hurry(self) -> None:
        """Write what waits as soon as possible."""
        self._queue = deque((0.0, data) for _, data in self._queue)
        self._next_at = 0.0

    def write(self, now: float, weather: Weather) -> int:
        """Write one piece; how many bytes. Raises OSError."""
        at, data = self._queue.popleft()
        rate = weather.bytes_per_s
        most = max(1, int(rate * _SLICE_S)) if rate else len(data)
        try:
            count = self.sink.send(data[:most])
        except BlockingIOError:
            count = 0
        if count < len(data):
            self._queue.appendleft((at, data[count:]))
        self._size -= count
        if rate:
            self._next_at = now + count / rate
        return count

    def pass_end_on(self) -> None:
        """Where the source has ended and all is written, say so to the sink. Raises OSError."""
        if self.is_over and not self._shut:
            self._shut = True
            self.sink.shutdown(socket.SHUT_WR)


class Link:
    """A client's connection and the one to the server that was made for it."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        *,
        faults: Callable[[], list[Fault]],
        weather: Weather,
        tally: Tally,
    ) -> None:
        for end in (client, server):
            end.setblocking(False)
        self.up = Flow(client, server)
        self.down = Flow(server, client)
        self.is_forgotten = False
        self.is_closed = False
        self._faults = faults
        self._weather = weather
        self._tally = tally
        self._requests = Frames()
        self._replies = Frames()
        self._asking = False
        self._owed = 0
        self._sent = b""
        self._fault: Fault | None = None
        """what becomes of the reply to this turn"""
        self._kept = 0
        self._held: list[bytes] = []
        self._unsent: list[bytes] = []
        self._is_last = False
        """cut it when what is queued has been written"""

    # -- reading and writing

    def read(self, flow: Flow, now: float) -> None:
        """Take in what has arrived at one end."""
        try:
            data = flow.source.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.cut()
            return
        if not data:
            flow.ended = True
        elif flow is self.up:
            self._from_client(data, now)
        else:
            self._from_server(data, now)
        self._settle(flow)

    def write(self, flow: Flow, now: float) -> None:
        """Pass on what is due."""
        try:
            count = flow.write(now, self._weather)
        except OSError:
            self.cut()
            return
        if flow is self.up:
            self._tally.bytes_up += count
        else:
            self._tally.bytes_down += count
        self._settle(flow)

    def _settle(self, flow: Flow) -> None:
        if self._is_last and self.up.is_empty and self.down.is_empty:
            self.cut()
            return
        try:
            flow.pass_end_on()
        except OSError:
            self.cut()
        if self.up.is_over and self.down.is_over:
            self.close()

    # -- turns

    def _from_client(self, data: bytes, now: float) -> None:
        if self._is_last:
            return
        if self._unsent:
            self._unsent.append(data)
            return
        if not self._asking:
            self._asking, self._owed, self._sent = True, 0, b""
            self._tally.round_trips += 1
        count = self._requests.feed(data)
        self._owed += count
        self._tally.requests += count
        sent = self._sent + data
        for fault in self._faults():
            if fault.take(sent):
                if not fault.on_reply:
                    self._withhold(fault, data, now)
                    return
                if self._fault is None:
                    self._fault, self._kept = fault, 0
        longest = max((len(m) for fault in self._faults() for m in fault.marks), default=1)
        self._sent = sent[-longest:]
        self.up.put(data, now + self._weather.delay_s)

    def _withhold(self, fault: Fault, data: bytes, now: float) -> None:
        self.up.put(data[: fault.keep], now)
        if fault.cut:
            self._is_last = True
        else:
            self._unsent.append(data[fault.keep :])
        fault.tell()

    def _from_server(self, data: bytes, now: float) -> None:
        self._owed -= self._replies.feed(data)
        is_over = self._owed <= 0 and not self._requests.is_partial
        if is_over or self._replies.is_opaque:
            self._asking = False
        if self._fault is None:
            if self._held:
                self._held.append(data)
            else:
                self.down.put(data, now + self._weather.delay_s)
            return
        self._break(self._fault, data, now)

    def _break(self, fault: Fault, data: bytes, now: float) -> None:
        """Let the first bytes of a reply through, and no more. With `cut`, the connection ends
        once the reply is there: then all that was asked has been executed."""
        passed = data[: max(0, fault.keep - self._kept)]
        self._kept += len(passed)
        self.down.put(passed, now)
        if not fault.cut:
            self._held.append(data[len(passed) :])
        if self._asking:
            return
        self._fault = None
        fault.tell()
        if fault.cut:
            self._is_last = True

    # -- what tests ask for

    def heal(self) -> None:
        """Pass on what was held back."""
        self._fault = None
        self.down.hurry()
        self.up.hurry()
        for data in self._unsent:
            self.up.put(data, 0.0)
        for data in self._held:
            self.down.put(data, 0.0)
        self._unsent.clear()
        self._held.clear()

    def cut(self) -> None:
        """End both connections with a reset, and what was on its way with them."""
        self._end(reset=True)

    def close(self) -> None:
        """End both connections."""
        self._end(reset=False)

    def _end(self, *, reset: bool) -> None:
        self.is_closed = True
        for end in (self.up.source, self.down.source):
            if reset and end.fileno() >= 0 and end.family != socket.AF_UNIX:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()
