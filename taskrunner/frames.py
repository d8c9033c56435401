"""What travels between a supervisor and a child: the frames of the pipe, and their packing.

    frame = 4 bytes length, big-endian · msgpack array [kind, …]

    supervisor to child                          child to supervisor
      RUN       [[delivery, …]]                    READY     []
      TAKE      [request, most]                    DONE      [[outcome, …]]
      INTERRUPT [number, why]                      TAKEN     [request, [number, …]]
      ANSWER    [call, ok, value]                  CALL      [call, number, method, value]
      DEADLOCK  [number]                           PROGRESS  [number, value]
      STOP      []                                 BLOCKED   [number, is_blocked]
      PROBE     [probe]                            BEAT      []
                                                   PROBED    [probe, by the main thread]

A delivery is `Delivery` as a list; an outcome is `Outcome` as a list. Both sides refuse a frame of
more than MAX_FRAME bytes, and anything they cannot read, with FrameError.

TAKE is a question: of what the child has not started it gives back at most `most`, last first, and
names it in TAKEN; only that may go elsewhere. CALL is an upcall: what a task asks of a broker that
only the supervisor can reach. BLOCKED says that a job waits for another's result, so that its slot
does not count; DEADLOCK answers that no worker is left to run what it waits for. STOP: give back
nothing, finish what runs, report it and exit; whoever sends it has taken back the rest before.
PROBE is answered twice: by the thread that reads the pipe, at once, and by the main thread as soon as
it has nothing to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import msgpack

from taskrunner.errors import TaskrunnerError

MAX_FRAME: Final = 64 * 1024 * 1024
LENGTH_SIZE: Final = 4
MOST_ITEMS: Final = 100_000
"""In any one array or map of a frame: a header of a few bytes claims memory for as many."""


class Kind(IntEnum):
    RUN = 1
    TAKE = 2
    INTERRUPT = 3
    ANSWER = 4
    STOP = 5
    DEADLOCK = 6
    PROBE = 7
    READY = 11
    DONE = 12
    TAKEN = 13
    CALL = 14
    PROGRESS = 15
    BLOCKED = 16
    BEAT = 17
    PROBED = 18


class Why(IntEnum):
    """Why a running job is interrupted."""

    TIMEOUT = 1
    CANCEL = 2
    DEADLINE = 3


class FrameError(TaskrunnerError):
    """The other end of a pipe sent something that is not a frame."""


def encode(kind: int, *values: Any) -> bytes:
    """One frame, length included. Raises FrameError over MAX_FRAME."""
    payload: bytes = msgpack.packb((int(kind), *values))
    if len(payload) > MAX_FRAME:
        raise FrameError(f"a frame of {len(payload)} bytes; at most {MAX_FRAME} may be sent")
    return len(payload).to_bytes(LENGTH_SIZE) + payload


class Decoder:
    """Bytes as they arrive in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        """Yield the frames, `[kind, …]`, that `data` completes. Raises FrameError."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= LENGTH_SIZE:
                size = int.from_bytes(buffer[at : at + LENGTH_SIZE])
                if size > MAX_FRAME:
                    raise FrameError(f"a frame of {size} bytes; at most {MAX_FRAME} are accepted")
                end = at + LENGTH_SIZE + size
                if len(buffer) < end:
                    break
                frame = _decode(bytes(memoryview(buffer)[at + LENGTH_SIZE : end]))
                at = end
                yield frame
        finally:
            del buffer[:at]


def _decode(payload: bytes) -> list[Any]:
    try:
        frame = msgpack.unpackb(
            payload, strict_map_key=False, max_array_len=MOST_ITEMS, max_map_len=MOST_ITEMS
        )
    except Exception as error:
        raise FrameError(f"not a frame: {type(error).__name__}: {error}") from error
    if not isinstance(frame, list) or not frame or type(frame[0]) is not int:
        raise FrameError(f"not a frame: {type(frame).__name__}")
    return frame
