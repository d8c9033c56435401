"""How the wire of a job is divided in its record.

A hash keeps its compact form as long as no field is longer than 64 bytes, and a key of its own
takes Redis some 125 bytes. So what is not long is kept in fields:

    up to 64 bytes    w
    up to 192         w  1  2     64 bytes each
    longer            body:ID     all of it, or most
                      1  2        what is left

What is left: allocators have four sizes between a power of two and the next, and a string that is a
little too long for one of them takes the whole of the one above. Where that saves enough, `body:ID`
gets what fills the lower one. More fields would save more memory, and take more time: a field is
read and written by each script that a job passes, a key of its own by two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

PIECE: Final = 64
REST: Final = 2 * PIECE
"""Bytes behind the head, at most."""
_LEADS: Final = 6, 10
"""Bytes that Redis puts around a string of 256 bytes or more, and of 64 KiB or more."""
_WORTH: Final = 160
"""Bytes that must be saved where something is left."""
Wire: TypeAlias = bytes | list[bytes]
"""As scripts take and answer it: whole, or its parts."""


def divided(wire: bytes) -> Wire:
    """Its head, which goes to `body:ID` where it is longer than a piece, and the pieces behind that;
    one that is nothing but a head is left whole."""
    size = len(wire)
    if size <= PIECE:
        return wire
    head = PIECE if size <= PIECE + REST else _filling(size)
    if head == size:
        return wire
    return [wire[:head], *(wire[at : at + PIECE] for at in range(head, size, PIECE))]


def _filling(size: int) -> int:
    """How much of a long wire `body:ID` gets."""
    taken = size + _LEADS[size >= 64 * 1024]
    step = 1 << taken.bit_length() - 3
    over = taken % step
    return size - over if over <= min(REST, step - _WORTH) else size


def whole(job: Mapping[bytes, bytes], body: bytes | None) -> bytes:
    """The wire of a record, from its fields and what `body:ID` holds; empty where it is gone."""
    head = job.get(b"w", body)
    if head is None or b"1" not in job:
        return head or b""
    return head + job[b"1"] + job.get(b"2", b"")
