"""A page of memory that a child shares with its supervisor.

    word 0        lease: monotonic ns until which the child may start jobs   (supervisor writes)
    per slot      number of the delivery · ns of its start · 1 while it runs (child writes)

Whatever becomes of the child (dead, stopped, holding the interpreter lock), its supervisor reads
here what is unstarted, running, or finished but unreported, and time limits count from here. A
write is a store of eight bytes to memory: no system call, no lock.

The start is written before the number and the number before the user's code is called, so a reader
never sees a number with another job's time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from typing import NamedTuple

from taskrunner.clock import monotonic_ns

WORDS_IN_SLOT = 3
WORD = 8


class SlotView(NamedTuple):
    """What a slot says."""

    number: int
    """of the delivery that runs or last ran there; 0: none yet"""
    started_ns: int
    running: bool


class StartPage:
    """Both sides' view of the page."""

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self._slots = slots
        self._map = mmap.mmap(fd, _size(slots))
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, slots: int) -> StartPage:
        """A new page; `fd` is to be handed to the child and then closed by `close_fd`."""
        fd = _new_file()
        os.ftruncate(fd, _size(slots))
        return cls(fd, slots)

    @classmethod
    def attach(cls, fd: int, slots: int) -> StartPage:
        """The page that another process created."""
        return cls(fd, slots)

    @property
    def size(self) -> int:
        """Bytes of the file that are the page's; `evidence` has what follows."""
        return _size(self._slots)

    # -- the child's

    def begin(self, slot: int, number: int) -> None:
        """A job starts in this slot, now."""
        words = self._words
        at = 1 + slot * WORDS_IN_SLOT
        words[at + 1] = monotonic_ns()
        words[at] = number
        words[at + 2] = 1

    def end(self, slot: int) -> None:
        """The job in this slot has ended, and is not reported yet."""
        self._words[3 + slot * WORDS_IN_SLOT] = 0

    def may_start(self) -> bool:
        """The node's lease, as far as its supervisor knows, has not run out."""
        return monotonic_ns() < self._words[0]

    # -- the supervisor's

    def lease_until(self, at: float) -> None:
        """Let the child start jobs until this monotonic time, in seconds."""
        self._words[0] = max(0, int(at * 1e9))

    def slots(self) -> list[SlotView]:
        """What every slot says now."""
        words = self._words
        last = 1 + self._slots * WORDS_IN_SLOT
        return [
            SlotView(words[at], words[at + 1], bool(words[at + 2]))
            for at in range(1, last, WORDS_IN_SLOT)
        ]

    # -- both

    def seal(self) -> None:
        """From here on the file keeps its size, whatever a task does to its descriptor: reading what
        is not there any more would end the supervisor (SIGBUS). Linux."""
        if hasattr(fcntl, "F_ADD_SEALS"):
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)

    def close_fd(self) -> None:
        """The mapping outlives its descriptor."""
        os.close(self.fd)

    def close(self) -> None:
        self._words.release()
        self._map.close()


def _size(slots: int) -> int:
    return (1 + slots * WORDS_IN_SLOT) * WORD


def _new_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("taskrunner-start-page", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fd, path = tempfile.mkstemp(prefix="taskrunner-")
    os.unlink(path)
    return fd
