"""The nodes of a namespace: who is there, and what they are told to do."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from taskrunner.brokers.base import BrokerClient, Command, NodeInfo
from taskrunner.errors import NodeNotFound, OptionError


class Action(StrEnum):
    """What a node does when it is told to; a signal to its process does the same."""

    GROW = "grow"
    """one process more (TTIN)"""
    SHRINK = "shrink"
    """one process fewer (TTOU)"""
    RELOAD = "reload"
    """new code in new processes, without a gap (HUP)"""
    STOP = "stop"
    """in good order; told again: without waiting (TERM)"""
    DUMP = "dump"
    """its state, in its log (USR1)"""


class Nodes:
    """Of one broker's namespace."""

    def __init__(self, broker: BrokerClient) -> None:
        self._broker = broker

    def present(self) -> list[NodeInfo]:
        """Those that beat lately, by host and pid. Raises BrokerUnavailable."""
        return sorted(self._broker.nodes(), key=lambda node: (node.host, node.pid, node.id))

    def find(self, name: str) -> NodeInfo:
        """The one with this id, or whose id alone begins so. Raises NodeNotFound, OptionError where
        several begin so, BrokerUnavailable."""
        nodes = self.present()
        found = [node for node in nodes if node.id.startswith(name)]
        exact = [node for node in found if node.id == name]
        if not name or not found:
            raise NodeNotFound(f"there is no node {name!r}; {_known(nodes)}")
        if len(found) > 1 and not exact:
            raise OptionError(f"node {name!r}: {len(found)} nodes begin so; {_known(found)}")
        return (exact or found)[0]

    def tell(self, nodes: Sequence[NodeInfo], action: Action) -> list[NodeInfo]:
        """Have them do something; those that were there to be told. They take it within a second,
        or, where a bell was lost, at their next beat; not taken within a minute, it is forgotten.
        Raises BrokerFull where one has hundreds of commands before it, BrokerUnavailable."""
        return [node for node in nodes if self._broker.send(node.id, Command.new(action.value))]


def _known(nodes: Sequence[NodeInfo]) -> str:
    if not nodes:
        return "there is none at all in this namespace"
    shown = ", ".join(f"{node.id} ({node.host}, pid {node.pid})" for node in nodes[:10])
    return f"there are {shown}{' and others' if len(nodes) > 10 else ''}"
