"""Whether a node is alive, and whether it is ready: by a probe that is not older than some seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskrunner.brokers.base import Command, NodeInfo
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import Events
from taskrunner.probes import PROBE, ChildAnswer, ChildState, Fault, Hop, NodeAnswer
from taskrunner.service import Mishaps
from taskrunner.supervisor.outage import Outage
from taskrunner.supervisor.readiness import (
    AGAIN_S,
    FRESH_S,
    LOST_S,
    TO,
    Readiness,
    SelfProbe,
    Stage,
)
from taskrunner.testing.clock import FakeClock
from taskrunner.testing.startstop import start_stop_stress
from taskrunner.testing.waiting import eventually

FINE = NodeAnswer(is_final=True, children=(ChildAnswer(1, 11, ChildState.ANSWERED, 0.01),))
SILENT = NodeAnswer(is_final=True, children=(ChildAnswer(1, 11, ChildState.SILENT, 3.0),))


class Store(MemoryBroker):
    """Passes each probe on to the test's node at once."""

    def __init__(self, sent: Callable[[Command], None]) -> None:
        super().__init__()
        self.join(NodeInfo("n1", lease=1e9), [])
        self.sent = sent

    def send(self, node: str, command: Command) -> bool:
        known = super().send(node, command)
        self.sent(command)
        return known


class Node:
    """A node that does with its own probes what a test says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sends = 0
        self.goes = [Hop.MAIN, Hop.CHILD, Hop.SETTLE, None]
        self.answer = FINE
        self.error: Exception | None = None
        self.broker = Store(self._sent)
        mishaps = Mishaps(clock=self.clock, events=Events(), gave_up=lambda _: None)
        self.probe = SelfProbe(
            broker=self.broker,
            node=lambda: "n1",
            probes=self,  # type: ignore[arg-type]
            clock=self.clock,
            mishaps=mishaps,
        )

    def watch(self, to: str, reached: Callable[..., None]) -> None:
        assert to == TO
        self.reached = reached

    def _sent(self, command: Command) -> None:
        assert command.do == PROBE
        self.sends += 1
        if self.error is not None:
            raise self.error
        for hop in self.goes:
            self.reached(hop, self.answer)

    def verdict(self) -> Fault | None:
        return self.probe.verdict(patience=20.0 if None in self.goes else 0.2)


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    node.probe.start()
    yield node
    node.probe.stop()


def test_a_probe_that_comes_home_speaks_for_the_node_for_a_while(node: Node) -> None:
    for _ in range(5):
        assert node.verdict() is None
    assert node.sends == 1
    node.clock.advance(AGAIN_S + 0.1)
    assert node.verdict() is None
    assert node.sends == 2


def test_nobody_asks_nobody_is_probed(node: Node) -> None:
    node.clock.advance(1000.0)
    assert node.sends == 0


def test_what_it_brings_home_is_the_verdict(node: Node) -> None:
    node.answer = SILENT
    fault = node.verdict()
    assert fault is not None
    assert fault.hop is Hop.CHILD
    node.answer = FINE
    node.clock.advance(AGAIN_S + 0.1)
    assert node.verdict() is None


@pytest.mark.parametrize(
    ("goes", "hop"),
    [
        ([], Hop.FETCH),
        ([Hop.MAIN], Hop.MAIN),
        ([Hop.MAIN, Hop.CHILD], Hop.CHILD),
        ([Hop.MAIN, Hop.CHILD, Hop.SETTLE], Hop.SETTLE),
    ],
)
def test_where_it_got_lost_is_named(node: Node, goes: list[Hop | None], hop: Hop) -> None:
    assert node.verdict() is None
    node.goes = goes
    node.clock.advance(FRESH_S + 0.1)
    fault = node.verdict()
    assert fault is not None
    assert fault.hop is hop
    for _ in range(3):
        node.clock.advance(AGAIN_S + 0.1)
        assert node.verdict() == Fault(hop, fault.text.split(" (")[0] + _ago(node, fault))
    assert node.sends == 2, "one that is under way is waited for"
    node.goes = [None]
    node.clock.advance(LOST_S)
    assert node.verdict() is None
    assert node.sends == 3


def _ago(node: Node, first: Fault) -> str:
    since = node.clock.monotonic() - node.probe._sent_at
    return f" (sent {since:.1f} s ago)"


def test_a_broker_that_does_not_answer_is_named(node: Node) -> None:
    node.error = BrokerUnavailable("cannot reach Redis at there")
    assert node.probe.verdict(20.0) == Fault(Hop.BROKER, "cannot reach Redis at there")


def test_a_broker_that_has_forgotten_the_node_is_named(node: Node) -> None:
    node.goes = []
    node.broker.leave("n1", [])
    fault = node.probe.verdict(20.0)
    assert fault is not None
    assert fault.hop is Hop.LEASE


def test_without_its_thread_nobody_is_ready() -> None:
    node = Node()
    fault = node.probe.verdict(0.0)
    assert fault is not None
    assert "no probe has been sent yet" in fault.text


def test_it_starts_and_stops_in_any_order() -> None:
    start_stop_stress(lambda: Node().probe, rounds=3)


class Body:
    """What a node consists of, for Readiness."""

    def __init__(self) -> None:
        self.probe_says: Fault | None = None
        self.loop_turns = True
        self.dead: list[str] = []
        events = Events()
        self.outage = Outage(url="memory://", clock=FakeClock(), events=events)
        self.readiness = Readiness(
            probe=self,  # type: ignore[arg-type]
            outage=self.outage,
            threads=lambda: [_Thread(name) for name in self.dead],  # type: ignore[misc]
            on_loop=self._on_loop,
        )
        self.readiness.stage = Stage.RUNNING

    def verdict(self) -> Fault | None:
        return self.probe_says

    def _on_loop(self, do: Callable[..., None], *values: Any) -> None:
        if self.loop_turns:
            threading.Thread(target=do, args=values).start()


class _Thread:
    has_died = True

    def __init__(self, name: str) -> None:
        self.name = name


def test_a_node_that_works_is_alive_and_ready() -> None:
    readiness = Body().readiness
    assert (readiness.not_alive(), readiness.not_ready()) == (None, None)


@pytest.mark.parametrize(("stage", "hop"), [(Stage.STARTING, "start"), (Stage.STOPPING, "stop")])
def test_before_and_after_it_is_alive_and_not_ready(stage: Stage, hop: str) -> None:
    readiness = Body().readiness
    readiness.stage = stage
    fault = readiness.not_ready()
    assert readiness.not_alive() is None
    assert fault is not None
    assert fault.hop == hop


def test_a_loop_that_does_not_turn_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.supervisor.readiness.ANSWER_S", 0.05)
    body = Body()
    body.loop_turns = False
    for fault in (body.readiness.not_alive(), body.readiness.not_ready()):
        assert fault is not None
        assert fault.hop is Hop.MAIN


@pytest.mark.parametrize(
    ("name", "hop"),
    [("settle", Hop.SETTLE), ("fetch", Hop.FETCH), ("lease", Hop.SERVICE)],
)
def test_a_thread_that_has_ended_makes_it_neither(name: str, hop: Hop) -> None:
    body = Body()
    body.dead = [name]
    for fault in (body.readiness.not_alive(), body.readiness.not_ready()):
        assert fault == Fault(hop, f"its {name} thread has ended")


def test_while_the_broker_is_away_it_is_alive_and_not_ready() -> None:
    body = Body()
    body.outage.failed(BrokerUnavailable())
    assert body.readiness.not_alive() is None
    assert body.readiness.not_ready() == Fault(Hop.BROKER, "the broker is away")
    body.outage.succeeded()
    body.probe_says = Fault(Hop.CHILD, "silent")
    assert body.readiness.not_ready() == body.probe_says
    eventually(lambda: body.readiness.not_alive() is None)
