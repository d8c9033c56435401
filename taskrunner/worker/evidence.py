"""What outlives a child: the last lines it wrote, and the stacks of its threads.

    the file that a child shares with its supervisor

      start page │ lines: LINES slots of LINE bytes            │ stacks: what faulthandler writes
                 │ order · monotonic ns · text                 │ (of all threads, by a signal handler
                 │                                             │ in C: also under a held interpreter
                 │                                             │ lock, and at a segmentation fault)

A line is a copy into memory: no system call and no lock, so that a task may be interrupted in the
middle of one, and `kill -9` loses nothing. What a line is: a record of the `logging` module that was
made, whoever handles it, and what is written to `sys.stderr`. What C code writes to descriptor 2 is
not seen, nor what is printed to standard output.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import itertools
import logging
import mmap
import os
import signal
import struct
import sys
import traceback
from typing import Any, Final, NamedTuple

from taskrunner.clock import monotonic_ns
from taskrunner.worker.startpage import StartPage

SIGNAL: Final = signal.SIGQUIT
"""Makes a child write down the stacks of its threads, and go on."""
LINES: Final = 32
LINE: Final = 256
_HEAD: Final = struct.Struct("=QQ")
_TEXT: Final = LINE - _HEAD.size
_STACKS_AT: Final = LINES * LINE
SIZE: Final = 64 * 1024


class Line(NamedTuple):
    """Something that the child said."""

    at_ns: int
    """monotonic"""
    text: str


class Evidence:
    """Both sides' view of it, behind the start page of the same file."""

    def __init__(self, page: StartPage) -> None:
        self._at = -(-page.size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._fd = page.fd
        if os.fstat(page.fd).st_size < self._at + SIZE:
            os.ftruncate(page.fd, self._at + SIZE)
        self._map = mmap.mmap(page.fd, SIZE, offset=self._at)
        self._orders = itertools.count(1)

    # -- the child's

    def keep(self, text: str) -> None:
        """Remember a text, line by line; each takes the place of the oldest."""
        for line in text.splitlines():
            order = next(self._orders)  # one atomic step: threads write to different slots
            at = order % LINES * LINE
            shown = line.encode("utf-8", "backslashreplace")[:_TEXT]
            self._map[at : at + _HEAD.size] = bytes(_HEAD.size)  # half a line is none
            self._map[at + _HEAD.size : at + LINE] = shown.ljust(_TEXT, b"\0")
            self._map[at : at + _HEAD.size] = _HEAD.pack(order, monotonic_ns())

    def watch(self) -> None:
        """From here on this process writes down what it says, and how it dies."""
        os.lseek(self._fd, self._at + _STACKS_AT, os.SEEK_SET)
        faulthandler.enable(self._fd)
        faulthandler.register(SIGNAL, self._fd, all_threads=True)
        _keep_log_records(self)
        _keep_errors(self)
        os.register_at_fork(after_in_child=self._let_go)

    def _let_go(self) -> None:
        """A process that a task forks is not this child."""
        self._map = mmap.mmap(-1, SIZE)
        faulthandler.unregister(SIGNAL)
        faulthandler.disable()
        with contextlib.suppress(Exception):  # there may be no standard error
            faulthandler.enable()

    # -- the supervisor's

    def stacks(self) -> str:
        """What faulthandler has written so far; whole or not."""
        return self._map[_STACKS_AT:].rstrip(b"\0").decode("utf-8", "replace")

    def lines(self, since_ns: int = 0) -> list[Line]:
        """The last lines, oldest first, without those from before that monotonic time."""
        found = []
        for at in range(0, _STACKS_AT, LINE):
            order, at_ns = _HEAD.unpack_from(self._map, at)
            text = self._map[at + _HEAD.size : at + LINE].rstrip(b"\0")
            if order and at_ns >= since_ns:
                found.append((order, Line(at_ns, text.decode("utf-8", "replace"))))
        return [line for _, line in sorted(found)]

    # -- both

    def close(self) -> None:
        self._map.close()


def _keep_log_records(evidence: Evidence) -> None:
    # Not a handler: one on the root logger would keep `logging` from showing anything in programs
    # that have configured nothing.
    make = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        with contextlib.suppress(Exception):  # arguments that do not fit are for others to report
            evidence.keep(f"{record.levelname} {record.name}: {record.getMessage()}")
            if record.exc_info and record.exc_info[1] is not None:
                evidence.keep("".join(traceback.format_exception_only(record.exc_info[1])))
        return record

    logging.setLogRecordFactory(factory)


def _keep_errors(evidence: Evidence) -> None:
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Overheard(sys.stderr, evidence)


class _Overheard(io.TextIOWrapper):
    """Standard error, with somebody who takes notes."""

    def __init__(self, original: io.TextIOWrapper, evidence: Evidence) -> None:
        super().__init__(
            original.buffer,
            encoding=original.encoding,
            errors=original.errors,
            line_buffering=True,
        )
        self._original = original  # lost, it would close what both write to
        self._evidence = evidence
        self._unfinished = ""

    def write(self, text: str, /) -> int:
        if sys._getframe(1).f_globals.get("__name__") == "logging":
            return super().write(text)  # a record that was kept when it was made
        with contextlib.suppress(Exception):
            whole, end, rest = (self._unfinished + text).rpartition("\n")
            self._unfinished = rest[-_TEXT:]
            if end:
                self._evidence.keep(whole)
        return super().write(text)
