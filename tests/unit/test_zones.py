from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from taskrunner import OptionError
from taskrunner.zones import in_zone, local_time, moments_of, wall_seconds, zone_of

NEW_YORK = ZoneInfo("America/New_York")
APIA = ZoneInfo("Pacific/Apia")


def test_most_local_times_are_one_moment() -> None:
    found = moments_of(datetime(2026, 7, 1, 12), NEW_YORK)
    assert found.first == datetime(2026, 7, 1, 12, tzinfo=NEW_YORK).timestamp()
    assert (found.second, found.missing) == (None, False)
    assert local_time(found.first, NEW_YORK) == datetime(2026, 7, 1, 12)


@pytest.mark.parametrize(("hour", "minute"), [(2, 0), (2, 1), (2, 30), (2, 59)])
def test_one_that_does_not_exist_is_the_end_of_the_gap(hour: int, minute: int) -> None:
    found = moments_of(datetime(2026, 3, 8, hour, minute), NEW_YORK)
    assert found.missing
    assert in_zone(found.first, NEW_YORK).isoformat() == "2026-03-08T03:00:00-04:00"


@pytest.mark.parametrize(
    ("hour", "minute", "twice"), [(0, 59, 0), (1, 0, 1), (1, 59, 1), (2, 0, 0)]
)
def test_one_that_comes_twice_is_two_moments(hour: int, minute: int, twice: bool) -> None:
    found = moments_of(datetime(2026, 11, 1, hour, minute), NEW_YORK)
    assert (found.second is not None) == twice
    assert found.second is None or found.second - found.first == 3600


def test_a_day_can_be_missing() -> None:
    found = moments_of(datetime(2011, 12, 30, 12), APIA)
    assert found.missing
    assert in_zone(found.first, APIA).isoformat() == "2011-12-31T00:00:00+14:00"


def test_half_an_hour_can_come_twice() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")
    assert moments_of(datetime(2026, 4, 5, 1, 29), lord_howe).second is None
    found = moments_of(datetime(2026, 4, 5, 1, 30), lord_howe)
    assert found.second is not None
    assert found.second - found.first == 1800


def test_the_number_of_a_local_time_is_the_same_both_times() -> None:
    local = datetime(2026, 11, 1, 1, 30)
    assert wall_seconds(local) == wall_seconds(local.replace(fold=1))


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", ZoneInfo("Asia/Tokyo")])
def test_zones_go_by_their_names(name: str | ZoneInfo) -> None:
    assert zone_of(name).key == str(name)


@pytest.mark.parametrize("name", ["Europe/Berln", "", None, 5, "../etc/passwd", "Europe", "a\0b"])
def test_an_unknown_zone_is_named_with_what_is_accepted(name: object) -> None:
    with pytest.raises(OptionError, match=r"^timezone=.*IANA name of a time zone"):
        zone_of(name)


def test_the_nearest_zone_is_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'Europe/Berlin'"):
        zone_of("Europe/Berln")
