"""The child's writing end of the pipe: outcomes in batches, progress a few times a second.

    between jobs    add ─┐                       ┌ held until flushed ┐
    the listener    send, tick ─▶ one lock ─▶    │ DONE, PROGRESS, …  │ ─▶ pipe
    inside a task   post, progress ─▶ queues ────┘
                       └─ wake ─▶ the listener

A task may be interrupted at any bytecode, so nothing that it calls writes to the pipe: half a frame
there would be the end of the child. `post` and `progress` leave what they have in queues that one
atomic step fills, and the listener, or whoever writes next, sends it.

An outcome is held back only while the next job is of a task that is measured to be quick, and never
for long: what a killed child had not reported runs again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from taskrunner import crashpoints, frames
from taskrunner.clock import monotonic
from taskrunner.frames import Kind

MOST_S = 0.01
MOST_BYTES = 64 * 1024
MOST_ROWS = 200
PROGRESS_S = 0.2
"""A job's progress is sent at most this often."""

_NUMBER, _RESULT, _ERROR = 2, 6, 8
"""Fields of an outcome row."""


class Reporter:
    """Writes frames, blocking: a child may wait for its supervisor. Thread-safe.

    `broken` is called, by whoever wrote, where the other end is closed; from then on everything is
    dropped.
    """

    def __init__(self, fd: int, *, broken: Callable[[], None]) -> None:
        self._fd = fd
        self._broken = broken
        self._lock = threading.Lock()
        self._rows: list[Any] = []
        self._bytes = 0
        self._since = 0.0
        self._posted: deque[bytes] = deque()
        self._progress: dict[int, bytes] = {}
        self._progress_sent: dict[int, float] = {}
        self.wake_fd, self._wake = os.pipe()
        os.set_blocking(fd, True)
        for end in (self.wake_fd, self._wake):
            os.set_blocking(end, False)

    # -- between jobs, and by the listener

    def add(self, row: tuple[Any, ...], *, hold: bool) -> None:
        """Report an outcome; with `hold`, a little later together with the next ones."""
        with self._lock:
            if self._progress:
                self._last_progress(row[_NUMBER])
            if not self._rows:
                self._since = monotonic()
            self._rows.append(row)
            self._bytes += len(row[_RESULT] or row[_ERROR] or b"")
            small = self._bytes < MOST_BYTES and len(self._rows) < MOST_ROWS
            if not (hold and small and monotonic() - self._since < MOST_S):
                self._flush()

    def flush(self) -> None:
        """Send what is held back."""
        if self._rows or self._posted:
            with self._lock:
                self._flush()

    def send(self, kind: Kind, *values: Any) -> None:
        """Send anything else, after what was reported before it. Not from inside a task."""
        with self._lock:
            self._flush()
            self._write(frames.encode(kind, *values))

    def woken(self) -> None:
        """Send what was posted. For the listener, when `wake_fd` can be read."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 4096)
        self.flush()

    def tick(self) -> None:
        """Send what has waited long enough. The listener calls it often while there is work."""
        now = monotonic()
        if self._posted or (self._rows and now - self._since >= MOST_S):
            self.flush()
        if self._progress or self._progress_sent:
            with self._lock:
                self._due_progress(now)

    @property
    def is_holding(self) -> bool:
        """There is something that `tick` will send."""
        return bool(self._rows or self._posted or self._progress)

    # -- inside a task

    def post(self, kind: Kind, *values: Any) -> None:
        """Have the listener send something at once. Raises FrameError where it is too large."""
        self._posted.append(frames.encode(kind, *values))
        with contextlib.suppress(OSError):  # full: the listener is awake; closed: this is the end
            os.write(self._wake, b"\0")

    def progress(self, number: int, value: bytes) -> None:
        """The latest progress of a delivery; the last before its outcome is always sent."""
        self._progress[number] = value

    # -- under the lock

    def _due_progress(self, now: float) -> None:
        self._progress_sent = {
            number: at for number, at in self._progress_sent.items() if now - at < PROGRESS_S
        }
        for number in list(self._progress):
            if number not in self._progress_sent:
                self._progress_sent[number] = now
                value = self._progress.pop(number)
                self._write(frames.encode(Kind.PROGRESS, number, value))

    def _last_progress(self, number: int) -> None:
        value = self._progress.pop(number, None)
        if value is not None:
            self._write(frames.encode(Kind.PROGRESS, number, value))

    def _flush(self) -> None:
        # What a task posted precedes its outcome: a BLOCKED that came after would block for ever.
        while self._posted:
            self._write(self._posted.popleft())
        if not self._rows:
            return
        rows, self._rows, self._bytes = self._rows, [], 0
        if crashpoints.ARMED:
            crashpoints.reach("child.before_report")
        self._write(frames.encode(Kind.DONE, rows))
        if crashpoints.ARMED:
            crashpoints.reach("child.after_report")

    def _write(self, frame: bytes) -> None:
        view = memoryview(frame)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._broken()

    # -- the end

    def close(self) -> None:
        """Let go of the wake-up pipe; the other descriptor is not its own."""
        # A thread that the task left behind may still post: not into somebody else's descriptor.
        wake, self._wake = self._wake, -1
        os.close(wake)
        os.close(self.wake_fd)
