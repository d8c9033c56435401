"""Local times and the moments they stand for, on the days when clocks change too.

A local time is a datetime without a zone. Where clocks go forward some local times do not exist (a
gap), where they go back some come twice. Moments are seconds since the epoch.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from taskrunner.errors import OptionError
from taskrunner.naming import nearest

_EPOCH: Final = datetime(1970, 1, 1)


class Moments(NamedTuple):
    """When it is that local time."""

    first: float
    """of a local time that does not exist: the end of the gap"""
    second: float | None = None
    """where it comes twice"""
    missing: bool = False


def zone_of(value: object, option: str = "timezone") -> ZoneInfo:
    """The IANA zone of that name. Raises OptionError naming the nearest ones."""
    name = value.key if isinstance(value, ZoneInfo) else value
    accepts = "the IANA name of a time zone, for example 'Europe/Berlin' or 'UTC'"
    if not isinstance(name, str) or not name:
        raise OptionError(f"{option}={value!r}: expected {accepts}")
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        near = nearest(name, available_timezones())
        raise OptionError(f"{option}={name!r}: expected {accepts}; {near}") from None


def local_time(moment: float, zone: tzinfo) -> datetime:
    """What the clock on the wall shows; its `fold` is 1 where it shows that for the second time."""
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def wall_seconds(local: datetime) -> float:
    """A local time as a number that grows with it: seconds since 1970 by that clock."""
    return (local.replace(fold=0) - _EPOCH).total_seconds()


def moments_of(local: datetime, zone: tzinfo) -> Moments:
    """When a local time is, in a zone."""
    # By PEP 495 the offset before the change goes with fold 0, that after it with fold 1, both in
    # gaps and where times come twice; on all other days they are the same.
    before, after = (_offset(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    shown = wall_seconds(local)
    if before == after:
        return Moments(shown - before)
    if before > after:
        return Moments(shown - before, shown - after)
    return Moments(change_between(shown - after, shown - before, zone), missing=True)


def change_between(low: float, high: float, zone: tzinfo) -> float:
    """The moment in (low, high] from which on the offset is that of `high`. It is another at
    `low`."""
    at, end = math.floor(low), math.floor(high)
    new = _offset_at(end, zone)
    while end - at > 1:
        middle = (at + end) // 2
        if _offset_at(middle, zone) == new:
            end = middle
        else:
            at = middle
    return float(end)


def _offset_at(moment: float, zone: tzinfo) -> float:
    return _offset(datetime.fromtimestamp(moment, zone))


def _offset(moment: datetime) -> float:
    return (moment.utcoffset() or timedelta()).total_seconds()


def in_zone(moment: float, zone: tzinfo) -> datetime:
    """A moment as an aware datetime, exact to the microsecond."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)).astimezone(zone)
