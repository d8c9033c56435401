"""What code declares is put into effect by the node that started last."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner import App
from taskrunner.brokers.base import TickKind
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.events import ScheduleDeclared, ScheduleNotDeclared
from taskrunner.scheduler.deployment import OWNERS
from taskrunner.schedulestore import KIND, ScheduleStore
from tests.unit.scheduler.fleet import Fleet, Node

OWNER = "shop:app"


def code(**schedules: dict[str, Any]) -> App:
    """A version of an application, by the schedules it declares."""
    app = App(MemoryBroker())

    @app.task(name="t")
    def task(n: int = 0) -> None: ...

    for name, said in schedules.items():
        app.cron(name=name, **said)(task)
    return app


def start(fleet: Fleet, app: App, *, owner: str = OWNER) -> Node:
    """A node that runs this code."""
    node = Node(f"node-{len(fleet.nodes)}", fleet.broker, ["default"])
    node.scheduler.declare(owner, app.schedules.judged())
    fleet.nodes.append(node)
    fleet.run(0.1)
    return node


def stored(fleet: Fleet) -> dict[str, float | str | None]:
    """What each schedule's times are."""
    schedules = [one.schedule for one in ScheduleStore(fleet.broker).all()]
    return {one.name: one.rule.cron or one.rule.every for one in schedules if one is not None}


def told(node: Node) -> list[tuple[str, str]]:
    return [(event.schedule, event.what) for event in node.heard(ScheduleDeclared)]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(0)


V1: dict[str, dict[str, Any]] = {"a": {"every": 60}, "b": {"cron": "@daily"}, "c": {"every": 5}}
V2: dict[str, dict[str, Any]] = {"a": {"every": 61}, "b": {"cron": "@daily"}, "d": {"every": 7}}


def test_what_is_declared_is_added_changed_and_removed(fleet: Fleet) -> None:
    node = start(fleet, code(**V1))
    assert stored(fleet) == {"a": 60.0, "b": "@daily", "c": 5.0}
    assert told(node) == [("a", "added"), ("b", "added"), ("c", "added")]
    before = fleet.stored("b")
    node = start(fleet, code(**V2))
    assert stored(fleet) == {"a": 61.0, "b": "@daily", "d": 7.0}
    assert told(node) == [("a", "changed"), ("c", "removed"), ("d", "added")]
    assert fleet.stored("b") == before
    shown = fleet.app.schedules.get("a")
    assert shown is not None
    assert shown.declared_by == OWNER


def test_they_fire(fleet: Fleet) -> None:
    start(fleet, code(**V1))
    fleet.run(11.0)
    assert len(fleet.fired("c")) == 2


def test_the_node_that_started_last_is_right_and_nothing_flaps(fleet: Fleet) -> None:
    old = start(fleet, code(**V1))
    new = start(fleet, code(**V2))
    fleet.run(120.0)
    assert stored(fleet) == {"a": 61.0, "b": "@daily", "d": 7.0}
    assert len(told(old)) == 3
    assert len(told(new)) == 3
    assert len(fleet.fired("d")) >= 17, "the old node follows what the new one declares"
    start(fleet, code(**V1))  # a rollback
    assert stored(fleet) == {"a": 60.0, "b": "@daily", "c": 5.0}


def test_the_same_code_on_many_nodes_changes_nothing(fleet: Fleet) -> None:
    start(fleet, code(**V1))
    before = [one.packed for one in ScheduleStore(fleet.broker).all()]
    claim = fleet.broker.records(OWNERS).records
    nodes = [start(fleet, code(**V1)) for _ in range(3)]
    assert [told(node) for node in nodes] == [[], [], []]
    assert [one.packed for one in ScheduleStore(fleet.broker).all()] == before
    assert fleet.broker.records(OWNERS).records == claim


def test_a_node_that_says_the_same_again_says_nothing(fleet: Fleet) -> None:
    node = start(fleet, code(**V1))
    start(fleet, code(**V2))
    node.scheduler.declare(OWNER, code(**V1).schedules.judged())
    fleet.run(10.0)
    assert stored(fleet)["a"] == 61.0


def test_new_code_on_the_same_node_does(fleet: Fleet) -> None:
    node = start(fleet, code(**V1))
    node.scheduler.declare(OWNER, code(**V2).schedules.judged())
    fleet.run(1.0)
    assert stored(fleet) == {"a": 61.0, "b": "@daily", "d": 7.0}


def test_what_was_made_at_run_time_stays(fleet: Fleet) -> None:
    fleet.app.schedules.add("mine", "t", every=9)
    fleet.app.schedules.add("a", "t", every=99)
    node = start(fleet, code(**V1))
    assert stored(fleet) == {"a": 99.0, "b": "@daily", "c": 5.0, "mine": 9.0}
    (event,) = node.heard(ScheduleNotDeclared)
    assert event.schedule == "a"
    assert "made at run time" in event.why
    start(fleet, code())
    assert stored(fleet) == {"a": 99.0, "mine": 9.0}


def test_what_was_changed_at_run_time_holds_until_the_code_changes(fleet: Fleet) -> None:
    start(fleet, code(**V1))
    fleet.app.schedules.add("a", "t", every=30, replace=True)
    fleet.app.schedules.pause("b")
    start(fleet, code(**V1))
    assert stored(fleet)["a"] == 30.0
    assert fleet.stored("b").paused
    start(fleet, code(**V2))
    assert stored(fleet)["a"] == 61.0
    assert fleet.stored("b").paused


def test_what_was_removed_at_run_time_comes_back_with_the_next_start(fleet: Fleet) -> None:
    start(fleet, code(**V1))
    fleet.app.schedules.remove("a")
    fleet.run(60.0)
    assert "a" not in stored(fleet)
    start(fleet, code(**V1))
    assert stored(fleet)["a"] == 60.0


def test_applications_leave_each_others_schedules_alone(fleet: Fleet) -> None:
    start(fleet, code(**V1), owner="one:app")
    node = start(fleet, code(x={"every": 8}, a={"every": 60}), owner="other:app")
    assert stored(fleet) == {"a": 60.0, "b": "@daily", "c": 5.0, "x": 8.0}
    assert told(node) == [("a", "taken over from one:app"), ("x", "added")]
    start(fleet, code(), owner="other:app")
    assert stored(fleet) == {"b": "@daily", "c": 5.0}


def test_one_that_cannot_be_read_is_left_alone_and_told_of(fleet: Fleet) -> None:
    fleet.broker.put_record(KIND, "a", b"\xc1")
    node = start(fleet, code(**V1))
    assert [event.schedule for event in node.heard(ScheduleNotDeclared)] == ["a"]
    assert stored(fleet) == {"b": "@daily", "c": 5.0}


def test_a_deployment_goes_on_where_an_outage_interrupted_it(fleet: Fleet) -> None:
    fleet.broker.away = True
    node = Node("node", fleet.broker, ["default"])
    node.scheduler.declare(OWNER, code(**V1).schedules.judged())
    for _ in range(5):
        node.pass_()
        fleet.clock.advance(1.0)
    assert node.failures
    fleet.broker.away = False
    fleet.nodes.append(node)
    fleet.run(2.0)
    assert stored(fleet) == {"a": 60.0, "b": "@daily", "c": 5.0}


def test_a_node_that_started_earlier_gives_up_for_one_that_started_later(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Node("slow", fleet.broker, ["default"])
    slow.scheduler.declare(OWNER, code(**V1).schedules.judged())
    deployment = slow.scheduler._deployment
    assert deployment is not None
    change = type(deployment)._change

    def interrupted(self: Any, name: str) -> None:
        change(self, name)
        if self is deployment and name == "a":
            start(fleet, code(**V2))

    monkeypatch.setattr(type(deployment), "_change", interrupted)
    slow.pass_()
    assert stored(fleet) == {"a": 61.0, "b": "@daily", "d": 7.0}


def test_a_slot_of_the_downtime_of_a_deploy_is_caught_up(fleet: Fleet) -> None:
    start(fleet, code(nightly={"every": 600}))
    fleet.run(1.0)
    fleet.clock.advance(600.0 - fleet.broker.now() % 600 - 5)
    fleet.nodes.clear()
    fleet.clock.advance(120.0)
    start(fleet, code(nightly={"every": 600}))
    fleet.run(3.0)
    assert len(fleet.fired("nightly")) == 1
    assert TickKind.STALE not in fleet.broker.kinds
