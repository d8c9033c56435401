"""The child's writing end of the pipe: outcomes in batches, everything else at once.

An outcome is held back only while the next job is of a task that is measured to be quick, and never
for long: what a killed child had not reported runs again.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from taskrunner import crashpoints, frames
from taskrunner.clock import monotonic
from taskrunner.frames import Kind

MOST_S = 0.002
MOST_BYTES = 64 * 1024
MOST_ROWS = 200


class Reporter:
    """Writes frames, blocking: a child may wait for its supervisor. Thread-safe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._rows: list[Any] = []
        self._bytes = 0
        self._since = 0.0

    def add(self, row: tuple[Any, ...], *, hold: bool) -> None:
        """Report an outcome; with `hold`, a little later together with the next ones."""
        with self._lock:
            if not self._rows:
                self._since = monotonic()
            self._rows.append(row)
            if row[6] is not None:
                self._bytes += len(row[6])
            small = self._bytes < MOST_BYTES and len(self._rows) < MOST_ROWS
            if not (hold and small and monotonic() - self._since < MOST_S):
                self._flush()

    def flush(self) -> None:
        with self._lock:
            if self._rows:
                self._flush()

    def send(self, kind: Kind, *values: Any) -> None:
        """Send anything else, after what was reported before it."""
        with self._lock:
            if self._rows:
                self._flush()
            self._write(frames.encode(kind, *values))

    def _flush(self) -> None:
        rows, self._rows, self._bytes = self._rows, [], 0
        if crashpoints.ARMED:
            crashpoints.reach("child.before_report")
        self._write(frames.encode(Kind.DONE, rows))
        if crashpoints.ARMED:
            crashpoints.reach("child.after_report")

    def _write(self, frame: bytes) -> None:
        view = memoryview(frame)
        while view:
            view = view[os.write(self._fd, view) :]
