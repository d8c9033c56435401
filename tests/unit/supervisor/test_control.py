"""Commands become calls: each once, in order, whatever answers are lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from taskrunner.brokers.base import Command, NodeInfo
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import BrokerLost, CommandHeard, Event, Events
from taskrunner.supervisor.control import Control
from taskrunner.supervisor.outage import Outage


class Forgetful(MemoryBroker):
    """Loses the answers to as many takes as it is told."""

    to_lose = 0

    def commands(self, node: str, done: Sequence[str] = ()) -> list[Command]:
        found = super().commands(node, done)
        if self.to_lose:
            self.to_lose -= 1
            raise BrokerUnavailable("the answer was lost")
        return found


class Node:
    """What a command reaches."""

    def __init__(self) -> None:
        self.broker = Forgetful()
        self.broker.join(NodeInfo("n1", lease=60.0), [])
        self.did: list[str] = []
        self.happened: list[Event] = []
        events = Events()
        events.subscribe(self.happened.append)
        self.control = Control(
            broker=self.broker,
            node=lambda: "n1",
            outage=Outage(url="memory://", clock=SYSTEM_CLOCK, events=events),
            events=events,
            on_loop=lambda do, *values: do(*values),
            does=self,
            probes=self,  # type: ignore[arg-type]
        )

    def stop(self) -> None:
        self.did.append("stop")

    def reload(self) -> None:
        self.did.append("reload")

    def grow(self) -> None:
        self.did.append("grow")

    def shrink(self) -> None:
        self.did.append("shrink")

    def dump(self) -> None:
        self.did.append("dump")

    def taken(self, details: Mapping[str, Any]) -> None:
        self.did.append(f"taken {details['to']}")

    def begin(self, details: Mapping[str, Any]) -> None:
        self.did.append(f"begin {details['to']}")

    def send(self, *names: str) -> None:
        for name in names:
            assert self.broker.send("n1", Command.new(name))


@pytest.fixture
def node() -> Node:
    return Node()


def test_commands_are_done_in_order_and_once(node: Node) -> None:
    node.send("dump", "stop")
    node.control.take()
    node.control.take()
    assert node.did == ["dump", "stop"]
    assert node.broker.commands("n1") == []


def test_a_take_whose_answer_was_lost_is_made_again_and_nothing_is_done_twice(node: Node) -> None:
    node.send("dump")
    node.broker.to_lose = 1
    node.control.take()
    assert node.did == []
    assert any(isinstance(event, BrokerLost) for event in node.happened)
    node.control.take()
    assert node.did == ["dump"]


def test_an_acknowledgement_that_was_lost_does_nothing_twice(node: Node) -> None:
    node.send("dump")
    take = type(node.broker).commands
    calls: list[Any] = []

    def lose_the_second(broker: Any, name: str, done: Sequence[str] = ()) -> list[Command]:
        calls.append(done)
        if len(calls) == 2:
            raise BrokerUnavailable("it never arrived")
        return take(broker, name, done)

    node.broker.commands = lose_the_second.__get__(node.broker)  # type: ignore[method-assign]
    node.control.take()
    node.send("stop")
    node.control.take()
    assert node.did == ["dump", "stop"]
    assert calls[2] == calls[1] != ()


def test_what_was_done_before_something_broke_is_not_done_again(node: Node) -> None:
    passed_on: list[str] = []

    def break_once(do: Callable[..., None], command: Command) -> None:
        passed_on.append(command.do)
        if len(passed_on) == 2:
            raise RuntimeError("no loop")
        do(command)

    node.control._on_loop = break_once
    node.send("dump", "stop")
    with pytest.raises(RuntimeError, match="no loop"):
        node.control.take()
    node.control.take()
    assert node.did == ["dump", "stop"]
    assert passed_on == ["dump", "stop", "stop"]


def test_what_nobody_here_knows_is_said_and_dropped(node: Node) -> None:
    node.send("levitate", "", "dump")
    node.control.take()
    assert node.did == ["dump"]
    heard = [event for event in node.happened if isinstance(event, CommandHeard)]
    assert [(event.do, event.known) for event in heard] == [
        ("levitate", False),
        ("", False),
        ("dump", True),
    ]
    assert node.broker.commands("n1") == []


def test_a_command_that_cannot_be_done_harms_no_other(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise KeyError("details of another version")

    fails: Callable[[], None] = fail
    node.dump = fails  # type: ignore[method-assign]
    node.send("dump", "stop")
    node.control.take()
    assert node.did == ["stop"]
    assert "'dump' could not be done" in caplog.text


def test_a_probe_is_told_of_where_it_was_taken_and_where_it_goes_on(node: Node) -> None:
    node.broker.send("n1", Command.new("probe", to="probe:1"))
    node.control.take()
    node.control.take()
    assert node.did == ["taken probe:1", "begin probe:1"]
