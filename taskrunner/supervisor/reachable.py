"""A broker of which a part may be away, for those who can go on with what is there.

A store of several servers may lose one of them. A call that concerns queues on all of them then
raises PartlyUnavailable, which carries what the others answered. The threads of a node take that
for the answer: the outage is told of once, here, and the queues that are away are left alone until
a beat reaches them again. Whoever must know what was not answered (a settle, a beat) asks the
broker itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from taskrunner.brokers.base import Broker
from taskrunner.errors import PartlyUnavailable

ANSWERED: Final = frozenset(
    {"fetch", "note", "due", "promote", "leave", "commands", "reap", "held", "sweep"}
    | {"stats", "queues", "nodes", "tick"}
)
"""Calls whose answer means something without the queues that are away."""


def reachable(broker: Broker, partly: Callable[[PartlyUnavailable], None]) -> Broker:
    """The same broker, which answers for what is there of it; `partly` is told what is not."""
    return cast(Broker, _Reachable(broker, partly))


class _Reachable:
    def __init__(self, broker: Broker, partly: Callable[[PartlyUnavailable], None]) -> None:
        self._broker = broker
        self._partly = partly

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._broker, name)
        if name not in ANSWERED:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return found(*arguments, **named)
            except PartlyUnavailable as error:
                self._partly(error)
                return error.answer

        return call
