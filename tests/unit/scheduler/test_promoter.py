"""Delayed jobs: made ready in time, by one node of many."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import JobKey
from taskrunner.message import Header, Message, Timing
from taskrunner.scheduler.turns import SECOND_S
from taskrunner.states import State
from tests.unit.scheduler.fleet import Fleet, Node

HEADER = Header("t")


def delay(fleet: Fleet, *delays: float, name: str = "job") -> list[JobKey]:
    ids = [f"{name}-{n}" for n in range(len(delays))]
    fleet.broker.enqueue(
        [
            Message(job_id, "q", HEADER, b"", timing=Timing(delay=seconds))
            for job_id, seconds in zip(ids, delays, strict=True)
        ]
    )
    for node in fleet.nodes:
        node.scheduler.poke("q")
        if fleet.clock.monotonic() > 1000:
            node.pass_()
    return [JobKey("q", job_id) for job_id in ids]


def states(fleet: Fleet, keys: list[JobKey]) -> set[State]:
    return {record.state for record in fleet.broker.get(keys) if record is not None}


def settled(fleet: Fleet) -> None:
    """All nodes have seen each other, and what they have to do is done."""
    fleet.run(6.0)
    fleet.broker.calls.clear()


def test_twenty_nodes_promote_a_hundred_due_jobs_with_few_calls() -> None:
    fleet = Fleet(20)
    settled(fleet)
    keys = delay(fleet, *[1.0] * 100)
    looks = fleet.broker.calls["due"]
    assert looks <= 3, "those who go first look when a bell rings, the others need not"
    fleet.run(1.0)
    assert states(fleet, keys) == {State.PENDING}
    fleet.run(5.0)
    assert 1 <= fleet.broker.calls["promote"] < 4


def test_at_each_of_many_due_times_too() -> None:
    fleet = Fleet(20)
    settled(fleet)
    keys = [delay(fleet, *[1.0 + n] * 5, name=f"at-{n}") for n in range(20)]
    fleet.run(25.0)
    assert states(fleet, [key for some in keys for key in some]) == {State.PENDING}
    assert fleet.broker.calls["promote"] < 4 * 20


@pytest.mark.parametrize("dead", [1, 2, 19])
def test_when_those_who_go_first_are_gone_others_do_it(dead: int) -> None:
    fleet = Fleet(20)
    settled(fleet)
    order = sorted(fleet.nodes, key=lambda node: node.scheduler._turns.patience("q", "q"))
    gone = set(order[:dead])

    def awake(node: Node) -> bool:
        return node not in gone

    keys = delay(fleet, 1.0)
    fleet.run(1.0 + 4 * SECOND_S if dead < 3 else 4.0, awake=awake)
    assert states(fleet, keys) == {State.PENDING}
    # From then on the one that did it goes first.
    keys = delay(fleet, 1.0, name="next")
    fleet.run(1.001, awake=awake)
    assert states(fleet, keys) == {State.PENDING}


def test_a_node_alone_is_in_time() -> None:
    fleet = Fleet(1)
    settled(fleet)
    keys = delay(fleet, 0.5)
    fleet.run(0.499)
    assert states(fleet, keys) == {State.SCHEDULED}
    fleet.run(0.0011)
    assert states(fleet, keys) == {State.PENDING}


def test_what_falls_due_in_quick_succession_goes_together() -> None:
    fleet = Fleet(1)
    settled(fleet)
    keys = delay(fleet, *[1.0 + n / 10_000 for n in range(1000)])
    fleet.run(1.2)
    assert states(fleet, keys) == {State.PENDING}
    assert fleet.broker.calls["promote"] <= 60


def test_a_bell_that_was_lost_costs_seconds() -> None:
    fleet = Fleet(3)
    settled(fleet)
    fleet.broker.enqueue([Message("job", "q", HEADER, b"", timing=Timing(delay=0.2))])
    fleet.run(3.0)
    assert states(fleet, [JobKey("q", "job")]) == {State.PENDING}


def test_a_million_far_away_are_not_held_here() -> None:
    fleet = Fleet(1)
    settled(fleet)
    delay(fleet, *[3600.0 + n for n in range(500)])
    fleet.run(10.0)
    assert len(fleet.nodes[0].scheduler._promoter._heap) == 0
    delay(fleet, *[1.0 + n / 1000 for n in range(500)], name="near")
    assert len(fleet.nodes[0].scheduler._promoter._heap) == 1
