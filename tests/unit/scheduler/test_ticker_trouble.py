"""Schedules after a downtime, when clocks step and change, and when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from taskrunner.brokers.base import JobKey, Ticked, TickKind
from taskrunner.events import ScheduleHeldUp, ScheduleUnreadable
from taskrunner.scheduler.ticker import ASK_THE_TIME_S, LOOK_S
from taskrunner.schedulestore import KIND
from taskrunner.timeline import Timeline, Turn
from tests.unit.by_hand import fixed, repeating
from tests.unit.scheduler.fleet import Fleet, Node, every
from tests.unit.test_cron import CHANGES, DAYS, FIXED, REPEATING

# -- overlap and downtime


def test_what_must_not_overlap_waits_for_the_last_job() -> None:
    fleet = Fleet()
    fleet.add("s", every=1, overlap="skip")
    fleet.run(5.0)
    assert len(fleet.fired("s")) == 1
    assert fleet.broker.kinds.count(TickKind.OVERLAP) >= 4
    (record,) = fleet.broker.slots("q", ["s"], firings=50)
    fleet.broker.cancel([JobKey("q", record.firings[-1].job_id)])
    fleet.run(1.1)
    assert len(fleet.fired("s")) == 2


@pytest.mark.parametrize(("catch_up", "expected"), [("none", 0), ("latest", 1), ("all", 5)])
def test_after_a_downtime(catch_up: str, expected: int) -> None:
    fleet = Fleet()
    fleet.add("s", every=600, catch_up=catch_up, max_catch_up=5)
    fleet.run(1.0)
    fleet.clock.advance(7000.0 - fleet.broker.now() % 600)
    fleet.nodes[:] = [Node("new", fleet.broker, ["q"])]
    fleet.run(5.0)
    assert len(fleet.fired("s")) == expected
    assert fleet.fired("s") == sorted(fleet.fired("s"))


def test_a_backlog_does_not_keep_other_schedules_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    fleet.add("behind", every=1, catch_up="all", max_catch_up=1000)
    fleet.run(1.0)
    fleet.clock.advance(900.0)
    fleet.add("other", every=1)
    turns = 0
    turn = Timeline.turn

    def counted(self: Timeline, last: float, now: float) -> Turn:
        nonlocal turns
        turns += 1
        return turn(self, last, now)

    monkeypatch.setattr(Timeline, "turn", counted)
    fleet.run(10.0)
    assert turns < 100, "what is to be caught up on is worked out once"
    assert len(fleet.fired("behind")) > 900
    assert len(fleet.fired("other")) >= 9


# -- clocks


def test_the_stores_clock_decides() -> None:
    fleet = Fleet()
    fleet.broker.set_skew(12_345.6)
    began = fleet.broker.now()
    fleet.add("s", every=5)
    fleet.run(30.0)
    assert every(fleet, "s", 5.0, began, fleet.broker.now())
    assert max(fleet.broker.late) < 0.002


def test_a_step_of_the_stores_clock_brings_no_slot_twice() -> None:
    fleet = Fleet()
    fleet.add("s", every=5, catch_up="all", max_catch_up=1000)
    fleet.run(20.0)
    fleet.broker.set_skew(-60.0)
    fleet.run(30.0)
    before = list(fleet.fired("s"))
    fleet.broker.set_skew(100.0)
    fleet.run(30.0)
    found = fleet.fired("s")
    assert found == sorted(set(found))
    assert found[: len(before)] == before
    steps = {later - sooner for sooner, later in pairwise(found)}
    assert steps == {5.0}


def test_a_step_forward_brings_what_was_far_away() -> None:
    fleet = Fleet()
    fleet.add("s", every=86_400)
    fleet.run(6.0)
    left = 86_400 - fleet.broker.now() % 86_400
    fleet.broker.set_skew(left - 1.0)
    fleet.run(ASK_THE_TIME_S + LOOK_S + 2.0)
    assert len(fleet.fired("s")) == 1


def test_a_step_of_this_machines_clock_means_nothing() -> None:
    fleet = Fleet()
    began = fleet.broker.now()
    fleet.add("s", every=5)
    fleet.run(11.0)
    fleet.clock.step(86_400.0)
    fleet.broker.set_skew(-86_400.0)
    fleet.run(20.0)
    assert every(fleet, "s", 5.0, began, fleet.broker.now())


def test_one_that_asks_too_early_asks_again() -> None:
    fleet = Fleet()
    fleet.add("s", every=5)
    fleet.run(1.0)
    ticker = fleet.nodes[0].scheduler._ticker
    ticker._ahead += 0.01  # it believes that it is later than it is
    ticker.next_look += 100.0
    began = fleet.broker.now()
    for line in ticker._lines.values():
        ticker._expect(line)
    fleet.run(6.0)
    assert TickKind.EARLY in fleet.broker.kinds
    assert every(fleet, "s", 5.0, began, fleet.broker.now())


# -- what goes wrong


def test_one_that_cannot_be_read_is_reported_once_and_the_others_run() -> None:
    fleet = Fleet()
    began = fleet.broker.now()
    fleet.add("good", every=1)
    fleet.add("zone", cron="@hourly", timezone="Europe/Berlin")
    fleet.broker.put_record(KIND, "bad", b"\xc1")
    fleet.broker.put_record(
        KIND, "newer", fleet.stored("good").pack().replace(b"\xa1v\x01", b"\xa1v\x09")
    )
    lost = fleet.stored("zone")
    lost = replace(lost, rule=replace(lost.rule, timezone="Europe/Atlantis"))
    fleet.broker.put_record(KIND, "zone", lost.pack())
    fleet.run(60.0)
    assert every(fleet, "good", 1.0, began, fleet.broker.now())
    told = {event.schedule: event.why for event in fleet.nodes[0].heard(ScheduleUnreadable)}
    assert set(told) == {"bad", "newer", "zone"}
    assert len(fleet.nodes[0].heard(ScheduleUnreadable)) == 3
    assert "version 9" in told["newer"]
    assert "Europe/Atlantis" in told["zone"]
    fleet.app.schedules.remove("bad")
    fleet.app.schedules.add("bad", "t", every=1, queue="q")
    fleet.run(10.0)
    assert len(fleet.fired("bad")) >= 4


def test_a_damaged_queue_stops_no_other() -> None:
    fleet = Fleet()
    began = fleet.broker.now()
    fleet.add("good", every=1)
    fleet.add("ill", every=1, queue="ill")
    fleet.run(3.0)
    fleet.add("new", every=1, queue="ill")
    fleet.broker.bad.add("ill")
    fleet.run(6.0)
    assert every(fleet, "good", 1.0, began, fleet.broker.now())
    assert fleet.nodes[0].mishaps.counts["scheduler"] > 0
    count = len(fleet.fired("ill"))
    fleet.broker.bad.clear()
    fleet.run(LOOK_S + 1.5)
    assert len(fleet.fired("ill")) > count
    assert len(fleet.fired("new")) > 1


def test_an_outage_loses_no_slot() -> None:
    fleet = Fleet(2)
    began = fleet.broker.now()
    fleet.add("s", every=1, catch_up="all", max_catch_up=1000)
    fleet.run(10.0)
    fleet.broker.away = True
    for _ in range(20):
        fleet.clock.advance(1.0)
        for node in fleet.nodes:
            node.pass_()
    assert all(node.failures for node in fleet.nodes)
    fleet.broker.away = False
    fleet.run(10.0)
    assert every(fleet, "s", 1.0, began, fleet.broker.now())


def test_a_full_store_holds_up_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    began = fleet.broker.now()
    fleet.add("s", every=1, catch_up="all")
    fleet.run(3.0)
    with monkeypatch.context() as patch:
        full: Callable[..., Any] = lambda _, ticks: [Ticked(TickKind.FULL)] * len(ticks)  # noqa: E731
        patch.setattr(type(fleet.broker), "tick", full)
        fleet.run(5.0)
    assert len(fleet.nodes[0].heard(ScheduleHeldUp)) >= 4
    fleet.run(5.0)
    assert every(fleet, "s", 1.0, began, fleet.broker.now())


def test_what_was_missed_while_the_store_was_full_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = Fleet()
    fleet.add("s", every=600, catch_up="none")
    fleet.run(600.0 - fleet.broker.now() % 600 - 1.0)
    with monkeypatch.context() as patch:
        full: Callable[..., Any] = lambda _, ticks: [Ticked(TickKind.FULL)] * len(ticks)  # noqa: E731
        patch.setattr(type(fleet.broker), "tick", full)
        fleet.run(100.0)
    fleet.run(100.0)
    assert fleet.fired("s") == []


@pytest.mark.parametrize("newer", ["Etc/GMT-2", "Etc/GMT"])
def test_nodes_with_other_data_about_a_zone_submit_each_local_time_once(newer: str) -> None:
    """One node knows that the zone has moved by an hour, the other does not yet."""
    fleet = Fleet(2)
    fleet.add("s", cron="0 3,9,15 * * *", timezone="Etc/GMT-1", catch_up="all")
    fleet.run(6.0)
    other = Timeline("s", replace(fleet.stored("s").rule, timezone=newer))
    (line,) = fleet.nodes[1].scheduler._ticker._lines.values()
    line.timeline = other
    line._planned.clear()
    fleet.nodes[1].scheduler._ticker._expect(line)
    fleet.run(3 * 86_400.0)
    hours = [datetime.fromtimestamp(at + 3600, UTC).hour for at in fleet.fired("s")]
    assert len(hours) in (8, 9, 10)
    # Whoever is first decides when, an hour sooner or later, but nobody does it again.
    meant = [min((3, 9, 15), key=lambda wanted: abs(wanted - hour)) for hour in hours]
    assert all(sooner != later for sooner, later in pairwise(meant))


# -- across changes of the clocks: what really runs


ZONES = ("America/", "Europe/Berlin", "Australia/Lord_Howe", "UTC")


@pytest.mark.parametrize(
    ("name", "first"), [change for change in CHANGES if change[0].startswith(ZONES)]
)
def test_what_ran_is_what_an_independent_computation_says(name: str, first: date) -> None:
    zone = ZoneInfo(name)
    begin = datetime.combine(first, time(0), zone).timestamp()
    fleet = Fleet(2, wall=begin - 600)
    for n, expression in enumerate([*FIXED, *REPEATING]):
        fleet.add(f"s{n}", cron=expression, timezone=name, catch_up="all", max_catch_up=1000)
    days = DAYS - 1
    end = begin + days * 86_400
    while fleet.broker.now() < end + 7200:
        fleet.clock.advance(1711.0)  # so that some are in time, some late, and some missed
        for node in fleet.nodes:
            node.join()
            node.pass_()
            while node.wakes_at() <= fleet.clock.monotonic():
                node.pass_()
    for n, expression in enumerate([*FIXED, *REPEATING]):
        if expression in FIXED:
            by_hand = fixed(FIXED[expression], first, days, zone)
        else:
            by_hand = repeating(REPEATING[expression], first, days, zone)
        ran = [at for at in fleet.fired(f"s{n}") if begin <= at <= by_hand[-1]]
        assert ran == by_hand, (expression, name)
