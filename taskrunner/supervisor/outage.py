"""How a service thread meets a broker that is away: repeat, back off, say so once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import BrokerBack, BrokerLost, Events

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
        self.returned = threading.Event()
        """set each time the broker came back, and where else the store may believe something to be
        here that is not; whoever reconciles clears it"""
        self.on_return: Callable[[], None] = lambda: None
        """called then, by the thread that found it back: to reconcile soon"""

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
