"""When a pattern should fall due, by looking at every minute there is: slow, plain, and made from
zoneinfo alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


def minutes(first: date, days: int, zone: ZoneInfo) -> Iterator[datetime]:
    """Every real minute of some local days."""
    moment = datetime.combine(first, time(0), zone).astimezone(UTC)
    end = datetime.combine(first + timedelta(days=days), time(0), zone).astimezone(UTC)
    while moment < end:
        yield moment
        moment += MINUTE


def repeating(
    fits: Callable[[datetime], bool], first: date, days: int, zone: ZoneInfo
) -> list[float]:
    """Every real minute whose local time fits."""
    return [m.timestamp() for m in minutes(first, days, zone) if fits(m.astimezone(zone))]


def fixed(at: list[time], first: date, days: int, zone: ZoneInfo) -> list[float]:
    """Each of these local times once a day: the first time, or else when the gap has ended."""
    shown: dict[datetime, datetime] = {}
    for moment in minutes(first, days + 1, zone):
        shown.setdefault(moment.astimezone(zone).replace(tzinfo=None), moment)
    found = set()
    for day in (first + timedelta(days=n) for n in range(days)):
        for wanted in (datetime.combine(day, one) for one in at):
            # The earliest local time that is shown at all, from the wanted one on.
            found.add(shown[min(local for local in shown if local >= wanted)])
    return sorted(moment.timestamp() for moment in found)
