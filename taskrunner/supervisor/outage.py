"""How a service thread meets a broker that is away: repeat, back off, say so once.

Of a store of several servers a part may be away: see `reachable`. Its queues are away from the first
call that fails for them until a beat, which goes to every queue, has reached them.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable
from taskrunner.events import BrokerBack, BrokerLost, Events, QueuesBack, QueuesLost

FIRST_S = 0.05
MOST_S = 1.0

T = TypeVar("T")


class Outage:
    """What all threads of a node know together about the broker's absence."""

    def __init__(self, *, url: str, clock: Clock, events: Events) -> None:
        self._url = url
        self._clock = clock
        self._events = events
        self._lock = threading.Lock()
        self._since: float | None = None
        self.queues: frozenset[str] = frozenset()
        """those that are away while others are there"""
        self.returned = threading.Event()
        """set each time the broker came back, and where else the store may believe something to be
        here that is not; whoever reconciles clears it"""
        self.on_return: Callable[[], None] = lambda: None
        """called then, by the thread that found it back: to reconcile soon"""
        self.on_part: Callable[[], None] = lambda: None
        """called when queues are found away: to beat soon"""

    @property
    def is_on(self) -> bool:
        return self._since is not None

    def failed(self, error: BrokerUnavailable) -> None:
        with self._lock:
            if self._since is not None:
                return
            self._since = self._clock.monotonic()
        self._events.emit(BrokerLost(url=self._url, error=str(error)))

    def succeeded(self) -> None:
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            self.returned.set()
            self._events.emit(BrokerBack(away_s=self._clock.monotonic() - since))
            self.on_return()

    def partly(self, queues: frozenset[str], error: PartlyUnavailable) -> None:
        """A part of the store is away, with these queues of this node."""
        with self._lock:
            new = queues - self.queues
            self.queues |= new
        if new:
            self._events.emit(QueuesLost(queues=tuple(sorted(new)), error=str(error)))
            self.on_part()

    def beaten(self, away: frozenset[str]) -> None:
        """A beat has reached every queue but these."""
        if not self.queues:
            return
        with self._lock:
            back, self.queues = self.queues - away, away
        if back:
            self.returned.set()
            self._events.emit(QueuesBack(queues=tuple(sorted(back))))
            self.on_return()


class Persistent:
    """Repeats a call, as it was, until the broker answers or the service stops."""

    def __init__(self, outage: Outage, stopping: threading.Event) -> None:
        self._outage = outage
        self._stopping = stopping

    def call(self, do: Callable[[], T]) -> T | None:
        """The answer; None only when the service was stopped first."""
        wait = FIRST_S
        while True:
            try:
                answer = do()
            except BrokerUnavailable as error:
                self._outage.failed(error)
                # Full jitter: a fleet must not knock all at once.
                if self._stopping.wait(wait * (0.5 + random.random() / 2)):
                    return None
                wait = min(MOST_S, wait * 2)
            else:
                self._outage.succeeded()
                return answer
