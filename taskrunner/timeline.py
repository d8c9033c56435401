"""When a schedule falls due: slots, which of them were missed, and what becomes of those. Pure.

          floor: the last slot that was submitted            now
            │  missed                      late              │
    ────────┼────o────────o────────o────────┼──o─────────o───┼──────o──▶
                 catch_up: none, latest, all   submitted            next

A slot that nobody has submitted is late at first: whoever comes next submits it. Once it is later
than the time to the slot after it (10 seconds at least, 60 at most) it is missed, and `catch_up`
says what becomes of it. Moments are seconds since the epoch, by the store's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import dropwhile, takewhile
from math import floor
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, get_args
from zoneinfo import ZoneInfo

from taskrunner.cron import Cron, Slot
from taskrunner.zones import zone_of

CatchUp: TypeAlias = Literal["none", "latest", "all"]
Overlap: TypeAlias = Literal["allow", "skip"]
CATCH_UP: Final[tuple[str, ...]] = get_args(CatchUp)
OVERLAP: Final[tuple[str, ...]] = get_args(Overlap)

LATE_LEAST: Final = 10.0
LATE_MOST: Final = 60.0
"""Seconds after which a slot that nobody has submitted is missed."""

_TICK: Final = 0.001
_WINDOW: Final = 15.0
_WIDER: Final = 4.0


@dataclass(frozen=True, slots=True)
class Rule:
    """When a schedule falls due. Durations in seconds, moments in seconds since the epoch."""

    cron: str | None = None
    every: float | None = None
    """this or `cron`; counted from `start`, else from 1970 in UTC"""
    timezone: str = "UTC"
    start: float | None = None
    """no slot before; one at this very moment counts"""
    end: float | None = None
    """no slot after; one at this very moment counts"""
    jitter: float = 0.0
    """each slot falls due later by up to so much, the same for the same slot"""
    catch_up: CatchUp = "latest"
    max_catch_up: int = 100
    """missed slots that `catch_up="all"` submits at most, the newest ones"""
    overlap: Overlap = "allow"


class Turn(NamedTuple):
    """What is to be done with a schedule now."""

    submit: list[Slot]
    """in this order"""
    next: Slot | None
    """the first that is not due yet"""


class _Slots(Protocol):
    def after(self, moment: float) -> Slot | None:
        """The first slot later than a moment."""
        ...


class Interval:
    """Every so many seconds. Counted in whole milliseconds, so that nothing adds up."""

    def __init__(self, every: float, anchor: float | None) -> None:
        self._every = round(every * 1000)
        self._anchor = round((anchor or 0.0) * 1000)

    def after(self, moment: float) -> Slot | None:
        # What is a slot already must be known as one, in spite of a float's last digits.
        past = floor(moment * 1000 + 0.001) - self._anchor
        return Slot((self._anchor + (past // self._every + 1) * self._every) / 1000)


class Timeline:
    """The slots of one schedule. Used by one thread. Raises OptionError for a rule that cannot be
    followed here."""

    def __init__(self, name: str, rule: Rule) -> None:
        self._name = name
        self.rule: Rule = rule
        self.zone: ZoneInfo = zone_of(rule.timezone)
        self._slots: _Slots = (
            Interval(rule.every, rule.start)
            if rule.cron is None and rule.every is not None
            else Cron(rule.cron or "", self.zone, seed=name)
        )

    # -- slots

    def after(self, moment: float) -> Slot | None:
        """The first slot later than a moment, between start and end."""
        if self.rule.start is not None:
            moment = max(moment, self.rule.start - _TICK)
        slot = self._slots.after(moment)
        if slot is not None and self.rule.end is not None and slot.at > self.rule.end:
            return None
        return slot

    def between(self, after: float, until: float) -> Iterator[Slot]:
        """Slots later than the one moment and not later than the other."""
        while (slot := self.after(after)) is not None and slot.at <= until:
            yield slot
            after = slot.at

    def newest(self, after: float, until: float, count: int) -> list[Slot]:
        """The last `count` slots between two moments: looked for from the end, since there may be
        millions."""
        width = _WINDOW
        while True:
            begin = max(after, until - width)
            found = deque(self.between(begin, until), maxlen=count)
            if len(found) == count or begin <= after:
                return list(found)
            width *= _WIDER

    def due(self, slot: Slot) -> float:
        """When a slot is to be submitted: at its time, or a jitter later that is its own."""
        if not self.rule.jitter:
            return slot.at
        name = f"{self._name}@{round(slot.at * 1000)}".encode()
        share = int.from_bytes(blake2b(name, digest_size=8).digest()) / 2**64
        return round(slot.at + share * self.rule.jitter, 3)

    # -- what to do

    def turn(self, last: float, now: float) -> Turn:
        """What to do where `last` is the last slot that is done with."""
        first = self.after(last)
        if first is None or self.due(first) > now:
            return Turn([], first)  # nothing overtakes it
        recent, following = self._recent(last, now)
        late = list(dropwhile(lambda slot: self._is_missed(slot, now), recent))
        due = list(takewhile(lambda slot: self.due(slot) <= now, late))
        coming = [*late[len(due) :], following]
        missed = self._caught_up(last, late[0].at - _TICK if late else now, superseded=bool(late))
        return Turn([*missed, *due], coming[0])

    def _recent(self, last: float, now: float) -> tuple[list[Slot], Slot | None]:
        """The slots that may still be late, and the one after them: counted from slot to slot, since
        `now` may be a hair's breadth before one."""
        recent = []
        slot = self.after(max(last, now - LATE_MOST - self.rule.jitter - _TICK))
        while slot is not None and slot.at <= now:
            recent.append(slot)
            slot = self.after(slot.at)
        return recent, slot

    def _is_missed(self, slot: Slot, now: float) -> bool:
        following = self.after(slot.at)
        patience = LATE_MOST if following is None else following.at - slot.at
        return now - self.due(slot) > min(LATE_MOST, max(LATE_LEAST, patience))

    def _caught_up(self, last: float, until: float, *, superseded: bool) -> list[Slot]:
        """Of the slots that were missed: those to be submitted after all."""
        match self.rule.catch_up:
            case "all":
                return self.newest(last, until, self.rule.max_catch_up)
            case "latest" if not superseded:
                return self.newest(last, until, 1)
            case _:
                return []
