"""Who goes first: of all nodes that could do what falls due, one does it, and the others watch.

    falls due ──▶ first node: does it at once
              ──▶ second, third: a moment later, if it is still to be done
              ──▶ all others: when they look anyway, if it is still to be done

Doing it twice would harm nobody: it is an atomic step of the store. This only keeps twenty nodes from
asking for the same thing at the same moment. Each works out the order by itself, from the nodes it
sees and a hash of their ids and the name of what falls due: so the work is spread, nobody is elected,
and where two nodes see different fleets, two of them ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from taskrunner.brokers.base import NodeInfo
from taskrunner.clock import Clock

SECOND_S: Final = 0.03
THIRD_S: Final = 0.1
OTHERS_S: Final = 2.0
"""Seconds for which the others wait after something has fallen due."""
SPREAD_S: Final = 0.5
"""So far apart are those others, at most."""
TAKEN_OVER_S: Final = 15.0
"""How long a node goes first where it has found something undone."""


class Turns:
    """The order of the nodes, as one of them sees it. Used by one thread."""

    def __init__(self, *, me: Callable[[], str], clock: Clock) -> None:
        self._me = me
        self._clock = clock
        self._nodes: dict[str, tuple[str, ...]] = {}
        self._known: dict[tuple[str, str | None], float] = {}
        self._known_as = ""
        self._taken_over: dict[str, float] = {}

    def learn(self, nodes: Sequence[NodeInfo]) -> None:
        """Who there is now. Those whose lease has run out do not count."""
        alive = {node.id: node.queues for node in nodes if node.seen_ago < node.lease}
        if alive != self._nodes:
            self._nodes = alive
            self._known.clear()

    def patience(self, name: str, queue: str | None = None) -> float:
        """Seconds for which this node waits when `name` has fallen due; 0: it goes first. With
        `queue`, nodes that serve it come before all others."""
        until = self._taken_over.get(name)
        if until is not None:
            if until > self._clock.monotonic():
                return 0.0
            del self._taken_over[name]
        if self._known_as != self._me():
            self._known_as = self._me()
            self._known.clear()
        found = self._known.get((name, queue))
        if found is None:
            found = self._known[name, queue] = self._worked_out(name, queue)
        return found

    def fell_behind(self, name: str) -> None:
        """This node has found undone what others should have done: it goes first for a while."""
        self._taken_over[name] = self._clock.monotonic() + TAKEN_OVER_S

    def _worked_out(self, name: str, queue: str | None) -> float:
        me = self._me()
        mine = _score(me, name)
        serving = {node for node, queues in self._nodes.items() if queue in queues}
        if serving and me in self._nodes and me not in serving:
            return OTHERS_S + SPREAD_S * mine
        rivals = (serving or set(self._nodes)) - {me}
        before = sum(_score(node, name) > mine for node in rivals)
        return (0.0, SECOND_S, THIRD_S)[before] if before < 3 else OTHERS_S + SPREAD_S * mine


def _score(node: str, name: str) -> float:
    """From 0 to 1; the highest goes first."""
    digest = blake2b(f"{node} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
