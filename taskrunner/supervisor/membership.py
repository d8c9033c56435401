"""This node's place in the store: its id, its queues, and what to do when the store forgets it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from taskrunner.brokers.base import Broker, NodeInfo
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable
from taskrunner.events import Events, NodeWasLost
from taskrunner.limits import Limit
from taskrunner.supervisor.identity import new_node
from taskrunner.supervisor.plan import Planner

DEFAULT_QUEUE = "default"
MOST_ORPHANS = 200
"""Queues that nobody serves which one node looks after."""


class Membership:
    """Thread-safe. `lost` is called by whichever thread hears of it first."""

    def __init__(
        self, *, broker: Broker, config: Config, planner: Planner, clock: Clock, events: Events
    ) -> None:
        self._broker = broker
        self._config = config
        self._planner = planner
        self._clock = clock
        self._events = events
        self._lock = threading.Lock()
        self._info = new_node(config, planner.queues, clock)
        self._shown = config.processes, 0
        self._orphans: tuple[str, ...] = ()
        self._unjoined: frozenset[str] = frozenset()
        """queues of a part of the store that was away"""
        self._limits: Mapping[str, Limit | None] = {}
        self._are_declared = True

    @property
    def info(self) -> NodeInfo:
        """This node as others see it, as it is now."""
        processes, busy = self._shown
        return replace(self._info, processes=processes, busy=busy)

    def shows(self, *, processes: int, busy: int) -> None:
        """What the next beat tells. Any thread."""
        self._shown = processes, busy

    @property
    def id(self) -> str:
        return self._info.id

    @property
    def planner(self) -> Planner:
        return self._planner

    def queues(self) -> list[str]:
        """Those that this node serves."""
        return self._planner.queues

    def kept(self) -> list[str]:
        """Those in which it keeps house: the ones it serves, and the ones that nobody does."""
        return [*self._planner.queues, *self._orphans]

    def declares(self, limits: Mapping[str, Limit | None]) -> None:
        """The limits that this node's code declares, by task. Any thread; `declare_limits` tells
        the store."""
        self._limits, self._are_declared = limits, False

    def declare_limits(self) -> bool:
        """Tell the store of limits where it does not know them; whether that was so. Raises
        BrokerUnavailable."""
        if self._are_declared or self._unjoined:
            return False
        self._are_declared = True
        try:
            self._broker.declare_limits(self._planner.queues, self._limits)
        except BrokerUnavailable:
            self._are_declared = False
            raise
        return True

    def join(self) -> None:
        """Announce this node in its queues. Raises BrokerUnavailable."""
        if self._config.queues is None:
            self._planner.add([DEFAULT_QUEUE, *self._broker.queues()])
        self._info = replace(self._info, queues=tuple(self._planner.queues))
        self._unjoined = self._join(self._info, self._planner.queues)

    def _join(self, info: NodeInfo, queues: Sequence[str]) -> frozenset[str]:
        """Join these queues; those that are away while others are there."""
        try:
            self._broker.join(info, queues)
            if set(queues) <= set(info.queues):
                self._broker.declare_limits(queues, self._limits)
        except PartlyUnavailable as error:
            self._are_declared = not self._limits
            return error.queues
        return frozenset()

    def join_rest(self) -> None:
        """Join the queues that were away, under the same id: else the first beat that reaches them
        would find this node unknown there. Raises PartlyUnavailable for those that still are."""
        with self._lock:
            if self._unjoined:
                try:
                    self._broker.join(self._info, sorted(self._unjoined))
                except PartlyUnavailable as error:
                    self._unjoined = error.queues
                    raise
                self._unjoined = frozenset()

    def refresh(self) -> bool:
        """Serve the queues that have appeared; True if there were any. Raises BrokerUnavailable."""
        if self._config.queues is not None:
            return False
        known = set(self._planner.queues)
        new = [queue for queue in self._broker.queues() if queue not in known]
        if not new:
            return False
        with self._lock:
            info = replace(self._info, queues=(*known, *new))
            self._unjoined |= self._join(info, new)
            self._info = info
            self._planner.add(new)
        return True

    def look_after_orphans(self) -> bool:
        """Keep house in queues of the namespace that no living node serves: jobs expire there, old
        ones go, and what a lost node held is taken back, so that whoever serves the queue next finds
        all of it ready. True if there are new ones. Raises BrokerUnavailable."""
        if self._config.queues is None:
            return False
        served = {queue for node in self._broker.nodes() for queue in node.queues}
        served.update(self._planner.queues)
        orphans = [queue for queue in self._broker.queues() if queue not in served][:MOST_ORPHANS]
        with self._lock:
            new = [queue for queue in orphans if queue not in self._orphans]
            if new:
                self._join(self._info, new)
            # One that is served again is left alone: without beats this node is forgotten there.
            self._orphans = tuple(orphans)
        return bool(new)

    def beat_among_orphans(self) -> None:
        """Without beats there no lease would ever run out. By `join`, which is one and is never
        NodeLost: what becomes of a queue that nobody serves must not cost this node its id. Raises
        BrokerUnavailable."""
        if self._orphans:
            self._join(self._info, self._orphans)

    def lost(self, node: str, disown: Callable[[str], None]) -> None:
        """The store took back what this id held: go on under a new one.

        What runs goes on, and settles under its old token where nobody has taken the job since.
        """
        with self._lock:
            if node != self._info.id:
                return
            self._events.emit(NodeWasLost())
            disown(node)
            info = new_node(self._config, self._planner.queues, self._clock)
            self._unjoined = self._join(info, self._planner.queues)
            self._info = info
