"""Cron expressions: when the next slot is, on the days when clocks change too.

    ┌ minute  ┌ hour  ┌ day of the month  ┌ month  ┌ day of the week   and, if given, ┌ second  ┌ year
    30        2       *                   *        mon-fri                            0         2026

croniter knows which local times fit the pattern, and is asked about local times only: what they
mean in a zone is decided here. An expression is of one of two kinds:

- It *repeats* if its second, minute or hour has a `*`, a step (`*/15`, `0-30/5`) or everything: it
  falls due at each real moment whose local time fits. In a gap there is none; where an hour comes
  twice, it falls due in both.
- Else it names *fixed* local times: one that does not exist falls due once, at the end of the gap;
  one that comes twice falls due once, the first time.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from math import floor
from typing import Any, Final, NamedTuple

from taskrunner.errors import OptionError
from taskrunner.zones import change_between, local_time, moments_of, wall_seconds

NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ACCEPTS: Final = (
    "five fields (minute hour day month weekday), a sixth for the second, a seventh for the year, "
    f"as in '30 2 * * mon-fri'; or one of {', '.join(NICKNAMES)}"
)
# Drawn anew by each process that reads it: no two nodes would agree.
_RANDOM: Final = re.compile(r"r(\(\d+-\d+\))?(/\d+)?", re.ASCII)
_SECOND: Final = timedelta(seconds=1)


class Effect(StrEnum):
    """What a change of the clocks has to do with a slot."""

    NONE = ""
    MISSING = "missing"
    """its local time does not exist on that day: it is at the end of the gap"""
    FIRST = "first"
    """its local time comes twice on that day, and this is the first time"""
    SECOND = "second"


class Slot(NamedTuple):
    """One time at which a schedule falls due."""

    at: float
    """seconds since the epoch"""
    wall: float | None = None
    """of a fixed local time: that time as a number. The same slot keeps it when the rules of its
    zone change, and a later slot has a higher one"""
    effect: Effect = Effect.NONE


class Cron:
    """An expression in a zone. Used by one thread. Raises OptionError for one that is malformed or
    names a date that never comes.

    `seed` decides what fields with an H, as in `H 3 * * *`, come to: the same for the same seed.
    """

    def __init__(self, expression: str, zone: tzinfo, *, seed: str = "") -> None:
        self._zone = zone
        self._pattern, self.repeats = _parsed(expression, seed)

    def after(self, moment: float) -> Slot | None:
        """The first slot later than a moment; None where there is none within 50 years."""
        # Slots are whole seconds.
        whole = floor(moment)
        return self._repeated(whole) if self.repeats else self._fixed(whole)

    def _fixed(self, moment: float) -> Slot | None:
        # What a local time stands for never comes before what an earlier one does, so that the
        # first that is later than `moment` is the answer.
        local: datetime | None = local_time(moment, self._zone)
        while local is not None and (local := self._next(local)) is not None:
            found = moments_of(local, self._zone)
            if found.first > moment:
                effect = Effect.MISSING if found.missing else Effect.NONE
                if found.second is not None:
                    effect = Effect.FIRST
                return Slot(found.first, wall_seconds(local), effect)
        return None

    def _repeated(self, moment: float) -> Slot | None:
        here = local_time(moment, self._zone)
        slots = [self._when_it_comes_again(here), self._ahead(here, moment)]
        return min((slot for slot in slots if slot is not None), default=None)

    def _ahead(self, here: datetime, moment: float) -> Slot | None:
        """At a local time later than this one."""
        local = self._next(here)
        while local is not None:
            found = moments_of(local, self._zone)
            if found.missing:
                local = self._from(local_time(found.first, self._zone))
                continue
            if found.second is None:
                return Slot(found.first)
            if found.first > moment:
                return Slot(found.first, effect=Effect.FIRST)
            return Slot(found.second, effect=Effect.SECOND)
        return None

    def _when_it_comes_again(self, here: datetime) -> Slot | None:
        """At a local time that is not later than this one, where clocks are about to go back
        beyond it."""
        now = moments_of(here, self._zone)
        if here.fold or now.second is None:
            return None
        change = change_between(now.first, now.second, self._zone)
        local = self._from(local_time(change, self._zone))
        again = None if local is None else moments_of(local, self._zone).second
        return None if again is None else Slot(again, effect=Effect.SECOND)

    def _from(self, local: datetime) -> datetime | None:
        """The first local time that fits, this one included."""
        return self._next(local - _SECOND)

    def _next(self, local: datetime) -> datetime | None:
        """The first later local time that fits."""
        try:
            # Whatever has no zone croniter takes as it is.
            found: datetime = self._pattern.get_next(datetime, start_time=local.replace(fold=0))
        except ValueError:  # CroniterBadDateError: there is none
            return None
        return found


def _parsed(expression: object, seed: str) -> tuple[Any, bool]:
    """What croniter makes of it, and whether it repeats."""
    if not isinstance(expression, str):
        raise OptionError(f"cron={expression!r}: expected text: {_ACCEPTS}")
    # Only where there is an expression: it takes longer to import than all of taskrunner.
    from croniter import croniter

    text = NICKNAMES.get(expression.strip().lower(), expression)
    fields = text.lower().split()
    try:
        if any(_RANDOM.fullmatch(field) for field in fields):
            raise ValueError("R is another number in every process; H is the same in all")
        hash_id = seed.encode()
        expanded, _ = croniter.expand(text, hash_id=hash_id, strict=True)
        pattern = croniter(text, datetime(2000, 1, 1), hash_id=hash_id)
        return pattern, _repeats(fields, expanded)
    except (ValueError, TypeError, LookupError) as error:
        why = str(error).strip().splitlines()[-1] if str(error) else type(error).__name__
        raise OptionError(f"cron={expression!r}: {why}; expected {_ACCEPTS}") from error


def _repeats(fields: list[str], expanded: list[list[Any]]) -> bool:
    """Whether it is of the kind that repeats: by what is written in second, minute and hour."""
    return any("/" in fields[at] or "*" in expanded[at] for at in (0, 1, 5) if at < len(fields))
