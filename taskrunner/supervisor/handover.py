"""Jobs that come with a bell, before they are asked for.

    store ── HANDED bell ──▶ fetch thread ── take ──▶ dispatcher
    store ── held ─────────▶ scheduler thread ── strays ──▶ given back

A bell may be lost, and the store believes all the same that the job is here: whoever compares both gives
it back. So a bell that comes late must find out that its job is somebody else's by now, and one that
has just been taken must not be given back: both happen under one lock. A fetch whose answer was
lost, asked again, answers what a bell has brought meanwhile, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from taskrunner.brokers.base import Delivery, JobKey

REMEMBERED = 10_000
"""Numbers of deliveries."""

Held = tuple[JobKey, int]
"""A job that the store believes to be here, and the number of its delivery."""


class Handover:
    """Which deliveries have been taken, or given back, without the other way of theirs. Thread-safe."""

    def __init__(self, accept: Callable[[Sequence[Delivery]], None]) -> None:
        self._accept = accept
        self._lock = threading.Lock()
        self._known: dict[int, None] = {}
        """their numbers, which a node never uses twice; the oldest first"""

    def take(self, delivery: Delivery) -> None:
        """A bell brought this."""
        with self._lock:
            if delivery.number not in self._known:
                self._remember(delivery.number)
                self._accept([delivery])

    def fresh(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those of a repeated fetch that no bell has brought, and none will."""
        with self._lock:
            found = [one for one in deliveries if one.number not in self._known]
            for one in found:
                self._remember(one.number)
            return found

    def strays(self, held: Sequence[Held], ours: Callable[[], set[int]]) -> list[Held]:
        """Of what the store believes to be here what is not. From here on it is given back: its bell,
        should it still come, is for nothing."""
        with self._lock:
            mine = ours()
            found = [(key, number) for key, number in held if number not in mine]
            for _, number in found:
                self._remember(number)
            return found

    def _remember(self, number: int) -> None:
        self._known[number] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
