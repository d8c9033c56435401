"""Cron expressions, above all on the days when clocks change, beside an independent computation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner import OptionError
from taskrunner.cron import Cron, Effect
from taskrunner.zones import in_zone
from tests.unit.by_hand import fixed, repeating

DAYS = 4
CHANGES = [
    ("America/New_York", date(2026, 3, 7)),
    ("America/New_York", date(2026, 10, 31)),
    ("Europe/Berlin", date(2026, 3, 28)),
    ("Europe/Berlin", date(2026, 10, 24)),
    ("Australia/Lord_Howe", date(2026, 4, 4)),
    ("Australia/Lord_Howe", date(2026, 10, 3)),
    ("America/Sao_Paulo", date(2017, 10, 14)),
    ("America/Sao_Paulo", date(2018, 2, 16)),
    ("Africa/Casablanca", date(2026, 2, 14)),
    ("Asia/Kathmandu", date(2026, 3, 7)),
    ("UTC", date(2026, 3, 7)),
]
FIXED = {
    "30 2 * * *": [time(2, 30)],
    "30 1 * * *": [time(1, 30)],
    "0 0 * * *": [time(0, 0)],
    "15,45 1,2 * * *": [time(1, 15), time(1, 45), time(2, 15), time(2, 45)],
    "0 0-3 * * *": [time(hour) for hour in range(4)],
    "30 23 * * *": [time(23, 30)],
}
REPEATING: dict[str, Callable[[datetime], bool]] = {
    "*/30 * * * *": lambda at: at.minute in (0, 30),
    "0 * * * *": lambda at: at.minute == 0,
    "@hourly": lambda at: at.minute == 0,
    "0-59/20 * * * *": lambda at: at.minute in (0, 20, 40),
    "0 */2 * * *": lambda at: at.minute == 0 and at.hour % 2 == 0,
    "*/10 1-2 * * *": lambda at: at.minute % 10 == 0 and at.hour in (1, 2),
    "7 0-23 * * *": lambda at: at.minute == 7,
    "45 * * * sun": lambda at: at.minute == 45 and at.isoweekday() == 7,
}


@cache
def slots(expression: str, zone: ZoneInfo, first: date, days: int) -> list[float]:
    """All of some local days."""
    cron = Cron(expression, zone)
    moment = datetime.combine(first, time(0), zone).timestamp() - 1
    end = datetime.combine(first + timedelta(days=days), time(0), zone).timestamp()
    found = []
    while (slot := cron.after(moment)) is not None and slot.at < end:
        moment = slot.at
        found.append(moment)
    return found


@pytest.mark.parametrize(("name", "first"), CHANGES)
@pytest.mark.parametrize("expression", FIXED)
def test_fixed_times_fall_due_once_a_day(expression: str, name: str, first: date) -> None:
    zone = ZoneInfo(name)
    assert slots(expression, zone, first, DAYS) == fixed(FIXED[expression], first, DAYS, zone)


@pytest.mark.parametrize(("name", "first"), CHANGES)
@pytest.mark.parametrize("expression", REPEATING)
def test_what_repeats_falls_due_at_each_real_moment(
    expression: str, name: str, first: date
) -> None:
    zone = ZoneInfo(name)
    by_hand = repeating(REPEATING[expression], first, DAYS, zone)
    assert slots(expression, zone, first, DAYS) == by_hand


@settings(deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.sampled_from([*FIXED, *REPEATING]),
    st.integers(0, DAYS * 24 * 60 * 60),
)
def test_the_next_slot_does_not_depend_on_where_one_begins(
    change: tuple[str, date], expression: str, offset: int
) -> None:
    zone, first = ZoneInfo(change[0]), change[1]
    begin = datetime.combine(first, time(0), zone).timestamp() + offset
    known = slots(expression, zone, first, DAYS + 8)
    found = Cron(expression, zone).after(begin)
    assert found is not None
    assert found.at == next(at for at in known if at > begin)


def test_what_the_change_did_is_said() -> None:
    zone = ZoneInfo("America/New_York")

    def effects(expression: str, first: date) -> list[tuple[str, Effect]]:
        cron, found = Cron(expression, zone), []
        moment = datetime.combine(first, time(0), zone).timestamp()
        for _ in range(4):
            slot = cron.after(moment)
            assert slot is not None
            moment = slot.at
            found.append((in_zone(moment, zone).strftime("%d %H:%M %z"), slot.effect))
        return found

    assert effects("30 2 * * *", date(2026, 3, 8))[0] == ("08 03:00 -0400", Effect.MISSING)
    assert effects("30 1 * * *", date(2026, 11, 1))[:2] == [
        ("01 01:30 -0400", Effect.FIRST),
        ("02 01:30 -0500", Effect.NONE),
    ]
    assert effects("30 * * * *", date(2026, 11, 1)) == [
        ("01 00:30 -0400", Effect.NONE),
        ("01 01:30 -0400", Effect.FIRST),
        ("01 01:30 -0500", Effect.SECOND),
        ("01 02:30 -0500", Effect.NONE),
    ]


def test_a_fixed_slot_keeps_its_number_when_the_rules_of_its_zone_change() -> None:
    # Berlin's rules of today and of 1979, when there was no summer time, as stand-ins for two
    # versions of the data.
    summer = datetime(2026, 7, 1, 0, tzinfo=UTC).timestamp()
    new, old = (
        Cron("0 3 * * *", ZoneInfo("Europe/Berlin")),
        Cron("0 3 * * *", ZoneInfo("Etc/GMT-1")),
    )
    one, other = new.after(summer), old.after(summer)
    assert one is not None
    assert other is not None
    assert other.at - one.at == 3600
    assert one.wall == other.wall


# -- dates


def local_days(expression: str, start: date, count: int) -> list[str]:
    cron, found = Cron(expression, UTC), list[str]()
    moment = datetime.combine(start, time(0), UTC).timestamp() - 1
    while len(found) < count and (slot := cron.after(moment)) is not None:
        moment = slot.at
        found.append(in_zone(moment, UTC).date().isoformat())
    return found


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        ("0 0 29 2 *", date(2026, 1, 1), ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("0 0 29 2 *", date(2095, 1, 1), ["2096-02-29", "2104-02-29"]),
        ("0 0 31 * *", date(2026, 1, 1), ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("0 0 L * *", date(2027, 12, 1), ["2027-12-31", "2028-01-31", "2028-02-29"]),
        ("0 0 30 * *", date(2026, 1, 31), ["2026-03-30"]),
        ("0 0 * * mon#1", date(2026, 1, 1), ["2026-01-05", "2026-02-02"]),
        ("0 0 13 * fri", date(2026, 1, 1), ["2026-01-02", "2026-01-09", "2026-01-13"]),
        ("@yearly", date(2026, 1, 2), ["2027-01-01"]),
        ("@weekly", date(2026, 1, 1), ["2026-01-04"]),
        ("0 0 1 1 * 0 2028-2029", date(2026, 1, 1), ["2028-01-01", "2029-01-01"]),
        ("0 0 1 1 * 0 2020", date(2026, 1, 1), []),
    ],
)
def test_dates_that_not_every_month_or_year_has(
    expression: str, start: date, expected: list[str]
) -> None:
    found = local_days(expression, start, max(1, len(expected)))
    assert found == expected


def test_a_sixth_field_is_the_second() -> None:
    cron = Cron("* * * * * */20", UTC)
    found, moment = [], 59.5
    for _ in range(4):
        slot = cron.after(moment)
        assert slot is not None
        moment = slot.at
        found.append(moment)
    assert found == [60, 80, 100, 120]


def test_hashed_fields_are_the_same_for_the_same_seed() -> None:
    def first(seed: str) -> float:
        slot = Cron("H H * * *", UTC, seed=seed).after(0)
        assert slot is not None
        return slot.at

    assert first("one") == first("one")
    assert len({first(str(n)) for n in range(20)}) > 10


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * * *",
        "61 * * * *",
        "0 24 * * *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "*/0 * * * *",
        "a b c d e",
        "0 0 0 * *",
        "@reboot",
        "@never",
        "R * * * *",
        "R(0-5) H * * *",
        "0 3 * * * ; rm",
        "0 3 * * 8",
        None,
        5,
        ["0 3 * * *"],
    ],
)
def test_what_is_no_expression_is_refused_and_what_is_accepted_is_said(expression: object) -> None:
    with pytest.raises(OptionError, match=r"^cron=.*five fields \(minute hour day month weekday"):
        Cron(expression, UTC)  # type: ignore[arg-type]
