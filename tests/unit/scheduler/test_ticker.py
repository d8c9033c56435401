"""Schedules on one node and on many: each slot once, in time, whatever happens."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.brokers.base import NodeInfo, TickKind
from taskrunner.scheduler.ticker import LOOK_AT_ALL_S, LOOK_S
from taskrunner.schedulestore import KIND
from taskrunner.states import State
from tests.unit.scheduler.fleet import Fleet, Node, every

# -- one node


def test_each_slot_is_submitted_when_it_is_due() -> None:
    fleet = Fleet()
    began = fleet.broker.now()
    fleet.add("s", every=7)
    fleet.run(100.0)
    assert every(fleet, "s", 7.0, began, fleet.broker.now())
    assert max(fleet.broker.late) < 0.002
    assert fleet.broker.stats(["q"])[0].counts[State.PENDING] == len(fleet.fired("s"))


def test_many_schedules_at_once() -> None:
    fleet = Fleet()
    began = fleet.broker.now()
    for n in range(300):
        fleet.add(f"s{n}", every=10)
    fleet.run(21.0)
    assert all(every(fleet, f"s{n}", 10.0, began, fleet.broker.now()) for n in range(300))
    assert fleet.broker.calls["tick"] < 10


def test_a_change_takes_effect_within_a_second() -> None:
    fleet = Fleet(3)
    fleet.run(6.0)
    for node in fleet.nodes:
        node.scheduler.schedules_changed()
    fleet.add("s", every=0.5)
    fleet.run(1.0)
    assert len(fleet.fired("s")) >= 1
    fleet.app.schedules.pause("s")
    count = len(fleet.fired("s"))
    fleet.run(3.0)
    assert len(fleet.fired("s")) == count
    for node in fleet.nodes:
        node.scheduler.schedules_changed()
    fleet.app.schedules.resume("s")
    fleet.run(1.1)
    assert len(fleet.fired("s")) > count
    fleet.app.schedules.remove("s")
    count = len(fleet.fired("s"))
    fleet.run(10.0)
    assert len(fleet.fired("s")) == count


def test_a_bell_that_was_lost_costs_seconds() -> None:
    fleet = Fleet()
    fleet.run(6.0)
    fleet.add("s", every=1)
    fleet.run(LOOK_S + 1.1)
    assert len(fleet.fired("s")) >= 1


def test_a_change_that_nobody_was_told_of_is_found() -> None:
    fleet = Fleet()
    fleet.add("s", every=1)
    fleet.run(3.0)
    changed = replace(fleet.stored("s"), paused=True, revision=fleet.stored("s").revision + 1)
    fleet.broker.put_record(KIND, "s", changed.pack())
    fleet.run(LOOK_AT_ALL_S + LOOK_S)
    count = len(fleet.fired("s"))
    fleet.run(10.0)
    assert len(fleet.fired("s")) == count


def test_an_end_is_an_end() -> None:
    fleet = Fleet()
    end = datetime.fromtimestamp(fleet.broker.now() + 10, UTC)
    fleet.add("s", every=3, end=end)
    fleet.run(60.0)
    assert fleet.fired("s")[-1] <= end.timestamp()
    assert len(fleet.fired("s")) in (3, 4)


def test_jitter_puts_each_slot_off_by_its_own_part() -> None:
    fleet = Fleet()
    fleet.add("s", every=60, jitter=20)
    fleet.run(600.0)
    assert len(fleet.fired("s")) >= 9
    assert max(fleet.broker.late) < 0.002


# -- many nodes


@pytest.mark.parametrize("nodes", [2, 20])
def test_of_many_nodes_one_submits_each_slot(nodes: int) -> None:
    fleet = Fleet(nodes)
    began = fleet.broker.now()
    for n in range(10):
        fleet.add(f"s{n}", every=1)
    fleet.run(20.0)
    assert all(every(fleet, f"s{n}", 1.0, began, fleet.broker.now()) for n in range(10))
    assert max(fleet.broker.late[50:]) < 0.002
    # Ten slots each second, each submitted by its own node.
    assert fleet.broker.calls["tick"] <= 20 * 10 + 60
    assert fleet.broker.kinds.count(TickKind.TAKEN) < 60


def test_a_fleet_that_does_not_see_itself_submits_each_slot_once() -> None:
    fleet = Fleet(5)
    for node in fleet.nodes:
        node.is_blind = True
    began = fleet.broker.now()
    fleet.add("s", every=1)
    fleet.run(20.0)
    assert every(fleet, "s", 1.0, began, fleet.broker.now())
    assert fleet.broker.kinds.count(TickKind.TAKEN) > 50


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_nodes_come_and_go_and_stand_still_and_no_slot_is_missed_or_doubled(
    rng: random.Random, nodes: int
) -> None:
    fleet = Fleet(nodes)
    began = fleet.broker.now()
    for n, seconds in enumerate((1, 3, 7.5)):
        fleet.add(f"s{n}", every=seconds, catch_up="all", max_catch_up=1000, jitter=n)
    for _ in range(12):
        up = {node for node in fleet.nodes if rng.random() < 0.6}
        fleet.run(rng.choice([0.3, 2.0, 30.0]), awake=up.__contains__)
        if rng.random() < 0.3:
            at = rng.randrange(nodes)
            fleet.nodes[at] = Node(f"new-{rng.random()}", fleet.broker, ["q"])
    fleet.run(30.0)
    for n, seconds in enumerate((1.0, 3.0, 7.5)):
        # With jitter the last ones are yet to come.
        assert fleet.broker.now() - fleet.fired(f"s{n}")[-1] < 2 * seconds + n
        assert every(fleet, f"s{n}", seconds, began, fleet.fired(f"s{n}")[-1])


def test_whoever_steps_in_for_one_that_is_gone_is_in_time_from_then_on() -> None:
    fleet = Fleet(3)
    fleet.run(6.0)
    fleet.add("s", every=1)
    fleet.run(6.0)
    gone = next(node for node in fleet.nodes if not node.scheduler._turns.patience("s"))
    fleet.broker.late.clear()
    fleet.run(5.0, awake=lambda node: node is not gone)
    assert max(fleet.broker.late) < 0.05
    assert max(fleet.broker.late[2:]) < 0.002


def test_one_that_stood_still_for_an_hour_submits_nothing_old() -> None:
    fleet = Fleet(2)
    fleet.add("s", every=10, catch_up="all", retention=0)
    fleet.run(20.0)
    still = fleet.nodes[0]
    fleet.run(3600.0, awake=lambda node: node is not still)
    # By somebody who died before he could close its slots.
    fleet.broker.remove_record(KIND, "s")
    count = len(fleet.fired("s"))
    # Not one look before it acts: as if its packet had been on its way for an hour.
    still.scheduler._ticker.next_look = still.scheduler._schedules_at = 1e12
    fleet.clock.advance(10.5)
    still.scheduler._ticker.run()
    assert fleet.broker.kinds[-1] is TickKind.STALE
    assert len(fleet.fired("s")) == count
    assert len(set(fleet.fired("s"))) == count


def test_one_that_is_far_behind_learns_how_far_from_the_first_answer() -> None:
    fleet = Fleet(2)
    for node in fleet.nodes:
        node.is_blind = True
    fleet.add("s", every=1, catch_up="all")
    fleet.run(3.0)
    fleet.run(60.0, awake=lambda node: node is fleet.nodes[0])
    fleet.run(0.5, awake=lambda node: node is fleet.nodes[1])
    assert fleet.broker.kinds[-60:].count(TickKind.TAKEN) < 10


def test_one_that_knows_an_old_revision_looks_again_at_once() -> None:
    fleet = Fleet()
    fleet.run(5.5)
    fleet.add("s", every=1)
    fleet.run(LOOK_S + 1.0)
    fleet.broker.late.clear()
    fleet.app.schedules.add("s", "t", every=1, queue="q", priority=9, replace=True)
    fleet.run(4.0)
    assert TickKind.STALE in fleet.broker.kinds
    assert len(fleet.broker.late) >= 3
    assert max(fleet.broker.late) < 1.1


def test_a_split_fleet_submits_each_slot_once() -> None:
    fleet = Fleet(4)
    fleet.run(6.0)
    halves = fleet.nodes[:2], fleet.nodes[2:]
    for half in halves:
        seen = [NodeInfo(node.id, lease=15.0, queues=("q",)) for node in half]
        for node in half:
            node.scheduler.met(seen)
            node.is_blind = True
    began = fleet.broker.now()
    fleet.add("s", every=1)
    fleet.run(20.0)
    assert every(fleet, "s", 1.0, began, fleet.broker.now())


def test_a_schedule_that_moves_misses_and_doubles_nothing() -> None:
    fleet = Fleet(3)
    began = fleet.broker.now()
    fleet.add("s", every=1)
    for queue in ("r", "q", "r"):
        fleet.run(5.4)
        fleet.app.schedules.add("s", "t", every=1, queue=queue, replace=True)
        if queue == "q":
            for node in fleet.nodes:
                node.scheduler.schedules_changed()
    fleet.run(10.0)
    assert every(fleet, "s", 1.0, began, fleet.broker.now())
