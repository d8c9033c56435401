"""The supervisor's end of a child's pipe: frames both ways, never blocking.

`send` may be called by the fetch thread as well as by the main thread: it writes what the pipe
takes at once and leaves the rest to the loop. So a child that is
stopped, slow or half-way through a frame stalls nobody.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from taskrunner import frames

READ_SIZE = 1 << 18
LONGEST_FRAME_S = 60.0
"""From the first to the last byte of a frame, for a child that goes on writing. The bytes of one that
wrote something else in between would only seem to be a frame, of any length."""


class Channel:
    """One duplex pipe. `received` gets each batch of frames; `closed` is called once at its end."""

    def __init__(
        self,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        *,
        received: Callable[[list[list[Any]]], None],
        closed: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._fd = connection.fileno()
        self._loop = loop
        self._received = received
        self._closed = closed
        self._decoder = frames.Decoder()
        self._unsent: deque[memoryview] = deque()
        self._open = True
        self._paused = False
        self._frame_since: float | None = None
        self.refused = ""
        """what it sent that makes no sense"""
        self._writing = threading.Lock()
        os.set_blocking(self._fd, False)

    def open(self) -> None:
        """Begin to read. Main thread."""
        self._loop.add_reader(self._fd, self._readable)

    def send(self, kind: frames.Kind, *values: Any) -> None:
        """Send a frame, now as far as the pipe takes it. Any thread."""
        frame = memoryview(frames.encode(kind, *values))
        with self._writing:
            if not self._open:
                return
            self._unsent.append(frame)
            if len(self._unsent) == 1 and not self._write():
                self._loop.call_soon_threadsafe(self._watch_writable)

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def unsent(self) -> int:
        """Bytes that wait for the child to read."""
        return sum(map(len, self._unsent))

    def pause(self) -> None:
        """Read nothing more, so that the other end has to wait. Main thread."""
        if self._open and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read again. Main thread."""
        if self._open and self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._readable)

    def drain(self) -> None:
        """Read what has arrived and end. For a child that is dead: its last words count."""
        while self._open and self._readable():
            pass
        self.close("the process ended")

    def refuse(self, why: str) -> None:
        """What the other end says makes no sense: hear no more of it."""
        self.refused = why
        self.close(why)

    def close(self, why: str) -> None:
        with self._writing:
            if not self._open:
                return
            self._open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._unsent.clear()
            self._connection.close()
        self._closed(why)

    def _readable(self) -> bool:
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            self.close(str(error))
            return False
        if not data:
            self.close("end of file")
            return False
        try:
            found = list(self._decoder.feed(data))
        except frames.FrameError as error:
            self.refuse(str(error))
            return False
        if found:
            self._received(found)
        self._watch_frame(begun=bool(found))
        return True

    def _watch_frame(self, *, begun: bool) -> None:
        """Whether the frame that is not whole takes too long. `begun`: it is another than before."""
        now = self._loop.time()
        if not self._decoder.pending:
            self._frame_since = None
        elif begun or self._frame_since is None:
            self._frame_since = now
        elif now - self._frame_since > LONGEST_FRAME_S:
            self.refuse(f"a frame that is not whole after {LONGEST_FRAME_S:g} s")

    def _watch_writable(self) -> None:
        if self._open and self._unsent:
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        with self._writing:
            if self._open and self._write():
                self._loop.remove_writer(self._fd)

    def _write(self) -> bool:
        """Write until the pipe is full; True when nothing is left."""
        while self._unsent:
            data = self._unsent[0]
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                return False
            except OSError:
                # The child is gone; the reader's end of file tells the rest.
                self._unsent.clear()
                return True
            if sent < len(data):
                self._unsent[0] = data[sent:]
            else:
                self._unsent.popleft()
        return True
