"""Records of the store with something else in them: schedules, their firings, answers to probes, keys.

Whoever reads one says that it cannot be read, or has something of the right types; and one that
makes no sense is in nobody's way.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.brokers.base import Tick
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.brokers.redis import replies
from taskrunner.cron import Slot
from taskrunner.errors import MessageError, OptionError
from taskrunner.events import ServiceFailed
from taskrunner.probes import ChildAnswer, ChildState, Fault, NodeAnswer, diagnose
from taskrunner.scheduleinfo import firing
from taskrunner.schedules import Schedule
from taskrunner.schedulestore import KIND
from taskrunner.timeline import Timeline
from tests.faults.test_fuzz_frames import plain
from tests.unit.scheduler.fleet import Fleet
from tests.unit.some_schedules import make_app

EXAMPLES = settings(max_examples=150, deadline=None)
NOW = 1_800_000_000.0
UTC_ZONE = ZoneInfo("UTC")
ODD: list[Any] = [
    *(None, True, -1, 77, 2**63, 1.5, -1.0, math.nan, math.inf, 1e300),
    *("", "x", "x" * 300, "\x00", b"\xff", [], {}, [1, 2], {"a": 1}),
]


def a_schedule() -> Schedule:
    app = make_app()
    app.schedules.add("s", "add", every=60.0, args=(1,), jitter=2.0, expires=30.0)
    found = app.schedules.found("s")
    return replace(found, revision=7, after=NOW, created_at=NOW, said="x")


GOOD = a_schedule()
PACKED = GOOD.pack()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something could stand instead."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        if isinstance(one, dict | list):
            yield from places(one, (*path, key))
        else:
            yield (*path, key)


def replaced(path: tuple[Any, ...], value: Any) -> bytes:
    found = copy.deepcopy(msgpack.unpackb(PACKED))
    if not path:
        return bytes(msgpack.packb(value))
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return bytes(msgpack.packb(found))


PLACES = list(places(msgpack.unpackb(PACKED)))


def followed(packed: bytes) -> bool:
    """Read a schedule and do with it what nodes and users do; False where it says that it cannot
    be read."""
    try:
        schedule = Schedule.unpack("s", packed)
        timeline = Timeline("s", schedule.rule)
    except (MessageError, OptionError):
        return False
    turn = timeline.turn(NOW - 3600.0, NOW)
    assert len(turn.submit) <= max(1, schedule.rule.max_catch_up)
    job = schedule.job(Slot(NOW))
    tick = Tick("s", job, NOW, timeline.due(Slot(NOW)), schedule.revision, NOW)
    MemoryBroker().tick([tick])
    assert Schedule.unpack("s", schedule.pack()) == schedule
    assert isinstance(job.queue, str)
    assert isinstance(job.id, str)
    assert job.priority in range(10)
    return True


def test_the_good_one_can_be_followed() -> None:
    assert followed(PACKED)


@EXAMPLES
@given(st.binary(max_size=60) | plain.map(msgpack.packb))
def test_any_bytes_are_a_schedule_or_a_message_error(packed: bytes) -> None:
    assert not followed(packed)


@EXAMPLES
@given(st.integers(0, 8 * len(PACKED) - 1))
def test_a_flipped_bit_makes_another_schedule_or_none(bit: int) -> None:
    flipped = bytearray(PACKED)
    flipped[bit // 8] ^= 1 << bit % 8
    followed(bytes(flipped))


@EXAMPLES
@given(st.integers(0, len(PACKED) - 1))
def test_a_schedule_that_was_cut_short_is_none(length: int) -> None:
    assert not followed(PACKED[:length])


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(ODD) | plain)
def test_a_schedule_with_something_else_in_one_place_can_be_followed_or_cannot_be_read(
    path: tuple[Any, ...], value: Any
) -> None:
    followed(replaced(path, value))


@pytest.mark.parametrize("path", [p for p in PLACES if p], ids=str)
def test_a_damaged_schedule_is_in_no_other_ones_way(path: tuple[Any, ...]) -> None:
    fleet = Fleet()
    for at, value in enumerate(ODD):
        fleet.broker.put_record(KIND, f"bad {at}", replaced(path, value))
    fleet.add("s", every=1)
    fleet.run(5.0)
    assert len(fleet.fired("s")) >= 3
    assert [str(error) for node in fleet.nodes for error in node.heard(ServiceFailed)] == []
    assert len(fleet.app.schedules.list()) == len(ODD) + 1


# -- firings


@EXAMPLES
@given(st.lists(st.sampled_from(ODD) | plain, min_size=5, max_size=7) | plain)
def test_any_firing_is_shown_or_left_out(packed: Any) -> None:
    good = msgpack.packb([60_000, 61_000, 0, "id", "", 0])
    hostile = bytes(msgpack.packb(packed))
    shown = replies.slot_record([1000, 1, good, hostile, hostile[:-1], b"", good]).firings
    assert [one.job_id for one in shown].count("id") >= 2
    for one in shown:
        told = firing(one, UTC_ZONE, None)
        assert isinstance(told.at, datetime)
        assert isinstance(told.job_id, str | None)


@EXAMPLES
@given(st.integers(0, 5), st.sampled_from(ODD) | plain)
def test_a_firing_with_a_wrong_field_is_shown_or_left_out(field: int, value: Any) -> None:
    row: list[Any] = [60_000, 61_000, 0, "id", "", 0]
    row[field] = value
    for one in replies.slot_record([1000, 1, bytes(msgpack.packb(row))]).firings:
        firing(one, UTC_ZONE, None)


# -- answers to probes

ANSWER = NodeAnswer(True, 0.5, (ChildAnswer(1, 2, ChildState.ANSWERED, 0.1, 0.0),))


@EXAMPLES
@given(st.binary(max_size=60) | plain.map(msgpack.packb))
def test_any_bytes_are_an_answer_of_a_node_or_none(packed: bytes) -> None:
    assert NodeAnswer.unpack(packed) is None


@EXAMPLES
@given(st.sampled_from(sorted(msgpack.unpackb(ANSWER.pack()))), st.sampled_from(ODD) | plain)
def test_an_answer_with_a_wrong_field_is_none_or_can_be_judged(field: str, value: Any) -> None:
    found = {**msgpack.unpackb(ANSWER.pack()), field: value}
    answer = NodeAnswer.unpack(bytes(msgpack.packb(found)))
    if answer is not None:
        fault = diagnose(answer, waited=1.0, beaten=0.0, lease=15.0)
        assert fault is None or isinstance(fault, Fault)
        assert fault is None or len(fault.text) < 2000
