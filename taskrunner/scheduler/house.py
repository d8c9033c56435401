"""Keeping house: lost nodes, old records, and what else a node does now and then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Final, Protocol, TypeVar

from taskrunner.brokers.base import Broker, NodeInfo
from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import Events, JobsReturned

T = TypeVar("T")

KEEP_HOUSE_S: Final = 5.0
THOROUGH: Final = 3
REAP_LIMIT: Final = 500
SWEEP_LIMIT: Final = 500
SWEEPS_IN_A_ROW: Final = 20
LAPSE_S: Final = 0.05
"""How long after the end of a lease it is looked at: the store counts whole milliseconds."""
SOON_S: Final = 1.0
"""When a chore that found something to do is done again."""


class Keeper(Protocol):
    """Whose house it is, and whose thread."""

    def kept(self) -> Sequence[str]:
        """Queues that are of the house."""
        ...

    def met(self, nodes: Sequence[NodeInfo]) -> None:
        """These nodes there are."""
        ...

    def do_what_is_due(self) -> bool:
        """Called between two steps, since what falls due must not wait until the house is kept.
        False: stop."""
        ...

    def apart(self, queues: Sequence[str], do: Callable[[Sequence[str]], T], /) -> list[T]:
        """Do something with all queues; see `service.apart`."""
        ...

    def noticed(self, error: Exception) -> None: ...


class House:
    """Used by the scheduler's thread alone. Raises BrokerUnavailable."""

    def __init__(
        self,
        *,
        broker: Broker,
        me: Callable[[], str],
        proven_dead: Callable[[list[NodeInfo]], list[str]],
        chores: Sequence[Callable[[], bool]],
        clock: Clock,
        events: Events,
        keeper: Keeper,
    ) -> None:
        self._broker = broker
        self._me = me
        self._proven_dead = proven_dead
        self._chores = chores
        self._clock = clock
        self._events = events
        self._keeper = keeper
        self._passes = 0
        self.next_at = clock.monotonic()

    def hurry(self) -> None:
        """Keep all of it at the next pass."""
        self.next_at = self._clock.monotonic()
        self._passes = 0

    def keep(self) -> None:
        """Lost nodes at every pass; the rest at every third, since an idle node should be idle."""
        self.next_at = self._clock.monotonic() + KEEP_HOUSE_S
        self._passes += 1
        thorough = self._passes % THOROUGH == 1
        if thorough and self._do_chores():
            self.next_at = self._clock.monotonic() + SOON_S
            self._passes = 0
        if self._keeper.do_what_is_due():
            self._reap()
        if not thorough:
            return
        for _ in range(SWEEPS_IN_A_ROW):
            if not self._keeper.do_what_is_due() or not self._sweep():
                break

    def _sweep(self) -> bool:
        """One slice; whether there was something to do."""
        done = self._keeper.apart(
            self._keeper.kept(), lambda some: self._broker.sweep(some, SWEEP_LIMIT)
        )
        return any(done)

    def _do_chores(self) -> bool:
        """All of them, whatever one comes to; whether there was something to do."""
        found = False
        for chore in self._chores:
            try:
                found |= chore()
            except BrokerUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  the house is to be kept all the same
                self._keeper.noticed(error)
        return found

    def _reap(self) -> None:
        nodes = self._broker.nodes()
        self._keeper.met(nodes)
        others = [node for node in nodes if node.id != self._me()]
        dead = self._proven_dead(others)
        # Theirs too: nobody else may serve them, and once forgotten nobody could prove the death.
        theirs = {queue for node in others if node.id in dead for queue in node.queues}
        kept = self._keeper.kept()
        queues = [*kept, *theirs.difference(kept)]
        taken = self._keeper.apart(queues, lambda some: self._broker.reap(some, REAP_LIMIT, dead))
        count = sum(taken)
        now = self._clock.monotonic()
        self.next_at = min(self.next_at, now + next_lapse(others))
        if count:
            self._events.emit(JobsReturned(count=count, why="their node is gone"))
            self.next_at = now


def next_lapse(nodes: Sequence[NodeInfo]) -> float:
    """Seconds until the first of their leases runs out, unless its node beats again."""
    left = (node.lease - node.seen_ago for node in nodes)
    return min((seconds + LAPSE_S for seconds in left if seconds > 0), default=inf)
