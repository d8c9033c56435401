"""Time limits and cancels: an interrupt first, the child's death after the grace period."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from taskrunner.brokers.base import JobKey, Note
from taskrunner.clock import Clock
from taskrunner.frames import Kind, Why
from taskrunner.supervisor.child import Child, Held, Phase

NOTE_AFTER_S = 0.02
"""How long a run lasts before its start is written down; a shorter one is told by its settle."""


class TimeLimits:
    """Looks at the start pages. Main thread only."""

    def __init__(
        self,
        *,
        grace_s: float,
        clock: Clock,
        kill: Callable[[Child], None],
        note: Callable[[str, Note], None],
    ) -> None:
        self._grace_s = grace_s
        self._clock = clock
        self._kill = kill
        self._note = note

    def check(self, children: Iterable[Child]) -> None:
        """One look at everything that runs."""
        now = self._clock.monotonic()
        for child in children:
            if child.phase in (Phase.READY, Phase.STOPPING) and child.held:
                for held, started in list(child.running()):
                    self._check(child, held, started, now)

    def cancel(self, children: Iterable[Child], key: JobKey, number: int | None) -> None:
        """Cancel a delivery of this job, whether it runs or waits in a child."""
        for child in children:
            for held in list(child.held.values()):
                delivery = held.delivery
                if (delivery.queue, delivery.id) == key and number in (None, delivery.number):
                    self._interrupt(child, held, Why.CANCEL, self._clock.monotonic())

    def _check(self, child: Child, held: Held, started: float, now: float) -> None:
        if not held.noted and now - started > NOTE_AFTER_S:
            held.noted = True
            self._note(held.delivery.node, note(child, held, now - started))
        if held.interrupted is not None:
            self._press(child, held, started, now)
            return
        deadline = held.deadline()
        if held.limit is not None and now - started >= held.limit:
            self._interrupt(child, held, Why.TIMEOUT, now)
        elif deadline is not None and now >= deadline:
            self._interrupt(child, held, Why.DEADLINE, now)

    def _interrupt(self, child: Child, held: Held, why: Why, now: float) -> None:
        if held.interrupted is None:
            held.interrupted = (why, now)
        child.channel.send(Kind.INTERRUPT, held.delivery.number, int(why))

    def _press(self, child: Child, held: Held, started: float, now: float) -> None:
        """It was asked to stop; the grace counts from the asking, or from a start after that."""
        assert held.interrupted is not None
        why, at = held.interrupted
        if now - max(at, started) >= self._grace_s:
            child.killed_for = (held.delivery.number, why)
            self._kill(child)


def note(child: Child, held: Held, ago: float, progress: bytes | None = None) -> Note:
    delivery = held.delivery
    return Note(delivery.queue, delivery.id, delivery.number, child.pid, ago, progress)
