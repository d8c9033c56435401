"""This node's place in the store: its id, its queues, and what to do when the store forgets it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from taskrunner.brokers.base import Broker, NodeInfo
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.events import Events, NodeWasLost
from taskrunner.supervisor.identity import new_node
from taskrunner.supervisor.plan import Planner

DEFAULT_QUEUE = "default"


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

    @property
    def info(self) -> NodeInfo:
        return self._info

    @property
    def id(self) -> str:
        return self._info.id

    @property
    def planner(self) -> Planner:
        return self._planner

    def queues(self) -> list[str]:
        return self._planner.queues

    def join(self) -> None:
        """Announce this node in its queues. Raises BrokerUnavailable."""
        if self._config.queues is None:
            self._planner.add([DEFAULT_QUEUE, *self._broker.queues()])
        self._info = replace(self._info, queues=tuple(self._planner.queues))
        self._broker.join(self._info, self._planner.queues)

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
            self._broker.join(info, new)
            self._info = info
            self._planner.add(new)
        return True

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
            self._broker.join(info, self._planner.queues)
            self._info = info
