"""Children beyond those that were asked for, while all wait for the results of other jobs.

A job that waits for another holds its process and leaves its slot. When every process waits so, nobody
is left to run what they wait for: then one more is started, and let go when it has been idle for a
while. Main thread only.
"""

from __future__ import annotations

from typing import Protocol

from taskrunner.clock import Clock
from taskrunner.frames import Kind
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher

MOST_EXTRA = 8
"""Children started beyond `processes` while all wait for results."""
EXTRA_IDLE_S = 2.0

_LIVE = (Phase.STARTING, Phase.READY)


class Children(Protocol):
    """Those of a node."""

    @property
    def children(self) -> list[Child]: ...
    def start(self, *, extra: bool) -> Child | None: ...


class Extras:
    """Counts who waits."""

    def __init__(self, pool: Children, *, clock: Clock, dispatcher: Dispatcher) -> None:
        self._pool = pool
        self._clock = clock
        self._dispatcher = dispatcher

    def blocked(self, child: Child, number: int, is_blocked: bool) -> None:
        """A job of this child waits for the result of another, or does not any more."""
        if not is_blocked:
            self._dispatcher.unblocked(child, number)
            return
        if number in child.held:
            child.blocked.add(number)
        self._dispatcher.rebalance()
        if self._all_wait() and not self._start_one():
            child.channel.send(Kind.DEADLOCK, number)

    def _all_wait(self) -> bool:
        """Every child that could still run something waits for a result."""
        live = [child for child in self._pool.children if child.phase in _LIVE]
        return bool(live) and all(child.is_blocked for child in live)

    def _start_one(self) -> bool:
        """One more, while there are not too many."""
        if sum(c.extra and c.phase in _LIVE for c in self._pool.children) >= MOST_EXTRA:
            return False
        self._pool.start(extra=True)
        return True

    def look(self) -> None:
        """Let extra children go when they have been idle for a while; start one where all wait (it
        may have been on its way out when the last of them began to)."""
        if self._all_wait():
            self._start_one()
        now = self._clock.monotonic()
        children = self._pool.children
        free = any(not child.is_blocked and not child.extra for child in children)
        for child in children:
            idle = child.extra and child.phase is Phase.READY and now - child.busy_at > EXTRA_IDLE_S
            if idle and free and self._dispatcher.dismiss_idle(child, Phase.STOPPING):
                child.channel.send(Kind.STOP)
