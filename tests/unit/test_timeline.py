"""What is late, what was missed and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.cron import Slot
from taskrunner.timeline import CatchUp, Rule, Timeline

DAY = 86_400.0
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
NOON = MIDNIGHT + DAY / 2


def timeline(**rule: object) -> Timeline:
    return Timeline("s", Rule(**rule))  # type: ignore[arg-type]


def submitted(line: Timeline, last: float, now: float) -> list[float]:
    return [slot.at - MIDNIGHT for slot in line.turn(last, now).submit]


def next_at(line: Timeline, last: float, now: float) -> float | None:
    slot = line.turn(last, now).next
    return None if slot is None else slot.at - MIDNIGHT


# -- intervals


def test_an_interval_counts_from_its_start() -> None:
    line = timeline(every=60.0, start=MIDNIGHT + 7.5)
    assert line.after(0.0) == Slot(MIDNIGHT + 7.5)
    assert line.after(MIDNIGHT + 7.5) == Slot(MIDNIGHT + 67.5)
    assert line.after(MIDNIGHT + 67.4999) == Slot(MIDNIGHT + 67.5)


def test_without_one_it_counts_from_1970() -> None:
    assert timeline(every=6 * 3600.0).after(MIDNIGHT + 1) == Slot(MIDNIGHT + 6 * 3600)


@given(st.integers(10, 10**8), st.integers(0, 10**13))
def test_nothing_adds_up_and_no_slot_is_its_own_successor(every_ms: int, moment_ms: int) -> None:
    line, at = timeline(every=every_ms / 1000), moment_ms / 1000
    for _ in range(20):
        slot = line.after(at)
        assert slot is not None
        assert round(slot.at * 1000) % every_ms == 0
        assert 0 < round((slot.at - at) * 1000) <= every_ms
        at = slot.at


def test_nothing_before_the_start_and_nothing_after_the_end() -> None:
    line = timeline(cron="0 * * * *", start=MIDNIGHT + 3600, end=MIDNIGHT + 3 * 3600)
    hours = [slot.at - MIDNIGHT for slot in line.between(0.0, MIDNIGHT + DAY)]
    assert hours == [3600, 7200, 10800]
    assert line.after(MIDNIGHT + 3 * 3600) is None


# -- looking back


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 400), st.sampled_from([7.0, 60.0, 3600.0]))
def test_the_newest_slots_are_the_last_of_all(count: int, slots: int, every: float) -> None:
    line = timeline(every=every, start=MIDNIGHT)
    until = MIDNIGHT + slots * every + every / 2
    everything = list(line.between(MIDNIGHT - 1, until))
    assert line.newest(MIDNIGHT - 1, until, count) == everything[-count:]


def test_a_year_of_seconds_is_not_walked_through() -> None:
    found = timeline(cron="* * * * * *").newest(MIDNIGHT - 365 * DAY, MIDNIGHT, 3)
    assert [slot.at - MIDNIGHT for slot in found] == [-2, -1, 0]


def test_rare_slots_are_found_too() -> None:
    line = timeline(cron="0 0 29 2 *")
    found = line.newest(0.0, datetime(2105, 1, 1, tzinfo=UTC).timestamp(), 2)
    years = [datetime.fromtimestamp(slot.at, UTC).year for slot in found]
    assert years == [2096, 2104]


def test_a_hair_before_a_slot_it_is_still_to_come() -> None:
    line = timeline(every=1.0, catch_up="all")
    for hair in (1e-3, 1e-4, 1e-5, 1e-6, 3e-7):
        turn = line.turn(MIDNIGHT, MIDNIGHT + 10 - hair)
        assert [slot.at - MIDNIGHT for slot in turn.submit] == list(range(1, 10))
        assert turn.next == Slot(MIDNIGHT + 10)


# -- late and missed

HOURLY = {"every": 3600.0}


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_a_slot_that_is_due_is_submitted_and_the_next_is_named(catch_up: CatchUp) -> None:
    line = timeline(cron="0 * * * *", catch_up=catch_up)
    assert submitted(line, MIDNIGHT, MIDNIGHT + 3599) == []
    assert next_at(line, MIDNIGHT, MIDNIGHT + 3599) == 3600
    assert submitted(line, MIDNIGHT, MIDNIGHT + 3600) == [3600]
    assert next_at(line, MIDNIGHT, MIDNIGHT + 3600) == 7200
    assert submitted(line, MIDNIGHT + 3600, MIDNIGHT + 3600) == []


@pytest.mark.parametrize(("late", "expected"), [(60, [3600]), (61, [])])
def test_one_that_is_late_is_submitted_for_a_minute(late: int, expected: list[float]) -> None:
    line = timeline(catch_up="none", **HOURLY)
    assert submitted(line, MIDNIGHT, MIDNIGHT + 3600 + late) == expected


def test_of_what_comes_every_second_ten_seconds_are_late() -> None:
    line = timeline(every=1.0, catch_up="none")
    assert submitted(line, MIDNIGHT, MIDNIGHT + 30) == list(range(20, 31))


def test_every_half_minute_is_late_for_half_a_minute() -> None:
    line = timeline(every=30.0, catch_up="none")
    assert submitted(line, MIDNIGHT, MIDNIGHT + 95) == [90]
    assert submitted(line, MIDNIGHT, MIDNIGHT + 90) == [60, 90]


def test_the_latest_of_those_that_were_missed() -> None:
    line = timeline(catch_up="latest", **HOURLY)
    assert submitted(line, MIDNIGHT, NOON + 1800) == [12 * 3600]
    assert next_at(line, MIDNIGHT, NOON + 1800) == 13 * 3600


def test_none_is_missed_where_the_latest_is_only_late() -> None:
    line = timeline(catch_up="latest", **HOURLY)
    assert submitted(line, MIDNIGHT, NOON + 5) == [12 * 3600]


def test_all_of_them_the_oldest_first() -> None:
    line = timeline(catch_up="all", **HOURLY)
    assert submitted(line, MIDNIGHT, NOON + 5) == [3600 * n for n in range(1, 13)]


def test_all_is_bounded_and_the_newest_count() -> None:
    line = timeline(catch_up="all", max_catch_up=3, **HOURLY)
    assert submitted(line, MIDNIGHT, NOON + 1800) == [10 * 3600, 11 * 3600, 12 * 3600]
    # What is only late comes on top.
    assert submitted(line, MIDNIGHT, NOON + 5) == [9 * 3600, 10 * 3600, 11 * 3600, 12 * 3600]


@settings(deadline=None)
@given(
    st.sampled_from([1.0, 20.0, 60.0, 3600.0]),
    st.lists(st.floats(0.01, 5000.0), min_size=1, max_size=30),
    st.floats(0.0, 100.0),
)
def test_who_catches_up_on_all_never_misses_nor_doubles(
    every: float, naps: list[float], jitter: float
) -> None:
    line = timeline(every=every, catch_up="all", max_catch_up=1000, jitter=jitter)
    last, now = MIDNIGHT, MIDNIGHT
    found: list[float] = []
    for nap in naps:
        now += min(nap, 900 * every)
        turn = line.turn(last, now)
        found += [slot.at for slot in turn.submit]
        last = found[-1] if found else last
        assert turn.next is not None
        assert turn.next.at > last
        assert line.due(turn.next) > now
    assert found == [slot.at for slot in line.between(MIDNIGHT, last)]


def test_a_clock_that_steps_back_brings_no_slot_twice() -> None:
    line = timeline(catch_up="all", **HOURLY)
    assert submitted(line, NOON, NOON - 7200) == []
    assert next_at(line, NOON, NOON - 7200) == 13 * 3600


def test_a_clock_that_steps_forward_means_that_slots_were_missed() -> None:
    line = timeline(catch_up="latest", **HOURLY)
    assert submitted(line, MIDNIGHT, MIDNIGHT + 100 * DAY + 1800) == [100 * DAY]


# -- jitter


def test_a_jitter_is_stable_and_within_its_bounds() -> None:
    line, again = timeline(every=60.0, jitter=30.0), timeline(every=60.0, jitter=30.0)
    slots = list(line.between(MIDNIGHT, MIDNIGHT + 6000))
    offsets = [line.due(slot) - slot.at for slot in slots]
    assert offsets == [again.due(slot) - slot.at for slot in slots]
    assert 0 <= min(offsets) < 3
    assert 27 < max(offsets) <= 30
    assert len(set(offsets)) > 90


def test_schedules_of_the_same_time_are_spread() -> None:
    slot = Slot(MIDNIGHT)
    lines = [Timeline(f"s{n}", Rule(every=60.0, jitter=10.0)) for n in range(50)]
    assert len({line.due(slot) for line in lines}) > 40


def test_no_slot_overtakes_the_one_before_it() -> None:
    line = timeline(every=1.0, jitter=20.0)
    last, now, found = MIDNIGHT, MIDNIGHT, list[float]()
    while now < MIDNIGHT + 120:
        now += 0.25
        turn = line.turn(last, now)
        found += [slot.at for slot in turn.submit]
        last = found[-1] if found else last
    assert found == sorted(set(found))
    assert found[-1] - found[0] == len(found) - 1
