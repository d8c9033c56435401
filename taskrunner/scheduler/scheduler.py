"""The scheduler thread: sleeps until the first due time, promotes what is due, keeps house.

Any number of nodes do this at once: each step is atomic in the store. Times are asked of the store
as waits, so this machine's clock may be wrong. The heap is fed by looks at the next few seconds and
by bells; what is further away stays in the store and costs nothing here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol, TypeVar

from taskrunner.brokers.base import Broker, NodeInfo
from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import Events, JobsReturned
from taskrunner.scheduler.heap import DueHeap
from taskrunner.service import Mishaps, ServiceThread, apart

LOOK_S = 2.5
"""How often the store is asked what falls due; the horizon of the heap is twice that."""
KEEP_HOUSE_S = 5.0
THOROUGH = 3
DUE_LIMIT = 64
PROMOTE_LIMIT = 500
REAP_LIMIT = 500
SWEEP_LIMIT = 500
SWEEPS_IN_A_ROW = 20
LAPSE_S = 0.05
"""How long after the end of a lease it is looked at: the store counts whole milliseconds."""
SOON_S = 1.0
"""When a chore that found something to do is done again."""

T = TypeVar("T")


class Member(Protocol):
    """This node's place in the store, as far as the scheduler needs it."""

    @property
    def id(self) -> str: ...
    def kept(self) -> list[str]:
        """Queues in which it keeps house."""
        ...


class SchedulerService:
    """One thread. `proven_dead` judges the nodes of this host; `chores` are done at each thorough
    pass, and answer whether there was something to do."""

    def __init__(
        self,
        *,
        broker: Broker,
        member: Member,
        proven_dead: Callable[[list[NodeInfo]], list[str]],
        failed: Callable[[BrokerUnavailable], None],
        chores: Sequence[Callable[[], bool]],
        clock: Clock,
        events: Events,
        mishaps: Mishaps,
    ) -> None:
        self._broker = broker
        self._member = member
        self._proven_dead = proven_dead
        self._failed = failed
        self._chores = chores
        self._clock = clock
        self._events = events
        self._heap = DueHeap()
        self._poked: set[str] = set()
        self._next_look = clock.monotonic()
        self._next_house = clock.monotonic()
        self._condition = threading.Condition()
        self._hurried = False
        self._passes = 0
        self._mishaps = mishaps
        self.thread = ServiceThread("scheduler", self._pass, mishaps)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.thread.stopping.set()
        with self._condition:
            self._condition.notify_all()
        self.thread.join()

    @property
    def _stopping(self) -> bool:
        return self.thread.stopping.is_set()

    def poke(self, queue: str) -> None:
        """Something in this queue may fall due sooner than is known. Any thread."""
        with self._condition:
            self._poked.add(queue)
            self._condition.notify_all()

    def hurry(self) -> None:
        """Look what falls due, and keep house, now. Any thread."""
        with self._condition:
            self._next_look = self._next_house = self._clock.monotonic()
            self._passes = 0
            self._hurried = True
            self._condition.notify_all()

    def _pass(self) -> None:
        try:
            self.run_once()
        except BrokerUnavailable as error:
            self._failed(error)
            self._next_look = self._clock.monotonic() + 1.0
        self._sleep()

    def _sleep(self) -> None:
        times = [self._next_look, self._next_house]
        if (first := self._heap.first()) is not None:
            times.append(first)
        with self._condition:
            wait = max(0.0, min(times) - self._clock.monotonic())
            self._condition.wait_for(lambda: self._stopping or self._poked or self._hurried, wait)
            self._hurried = False

    def run_once(self) -> None:
        """Look, promote, keep house: each if it is time."""
        now = self._clock.monotonic()
        with self._condition:
            poked, self._poked = self._poked, set()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look(self._member.kept())
        elif poked:
            self._look(sorted(poked))
        self._promote()
        if now >= self._next_house:
            self._next_house = now + KEEP_HOUSE_S
            self._keep_house(self._member.kept())

    def _look(self, queues: list[str]) -> None:
        asked = self._clock.monotonic()
        for part in self._apart(queues, lambda some: self._broker.due(some, 2 * LOOK_S, 1)):
            for due in part:
                self._heap.add(due.queue, asked + due.wait)

    def _promote(self) -> None:
        queues = self._heap.pop_due(self._clock.monotonic())
        if not queues:
            return
        self._apart(queues, lambda some: self._broker.promote(some, PROMOTE_LIMIT))
        self._look(queues)

    def _keep_house(self, queues: list[str]) -> None:
        """Lost nodes at every pass; the rest at every third, since an idle node should be idle."""
        self._passes += 1
        thorough = self._passes % THOROUGH == 1
        if thorough and self._do_chores():
            self._next_house = self._clock.monotonic() + SOON_S
            self._passes = 0
        self._reap(queues)
        if not thorough:
            return
        for _ in range(SWEEPS_IN_A_ROW):
            if self._stopping or not any(
                self._apart(queues, lambda some: self._broker.sweep(some, SWEEP_LIMIT))
            ):
                break

    def _do_chores(self) -> bool:
        """All of them, whatever one comes to; whether there was something to do."""
        found = False
        for chore in self._chores:
            try:
                found |= chore()
            except BrokerUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  the house is to be kept all the same
                self._mishaps.noticed(self.thread.name, error)
        return found

    def _reap(self, queues: list[str]) -> None:
        mine = self._member.id
        others = [node for node in self._broker.nodes() if node.id != mine]
        dead = self._proven_dead(others)
        # Theirs too: nobody else may serve them, and once forgotten nobody could prove the death.
        theirs = {queue for node in others if node.id in dead for queue in node.queues}
        queues = [*queues, *theirs.difference(queues)]
        count = sum(self._apart(queues, lambda some: self._broker.reap(some, REAP_LIMIT, dead)))
        now = self._clock.monotonic()
        self._next_house = min(self._next_house, now + next_lapse(others))
        if count:
            self._events.emit(JobsReturned(count=count, why="their node is gone"))
            self._next_house = now

    def _apart(self, queues: Sequence[str], do: Callable[[Sequence[str]], T]) -> list[T]:
        """One round trip; more only where a queue is bad, so that it stops no other."""
        return apart(queues, do, lambda error: self._mishaps.noticed(self.thread.name, error))


def next_lapse(nodes: Sequence[NodeInfo]) -> float:
    """Seconds until the first of their leases runs out, unless its node beats again."""
    left = (node.lease - node.seen_ago for node in nodes)
    return min((seconds + LAPSE_S for seconds in left if seconds > 0), default=inf)
