"""Many things in commands of a bounded size.

One command carries so many rows that its script holds the server for a millisecond or two, and no
more bytes than both sides swallow easily; one round trip carries many commands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgpack

from taskrunner.brokers.base import Rewrite, Tick
from taskrunner.brokers.redis.limit_calls import pack_own
from taskrunner.brokers.redis.wires import PIECE, Wire, divided
from taskrunner.message import CONFLICTS, NOW, UNTIL_STARTED, Lock, Message

T = TypeVar("T")

ROWS: Final = 250
"""In one command. Lua's unpack fails near 8,000, and settle unpacks two values for each."""
BYTES: Final = 4 * 1024 * 1024
"""Of one command with more than one row."""
WINDOW: Final = 32 * 1024 * 1024
"""Bytes of one round trip, about."""
IDS: Final = 250
"""Ids in one command that asks for jobs."""
LONGEST_FIELD: Final = 64
PLAIN: Final = 2
"""Items in the row of a message that has nothing but defaults: its id and its wire."""

_pack = msgpack.packb


class Blob(NamedTuple):
    """Some packed rows, and where they stood."""

    start: int
    size: int
    """in rows"""
    packed: bytes


def blobs(rows: Sequence[Any], start: int = 0) -> Iterator[Blob]:
    """Rows as blobs of at most ROWS rows and, where they can be divided, BYTES bytes."""
    count = len(rows)
    if count <= ROWS:
        packed = _pack(rows, use_bin_type=False)  # the server's cmsgpack knows no bin type
        if len(packed) <= BYTES or count == 1:
            yield Blob(start, count, packed)
            return
    middle = ROWS if count > ROWS else count // 2
    yield from blobs(rows[:middle], start)
    for at in range(middle, count, ROWS):
        yield from blobs(rows[at : at + ROWS], start + at)


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Some at a time."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


def windows(blobs: Sequence[tuple[str, Blob]]) -> Iterator[list[tuple[str, Blob]]]:
    """Blobs by queue, in groups of about WINDOW bytes: one round trip each."""
    window: list[tuple[str, Blob]] = []
    size = 0
    for queue, blob in blobs:
        if window and size + len(blob.packed) > WINDOW:
            yield window
            window, size = [], 0
        window.append((queue, blob))
        size += len(blob.packed)
    if window:
        yield window


def message_row(message: Message) -> tuple[Any, ...]:
    """A message as enqueue.lua takes it: short where all options are the defaults."""
    timing, lock, own = message.timing, message.lock, message.header.limit_keys
    is_plain = timing is NOW and message.priority == 5 and not message.call
    packed = message.wire
    wire: Wire = packed if len(packed) <= PIECE else divided(packed)
    if is_plain and lock is None and own is None:
        return message.id, wire
    row = (
        message.id,
        wire,
        message.priority,
        _short(message.call),
        _ms(timing.delay),
        _ms(timing.eta),
        _ms(timing.expires_in),
        _ms(timing.expires_at),
        _ms(timing.deadline),
    )
    if own is not None:
        return *row, lock and _lock_row(lock), pack_own(own)
    return row if lock is None else (*row, _lock_row(lock))


class RewriteRow(NamedTuple):
    """A Rewrite as rewrite.lua takes it."""

    queue: str
    id: str
    before: tuple[Any, ...]
    after: tuple[Any, ...]

    @classmethod
    def of(cls, change: Rewrite) -> RewriteRow:
        before, after = change.before, change.after
        return cls(
            change.queue,
            change.id,
            (divided(before.wire), *before[1:]),
            (divided(after.wire), *after[1:]),
        )


def _lock_row(lock: Lock) -> tuple[Any, ...]:
    lasts = _ms(lock.seconds)
    return (
        _short(lock.key),
        int(lock.until == UNTIL_STARTED),
        lasts,
        CONFLICTS.index(lock.on_conflict),
    )


def _short(text: str) -> str:
    """What is too long for a field of a record, as a hash."""
    if len(text) * 4 <= LONGEST_FIELD or len(text.encode()) <= LONGEST_FIELD:
        return text
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def tick_row(tick: Tick) -> tuple[Any, ...]:
    """A tick as tick.lua takes it."""
    return (
        tick.schedule,
        None if tick.slot is None else round(tick.slot * 1000),
        round(tick.due * 1000),
        tick.revision,
        _ms(tick.known_at),
        None if tick.wall is None else round(tick.wall * 1000),
        tick.zone,
        int(tick.skip_overlap),
        message_row(tick.message),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
