"""Rates, keys and scopes: what is accepted, and that no window ever has more starts than it may."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner import App
from taskrunner.errors import OptionError
from taskrunner.limits import (
    Limit,
    OwnLimits,
    Rate,
    Scope,
    ScopeKind,
    available,
    grant,
    key,
    opens_at,
    opens_in,
)

rates = st.builds(
    Rate,
    st.integers(1, 1000),
    st.sampled_from([1.0, 30.0, 60.0, 3600.0]),
    st.integers(1, 50),
)
steps = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60)


@settings(max_examples=40, deadline=None)
@given(rates, steps)
def test_no_window_has_more_starts_than_the_burst_and_the_rate_permit(
    rate: Rate, waits: list[float]
) -> None:
    now, tat, starts = 1e9, 0.0, []
    for wait in waits:
        now += wait * rate.interval / 10
        for _ in range(3):
            found = grant(rate, tat, now)
            if found.allowed:
                tat = found.tat
                starts.append(now)
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            window = starts[last] - starts[first]
            assert last - first + 1 <= rate.burst + window / rate.interval + 1e-2


@settings(max_examples=60, deadline=None)
@given(rates, st.integers(0, 200))
def test_who_asks_when_it_is_told_gets_a_start(rate: Rate, taken: int) -> None:
    now, tat = 1e9, 0.0
    for _ in range(taken):
        found = grant(rate, tat, now)
        now += found.opens_in
        tat = found.tat if found.allowed else tat
    wait = opens_in(rate, max(0.0, tat - now))
    assert grant(rate, tat, now + wait + 1e-5).allowed
    assert available(rate, tat, opens_at(rate, tat, now) + 1e-5) >= rate.together


@settings(max_examples=60, deadline=None)
@given(rates, st.integers(0, 100))
def test_what_is_available_can_be_had_and_no_more(rate: Rate, taken: int) -> None:
    now, tat = 1e9, 0.0
    for _ in range(min(taken, rate.burst)):
        tat = grant(rate, tat, now).tat
    left = available(rate, tat, now)
    assert left == rate.burst - min(taken, rate.burst)
    for _ in range(left):
        found = grant(rate, tat, now)
        assert found.allowed
        tat = found.tat
    assert not grant(rate, tat, now).allowed


def test_a_clock_that_went_back_costs_one_burst_and_no_more() -> None:
    rate = Rate.parse("1/s burst 5")
    tat = grant(rate, 0.0, 1e9).tat
    assert opens_in(rate, tat - 5e8) <= 1.0


@pytest.mark.parametrize(
    ("text", "count", "per", "burst"),
    [
        ("100/s", 100, 1.0, 10),
        ("5/m", 5, 60.0, 1),
        ("1000/h", 1000, 3600.0, 1),
        (" 10 / 30s ", 10, 30.0, 1),
        ("1/d", 1, 86_400.0, 1),
        ("100/s burst 1", 100, 1.0, 1),
    ],
)
def test_rates_are_read_and_shown(text: str, count: int, per: float, burst: int) -> None:
    rate = Rate.parse(text)
    assert (rate.count, rate.per, rate.burst) == (count, per, burst)
    assert Rate.parse(str(rate)) == rate


@given(rates)
def test_what_a_rate_shows_is_read_as_the_same(rate: Rate) -> None:
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "100",
        "0/s",
        "-1/s",
        "1/0s",
        "1/x",
        "1.5/s",
        "1/s burst 0",
        "1/s burst",
        5,
        None,
        True,
        "9999999/s",
        "1/s burst 99999999",
    ],
)
def test_what_is_no_rate_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(OptionError, match=r"^rate_limit="):
        Rate.parse(bad)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "3", True, 10**7])
def test_what_is_no_number_of_runs_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(OptionError, match=r"^max_running="):
        Limit.parse(max_running=bad)
    with pytest.raises(OptionError, match=r"^max_running="):
        App("memory://").task(max_running=bad)


@pytest.mark.parametrize(
    "bad", ["", "k" * 201, "a\nb", None, True, b"k", float("nan"), [1], object()]
)
def test_what_is_no_key_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(OptionError, match=r"^rate_key="):
        key(bad, "rate_key")


def test_keys_are_text_or_numbers() -> None:
    assert [key(found, "k") for found in ("a b", 7, 2.5)] == ["a b", "7", "2.5"]


def test_what_a_job_says_travels_as_text() -> None:
    own = OwnLimits(Rate.parse("5/m burst 2"), "a=b", 3, "k")
    assert OwnLimits.read(own.texts()) == own
    assert OwnLimits().texts() is None
    assert OwnLimits.read(None) is None


def test_a_scope_is_read_from_what_it_shows() -> None:
    for scope in (Scope(ScopeKind.QUEUE), Scope(ScopeKind.TASK, "a:b"), Scope(ScopeKind.KEY, "k")):
        assert Scope.read(str(scope)) == scope


def test_a_limit_must_say_something() -> None:
    with pytest.raises(OptionError, match="a rate, a max_running or both"):
        Limit.parse()
