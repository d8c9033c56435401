"""What a node does now and then, in its scheduler thread, besides keeping the store's house."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from taskrunner.brokers.base import Broker, Outcome, OutcomeKind
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.fetch import FetchService
from taskrunner.supervisor.intake import PARKED_FOR_TASK
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.outage import Outage
from taskrunner.supervisor.plan import Planner
from taskrunner.supervisor.settle import SettleService

UNPARK_LIMIT = 500


class Chores:
    """Each answers whether there was something to do. Raises BrokerUnavailable."""

    def __init__(
        self,
        *,
        broker: Broker,
        membership: Membership,
        planner: Planner,
        dispatcher: Dispatcher,
        fetch: FetchService,
        settle: SettleService,
        outage: Outage,
    ) -> None:
        self._broker = broker
        self._membership = membership
        self._planner = planner
        self._dispatcher = dispatcher
        self._fetch = fetch
        self._settle = settle
        self._outage = outage

    def all(self) -> Sequence[Callable[[], bool]]:
        return (self.refresh_queues, self.reconcile, self.unpark)

    def refresh_queues(self) -> bool:
        """Serve the queues that have appeared."""
        new = self._membership.refresh()
        if new:
            self._fetch.wake()
        return new

    def reconcile(self) -> bool:
        """After an outage: give back what the store believes to be here and is not."""
        if not self._outage.returned.is_set():
            return False
        self._outage.returned.clear()
        count = give_back_strays(
            self._broker,
            self._membership,
            next_number=lambda: self._fetch.next_number,
            ours=lambda: self._dispatcher.numbers() | self._settle.tokens(),
        )
        return count > 0

    def unpark(self) -> bool:
        """Take what was parked for want of a task that this node knows."""
        count = take_parked(self._broker, self._membership.queues(), self._dispatcher.tasks)
        if count:
            # Ahead of the nodes that the bells wake, which may not know the task.
            self._planner.believe()
            self._fetch.wake()
        return count > 0


def give_back_strays(
    broker: Broker,
    membership: Membership,
    *,
    next_number: Callable[[], int],
    ours: Callable[[], set[tuple[str, int]]],
) -> int:
    """Return deliveries that the store believes to be here and that are not; how many.

    After a restart from an older file the store may believe in deliveries settled long ago. The
    order of the reads matters: what is fetched or settled in between is never taken for a stray.
    """
    before = next_number()
    node = membership.id
    held = broker.held(node, membership.queues())
    mine = ours()
    strays = [
        Outcome(key.queue, key.id, number, OutcomeKind.RELEASED, started=False)
        for key, number in held
        if number < before and (node, number) not in mine
    ]
    if strays:
        broker.settle(node, strays)
    return len(strays)


def take_parked(broker: Broker, queues: Sequence[str], tasks: Container[str]) -> int:
    """Make ready what other nodes parked because they do not know its task, and this one does.

    A node that does not may fetch it first and park it again: whoever found some looks again soon.
    """
    count = 0
    for stats in broker.stats(queues):
        keys = [key for key in stats.parked if key.removeprefix(PARKED_FOR_TASK) in tasks]
        if keys:
            count += broker.unpark(stats.queue, keys, UNPARK_LIMIT)
    return count
