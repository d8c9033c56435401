"""Sends a probe along the road that jobs take, to every node, and says which hop of it fails.

Prober ─▶ broker ─▶ node ─▶ its children ─▶ back ─▶ broker ─▶ Prober
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from taskrunner.brokers.base import BrokerClient, Command, NodeInfo
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.errors import BrokerFull
from taskrunner.ids import new_id
from taskrunner.probes import (
    PROBE,
    RECORDS,
    ChildState,
    Fault,
    Hop,
    NodeAnswer,
    diagnose,
)

SHARE: Final = 0.8
"""Of the time that the asker has, what a node may wait for its children."""
FIRST_PAUSE_S: Final = 0.002
MOST_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What a probe found out about one node. Times in seconds."""

    node: NodeInfo
    broker: float
    """how long the broker took for one question"""
    round_trip: float | None
    """of the probe; None: it did not come back"""
    answer: NodeAnswer | None
    fault: Fault | None
    """the hop that failed; None: the node is healthy"""

    def count(self, *states: ChildState) -> int:
        """How many children are in these states."""
        return sum(child.state in states for child in self.answer.children) if self.answer else 0


class Prober:
    """Asks the nodes of one namespace."""

    def __init__(self, broker: BrokerClient, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._broker = broker
        self._clock = clock

    def probe(self, nodes: Sequence[NodeInfo], timeout: float) -> list[NodeHealth]:
        """Probe these nodes at once, within `timeout` seconds. Raises BrokerUnavailable."""
        took = self._time_of_one_question()
        kind = f"{RECORDS}{new_id()}"
        sent_at = self._clock.monotonic()
        unsent = self._send(nodes, kind, timeout)
        try:
            found, at = self._collect(kind, {n.id for n in nodes} - unsent.keys(), timeout)
        finally:
            self._clean(kind, nodes)
        waited = self._clock.monotonic() - sent_at
        if len(at) < len(nodes):
            seen = {node.id: node for node in self._broker.nodes()}
            gone = Fault(Hop.LEASE, "it is gone: it stopped a moment ago, or was lost")
            unsent |= {node.id: gone for node in nodes if node.id not in seen}
            nodes = [seen.get(node.id, node) for node in nodes]
        return [
            NodeHealth(
                node=node,
                broker=took,
                round_trip=at[node.id] - sent_at if node.id in at else None,
                answer=found.get(node.id),
                fault=unsent.get(node.id) or _judge(node, found.get(node.id), waited),
            )
            for node in nodes
        ]

    def _time_of_one_question(self) -> float:
        self._broker.now()  # the first one may have to connect
        asked_at = self._clock.monotonic()
        self._broker.now()
        return self._clock.monotonic() - asked_at

    def _send(self, nodes: Sequence[NodeInfo], kind: str, timeout: float) -> dict[str, Fault]:
        """By node: why it could not even be sent."""
        unsent: dict[str, Fault] = {}
        for node in nodes:
            try:
                command = Command.new(PROBE, to=kind, patience=SHARE * timeout)
                if not self._broker.send(node.id, command):
                    unsent[node.id] = Fault(Hop.LEASE, "the broker does not know it any more")
            except BrokerFull as error:
                unsent[node.id] = Fault(Hop.FETCH, f"it takes no commands: {error}")
        return unsent

    def _collect(
        self, kind: str, wanted: set[str], timeout: float
    ) -> tuple[dict[str, NodeAnswer], dict[str, float]]:
        """Answers by node, and when each final one was seen."""
        until = self._clock.monotonic() + timeout
        pause = FIRST_PAUSE_S
        answers: dict[str, NodeAnswer] = {}
        seen_at: dict[str, float] = {}
        while True:
            answers |= self._answers(kind)
            now = self._clock.monotonic()
            for node, answer in answers.items():
                if answer.is_final:
                    seen_at.setdefault(node, now)
            if wanted <= seen_at.keys() or now >= until:
                return answers, seen_at
            threading.Event().wait(min(pause, until - now))
            pause = min(MOST_PAUSE_S, 1.5 * pause)

    def _answers(self, kind: str) -> Mapping[str, NodeAnswer]:
        found: dict[str, NodeAnswer] = {}
        cursor = ""
        while True:
            records, cursor = self._broker.records(kind, cursor, limit=1000)
            for record in records:
                answer = NodeAnswer.unpack(record.value)
                if answer is not None:
                    found[record.id] = answer
            if not cursor:
                return found

    def _clean(self, kind: str, nodes: Sequence[NodeInfo]) -> None:
        """What is answered later, or cannot be removed now, lapses by itself."""
        for node in nodes:
            self._broker.remove_record(kind, node.id)


def _judge(node: NodeInfo, answer: NodeAnswer | None, waited: float) -> Fault | None:
    return diagnose(answer, waited=waited, beaten=node.seen_ago, lease=node.lease)
