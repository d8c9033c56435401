"""What a node does now and then, in its scheduler thread, besides keeping the store's house."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from taskrunner.brokers.base import Broker, Outcome, OutcomeKind
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.fetch import FetchService
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.outage import Outage
from taskrunner.supervisor.plan import Planner
from taskrunner.supervisor.settle import SettleService


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
        return (
            self.refresh_queues,
            self._membership.declare_limits,
            self._membership.look_after_orphans,
            self.reconcile,
            self.look_for_parked,
        )

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
        return self.give_back_strays() > 0

    def give_back_strays(self) -> int:
        """Return deliveries that the store believes to be here and that are not; how many.

        After a restart from an older file the store may believe in deliveries settled long ago. The
        order of the reads matters: what is fetched or settled in between is never taken for a stray.
        """
        before = self._fetch.next_number
        node = self._membership.id
        held = self._broker.held(node, self._membership.queues())
        old = [(key, number) for key, number in held if number < before]
        strays = [
            Outcome(key.queue, key.id, number, OutcomeKind.RELEASED, started=False)
            for key, number in self._fetch.handover.strays(old, lambda: self._numbers(node))
        ]
        if strays:
            self._broker.settle(node, strays)
        return len(strays)

    def _numbers(self, node: str) -> set[int]:
        """Of this node's deliveries that are in its hands, or on their way to the store."""
        tokens = self._dispatcher.numbers() | self._settle.tokens()
        return {number for name, number in tokens if name == node}

    def look_for_parked(self) -> bool:
        """See what is parked that this node can run; its next fetches take it."""
        for stats in self._broker.stats(self._membership.queues()):
            self._take_parked(stats.queue, stats.parked)
        return False

    def parked(self, queue: str, key: str) -> None:
        """A bell said that a job was parked. Any thread."""
        self._take_parked(queue, [key])

    def _take_parked(self, queue: str, keys: Iterable[str]) -> None:
        ours = [key for key in keys if self._dispatcher.can_run(key)]
        if ours:
            self._planner.found_parked(queue, ours)
            self._fetch.wake()
