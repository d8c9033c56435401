"""The thread of a child that alone reads the pipe, and beats.

It works while the main thread is deep in a task: takes in work, gives unstarted work back, aims
interrupts, answers upcalls, and sends what tasks have left for it. A child whose listener is silent
is stopped, or something in it holds the interpreter lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from taskrunner import crashpoints, frames
from taskrunner.clock import monotonic
from taskrunner.frames import Kind, Why
from taskrunner.worker.reporter import Reporter

BEAT_S = 1.0
TICK_S = 0.05
"""How often it looks after outcomes, progress and titles while there is work; idle, once a beat."""
READ_SIZE = 1 << 18

logger = logging.getLogger("taskrunner.worker")


class Inbox:
    """Work that has arrived and has not started: rows with the monotonic time of their arrival."""

    def __init__(self) -> None:
        self.rows: deque[tuple[list[Any], float]] = deque()
        self.stopping = False
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.on_ring: Callable[[], object] = self._ring_bell
        self.probes: deque[int] = deque(maxlen=10)
        """those that the main thread has not answered yet; nobody waits for more than the newest"""

    def ring(self) -> None:
        self.on_ring()

    def _ring_bell(self) -> None:
        # One is enough, however long nobody has waited for it: the rows were there before it.
        if self._bell.empty():
            self._bell.put(None)

    def wait(self) -> None:
        """Block until something may have changed."""
        self._bell.get()

    def wait_at_most(self, seconds: float) -> None:
        with contextlib.suppress(Empty):
            self._bell.get(timeout=seconds)

    def waiting(self) -> set[int]:
        """Numbers of what has not started."""
        return {row[3] for row, _ in list(self.rows)}

    def take_back(self, most: int) -> list[int]:
        """Remove up to `most` from the end; each removal is one atomic step, as is each start."""
        numbers: list[int] = []
        while len(numbers) < most:
            try:
                row, _ = self.rows.pop()
            except IndexError:
                break
            numbers.append(row[3])
        numbers.reverse()
        return numbers


class Hears(Protocol):
    """What else the listener tells, besides the inbox. Called on its thread."""

    def interrupt(self, number: int, why: Why) -> None: ...
    def deadlock(self, number: int) -> None: ...
    def answer(self, call: int, ok: bool, value: Any) -> None: ...
    def tick(self) -> bool:
        """Look after what takes time; True to be called again soon."""
        ...

    def line_closed(self) -> None:
        """The supervisor is gone, or what it sends makes no sense."""
        ...


class Listener:
    """One daemon thread, from `start` until the pipe is closed."""

    def __init__(self, fd: int, *, inbox: Inbox, reporter: Reporter, hears: Hears) -> None:
        self._fd = fd
        self._inbox = inbox
        self._reporter = reporter
        self._hears = hears
        self._decoder = frames.Decoder()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="taskrunner listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End, and be gone: its descriptor may be closed then."""
        self._stopped = True
        with socket.socket(fileno=os.dup(self._fd)) as line, contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RD)  # wakes the thread; what is to be sent still can be
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._listen()
        except Exception:
            # Deaf, this child would only be in the way.
            logger.exception("the listener of this worker failed")
        if not self._stopped:
            self._hears.line_closed()

    def _listen(self) -> None:
        # Not select(), which refuses descriptors from 1024 on.
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._reporter.wake_fd, select.POLLIN)
        now = monotonic()
        tick_at = beat_at = now + BEAT_S
        while not self._stopped:
            ready = [fd for fd, _ in poll.poll(max(0.0, tick_at - now) * 1000)]
            if self._fd in ready and not self._read():
                return
            if self._reporter.wake_fd in ready:
                self._reporter.woken()
            now = monotonic()
            if ready:
                # Not now: the main thread may just have got work, and needs the interpreter for it.
                tick_at = min(tick_at, now + TICK_S)
            if now < tick_at:
                continue
            if now >= beat_at:
                beat_at = now + BEAT_S
                self._reporter.send(Kind.BEAT)
            tick_at = now + TICK_S if self._hears.tick() else beat_at

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, READ_SIZE)
        except ConnectionError:
            return False
        for frame in self._decoder.feed(data):
            self._handle(frame)
        return bool(data)

    def _handle(self, frame: list[Any]) -> None:
        match frame:
            case [Kind.RUN, rows]:
                self._take_in(rows)
            case [Kind.TAKE, request, most]:
                taken = self._inbox.take_back(most)
                if crashpoints.ARMED:
                    crashpoints.reach("child.before_taken")
                self._reporter.send(Kind.TAKEN, request, taken)
                if crashpoints.ARMED:
                    crashpoints.reach("child.after_taken")
            case [Kind.INTERRUPT, number, why]:
                self._hears.interrupt(number, Why(why))
            case [Kind.ANSWER, call, ok, value]:
                self._hears.answer(call, ok, value)
            case [Kind.DEADLOCK, number]:
                self._hears.deadlock(number)
            case [Kind.PROBE, probe]:
                self._reporter.send(Kind.PROBED, probe, False)
                self._inbox.probes.append(probe)
                self._inbox.ring()
            case [Kind.STOP]:
                self._inbox.stopping = True
                self._inbox.ring()
            case _:
                raise frames.FrameError(f"the supervisor sent {frame[0]!r}")

    def _take_in(self, rows: list[list[Any]]) -> None:
        if crashpoints.ARMED:
            crashpoints.reach("child.received")
        now = monotonic()
        self._inbox.rows.extend((row, now) for row in rows)
        self._inbox.ring()
