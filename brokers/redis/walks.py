"""Looking through what is too long for one script, while it moves.

A ready list is walked from its end to its head in slices. Entries are taken at the head and come at
both ends; in between they keep their order. The last entry of a slice is looked for in the next
one, so that nothing is left out; where it has gone meanwhile the walk begins anew.

    head  ─ ─ ─ ┬─────────────┬───────┬───────┐  end
                │  to come    │ slice │ done  │
    taken ◀─    └─────────────┴───▲───┴───────┘    ◀─ new ones
                                anchor

`done`, in the order of its times, is cut into windows. The newest end is counted in the same step in
which the counters are read; the others are counted before and after that, and count as known
where nothing has changed in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from taskrunner.brokers.redis.scripts import Command, Scripts

PAGE: Final = 1000
"""Entries that one script reads of a list."""
WINDOW: Final = 2000
"""Entries that one script reads of `done`; more than any script of ours ends in one moment."""
RESTARTS: Final = 5

Ask: TypeAlias = Callable[[Command[Any]], Any]
"""What one script answers."""
DONE: Final = ("succeeded", "cancelled", "expired")


class Pending(NamedTuple):
    """A pending job in one place: whenever it is delivered or moved, one of these changes."""

    id: str
    priority: int
    entry: bytes
    owner: bytes
    """its last delivery"""

    @property
    def mark(self) -> int:
        return hash((self.entry, self.owner))

    @property
    def row(self) -> tuple[Any, ...]:
        """As scripts take it."""
        return self.id, str(self.priority), self.entry, self.owner


@dataclass
class Walk:
    """What a walk through a ready list met."""

    priority: int
    owned: set[int] = field(default_factory=set)
    """marks of the entries that count"""
    dead: Counter[bytes] = field(default_factory=Counter)
    doubled: list[Pending] = field(default_factory=list)

    def meet(self, entry: bytes, owner: bytes | None) -> None:
        if owner is None:
            self.dead[entry] += 1
            return
        found = Pending(_id_of(entry), self.priority, entry, owner)
        if found.mark in self.owned:
            self.doubled.append(found)
        self.owned.add(found.mark)


def _id_of(entry: bytes) -> str:
    return entry.partition(b"\0")[0].decode(errors="replace")


class Length(NamedTuple):
    """A ready list and its counter, in one step."""

    entries: int
    said: int
    corrected: int
    """how often counters had been corrected"""


def ask_length(scripts: Scripts, queue: str, priority: int) -> Command[Any]:
    """Answers the fields of a Length."""
    return scripts.audit_walk(queue, priority=priority, before=0, limit=0)


def walk(
    scripts: Scripts, ask: Ask, queue: str, priority: int
) -> Generator[None, None, Walk | None]:
    """Walk through a ready list, one slice a step; None: it moves too much for that."""

    def page(before: int) -> list[tuple[bytes, bytes | None]]:
        answer = ask(scripts.audit_walk(queue, priority=priority, before=before, limit=PAGE))
        return list(zip(answer[3::2], answer[4::2], strict=True))

    for _ in range(RESTARTS):
        found, before, anchor = Walk(priority), 0, None
        while True:
            rows = page(max(0, before - 1))
            place = _place_of(anchor, rows)
            if place is None:
                break
            for entry, owner in rows[place:]:
                found.meet(entry, owner)
            if len(rows) < PAGE:
                return found
            before, anchor = max(0, before - 1) + len(rows), rows[-1][0]
            yield
        yield
    return None


def _place_of(anchor: bytes | None, rows: list[tuple[bytes, bytes | None]]) -> int | None:
    """Where what follows the anchor begins; None: that cannot be said."""
    if anchor is None:
        return 0
    places = [at + 1 for at, (entry, _) in enumerate(rows) if entry == anchor]
    return places[0] if len(places) == 1 else None


class Window(NamedTuple):
    """A part of `done`, and what was said at that moment of the whole."""

    following: bytes
    succeeded: int
    cancelled: int
    expired: int
    digest: bytes
    said_succeeded: int
    said_cancelled: int
    said_expired: int
    size: int
    corrected: int

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.succeeded, self.cancelled, self.expired

    @property
    def said(self) -> tuple[int, int, int]:
        return self.said_succeeded, self.said_cancelled, self.said_expired


class Bounds(NamedTuple):
    """A counter, what it said, and how many there were at least and at most."""

    counter: str
    said: int
    least: int
    most: int
    corrected: int

    @property
    def off(self) -> int:
        """By how much it must be corrected, at least."""
        return max(0, self.least - self.said) or min(0, self.most - self.said)

    @property
    def words(self) -> str:
        truth = self.least if self.off > 0 else self.most
        how = " at least" if self.off > 0 else " at most"
        return f"says {self.said}, there are{'' if self.least == self.most else how} {truth}"

    def shifted(self, more: int) -> Bounds:
        """With so many more jobs than were counted."""
        return self._replace(least=self.least + more, most=self.most + more)


def finished(scripts: Scripts, ask: Ask, queue: str) -> Generator[None, None, list[Bounds]]:
    """Count finished jobs by state, one window a step."""

    def look(start: str, end: str) -> Window:
        return Window(*ask(scripts.audit_window(queue, start=start, end=end, limit=WINDOW)))

    windows: list[tuple[str, str, Window]] = []
    start = "-inf"
    while (window := look(start, "+inf")).following:
        following = window.following.decode()
        # What is cut off at a moment either leaves it to the next window or has all of it.
        end = following[1:] if following.startswith("(") else f"({following}"
        windows.append((start, end, window))
        start = following
        yield
    steady = [window]
    for begins, ends, before in windows:
        after = look(begins, ends)
        if (after.following, after.digest) == (b"", before.digest):
            steady.append(before)
        yield
    return _bounds(window, steady)


def _bounds(last: Window, steady: list[Window]) -> list[Bounds]:
    known = [sum(column) for column in zip(*(window.counts for window in steady), strict=True)]
    unknown = max(0, last.size - sum(known))
    return [
        Bounds(counter, said, least, least + unknown, last.corrected)
        for counter, said, least in zip(DONE, last.said, known, strict=True)
    ]


def pending(first: Walk, length: Length, second: Walk) -> Bounds:
    """How many jobs a ready list held, between two walks: those that both met at least, and at most
    all entries but those that count for nothing."""
    both = len(first.owned & second.owned)
    dead = (first.dead & second.dead).total() + len(second.doubled)
    return Bounds(
        f"p{second.priority}",
        length.said,
        both,
        max(both, length.entries - dead),
        length.corrected,
    )
