"""Delayed jobs and retries: each queue's next due time, and making jobs ready when it has come.

    look ──▶ heap: one time a queue ──▶ promote ──▶ look again

What is further away than a few seconds stays in the store and costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from taskrunner.brokers.base import Broker, Due
from taskrunner.clock import Clock
from taskrunner.scheduler.heap import DueHeap
from taskrunner.scheduler.turns import Turns

HORIZON_S: Final = 5.0
"""How far a look reaches."""
PROMOTE_LIMIT: Final = 500
PACE_S: Final = 0.002
"""At least so long between two promotions of a queue: what falls due in between goes together."""

Apart = Callable[[Sequence[str], Callable[[Sequence[str]], Any]], list[Any]]
"""How all queues are asked in one round trip; see `service.apart`."""


class Promoter:
    """Used by the scheduler's thread alone. Raises BrokerUnavailable."""

    def __init__(self, *, broker: Broker, turns: Turns, clock: Clock, apart: Apart) -> None:
        self._broker = broker
        self._turns = turns
        self._clock = clock
        self._apart = apart
        self._heap = DueHeap()

    def next_at(self) -> float | None:
        """When there is something to do (monotonic)."""
        return self._heap.first()

    def is_mine(self, queue: str) -> bool:
        """Whether a bell of this queue is worth a look: others look by themselves soon enough."""
        return self._turns.patience(queue, queue) < HORIZON_S / 5

    def look(self, queues: Sequence[str], *, not_before: float = 0.0) -> None:
        """Ask when each queue has something due."""
        asked = self._clock.monotonic()
        for due in self._ask(queues):
            self._expect(due, asked, not_before)

    def run(self) -> None:
        """Promote what is due, unless somebody else has."""
        due = self._heap.pop_due(self._clock.monotonic())
        mine = [queue for queue in due if not self._turns.patience(queue, queue)]
        mine += self._still_due([queue for queue in due if queue not in mine])
        if mine:
            self._apart(mine, lambda some: self._broker.promote(some, PROMOTE_LIMIT))
            self.look(mine, not_before=self._clock.monotonic() + PACE_S)

    def _still_due(self, queues: Sequence[str]) -> list[str]:
        """Where those that go first have not been."""
        if not queues:
            return []
        asked = self._clock.monotonic()
        undone = []
        for due in self._ask(queues):
            # What has fallen due a moment ago is on its way.
            if -due.wait > self._turns.patience(due.queue, due.queue) / 2:
                self._turns.fell_behind(due.queue)
                undone.append(due.queue)
            else:
                self._expect(due, asked, 0.0)
        return undone

    def _ask(self, queues: Sequence[str]) -> list[Due]:
        found = self._apart(queues, lambda some: self._broker.due(some, HORIZON_S, 1))
        return [due for part in found for due in part]

    def _expect(self, due: Due, asked: float, not_before: float) -> None:
        patience = self._turns.patience(due.queue, due.queue)
        self._heap.add(due.queue, max(asked + due.wait + patience, not_before))
