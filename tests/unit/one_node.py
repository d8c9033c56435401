"""A node without processes: fetches and settles by hand, for tests of what clients see."""

from __future__ import annotations

import itertools
from typing import Any

from taskrunner import App
from taskrunner.brokers.base import Broker, Delivery, NodeInfo, Outcome, OutcomeKind, Take
from taskrunner.message import ErrorInfo


class OneNode:
    """Joined to some queues of an App's broker."""

    def __init__(self, app: App, *queues: str) -> None:
        broker = app.broker
        assert isinstance(broker, Broker)
        self.app = app
        self.broker = broker
        self.queues = queues or ("default",)
        self.info = NodeInfo("node", lease=60.0)
        self.broker.join(self.info, self.queues)
        self._numbers = itertools.count(1, 100)

    def fetch(self) -> list[Delivery]:
        plan = [Take(queue, 10) for queue in self.queues]
        return self.broker.fetch("node", plan, next(self._numbers)).deliveries

    def take(self) -> Delivery:
        """The one job that is ready."""
        (delivery,) = self.fetch()
        return delivery

    def settle(self, delivery: Delivery, kind: OutcomeKind, **fields: Any) -> None:
        outcome = Outcome(delivery.queue, delivery.id, delivery.number, kind, **fields)
        assert self.broker.settle("node", [outcome]) != [None]

    def succeed(self, value: Any = None, **fields: Any) -> None:
        packed = self.app.codec.pack(value)
        self.settle(self.take(), OutcomeKind.SUCCEEDED, result=packed, **fields)

    def fail(self, error: ErrorInfo | None, reason: str = "error") -> None:
        packed = error and error.pack()
        self.settle(self.take(), OutcomeKind.FAILED, error=packed, reason=reason)
