"""The node, kept free for one job that may take whole nodes down with it.

    fetched ─▶ clearing: nothing new starts, what waits here goes back to the store, what runs ends
            ─▶ noted: the store knows that this node runs that job alone
            ─▶ it runs, until it ends, or until a job here goes to wait for another one's result

A suspect that was lost with its node although it had a process of its own gets the next one all to
itself: when that is lost too, the job is charged with it, and nobody else can be. Where the node
does not become free in a minute it runs in a process of its own again, and is charged with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from taskrunner.brokers.base import LOSSES_OF_SUSPECTS, Note
from taskrunner.events import Events, NodeKeptFree
from taskrunner.supervisor.child import Child, Held
from taskrunner.supervisor.suspects import Suspects

CLEARING_S = 60.0
"""How long running jobs may keep a suspect from having the node to itself."""

Fits = Callable[[Child, Held], bool]
Confirm = Callable[[str, Note, Callable[[bool], None]], None]
"""Have the store write down a note, and tell whether it did."""


class Seclusion:
    """Used under the dispatcher's lock. `most`: the crash of this number ends a job."""

    def __init__(self, *, confirm: Confirm, most: int, events: Events) -> None:
        self._confirm = confirm
        self._most = most
        self._events = events
        self._awaited: Held | None = None
        self._since = 0.0
        self._is_asked = self._is_answered = self._is_noted = False
        self._given_up = 0
        self._running: Held | None = None
        self._waiters = 0

    @property
    def is_on(self) -> bool:
        """Nothing but the one job may start."""
        return self._awaited is not None or self._running is not None

    def bars(self, held: Held) -> bool:
        """Whether this job must not start like any other suspect."""
        delivery = held.delivery
        is_dangerous = delivery.suspect and delivery.losses > LOSSES_OF_SUSPECTS
        return is_dangerous and delivery.number != self._given_up

    def unless_barred(self, fits: Fits) -> Fits:
        return lambda child, held: fits(child, held) and not self.bars(held)

    def look(
        self,
        suspects: Suspects,
        children: Sequence[Child],
        now: float,
        *,
        fits: Fits,
        told: Callable[[Held, bool], None],
    ) -> bool:
        """Do for the suspect that is next what can be done now; whether everything else has to
        wait. `told` gets the answer to the note, in another thread."""
        if self._running is not None and self._goes_on(self._running, children):
            return True
        first = suspects.first
        if first is None or not self.bars(first):
            self._awaited = None
            return False
        if first is not self._awaited:
            suspects.reserve_none()
            self._begin(first, now)
        if not self._is_asked and _is_free(children):
            self._is_asked = True
            self._say(first, self._most, lambda is_noted: told(first, is_noted))
        if self._is_answered:
            self._seat(suspects, children, now, fits)
        elif now - self._since > CLEARING_S:
            self._give_up(first)
        return self.is_on

    def answered(self, held: Held, is_noted: bool) -> None:
        """The store has written down that this job is alone, or could not."""
        if held is self._awaited and self._is_asked:
            self._is_answered, self._is_noted = True, is_noted

    def _begin(self, first: Held, now: float) -> None:
        self._awaited, self._since = first, now
        self._is_asked = self._is_answered = self._is_noted = False
        delivery = first.delivery
        self._events.emit(NodeKeptFree(job_id=delivery.id, task=first.task, losses=delivery.losses))

    def _seat(self, suspects: Suspects, children: Sequence[Child], now: float, fits: Fits) -> None:
        held = suspects.waiting[0]
        open_ = (c for c in children if c.may_receive and not c.held and fits(c, held))
        if (child := next(open_, None)) is not None:
            child.give_alone(suspects.waiting.popleft(), now)
            # What could not be noted needs no node of its own.
            self._running = held if self._is_noted else None
            self._awaited = None
            self._waiters = _waiters(children)
        elif now - self._since > CLEARING_S:
            self._give_up(held)

    def _goes_on(self, running: Held, children: Iterable[Child]) -> bool:
        """Whether it runs, and runs alone. Who waits for another job needs somebody to run that, and
        who has waited goes on beside it."""
        if all(running.delivery.number not in child.held for child in children):
            self._running = None
        elif _waiters(children) != self._waiters:
            self._running = None
            self._say(running, 0, _nobody)
        return self._running is not None

    def _give_up(self, first: Held) -> None:
        self._awaited = None
        self._given_up = first.delivery.number
        self._say(first, 0, _nobody)

    def _say(self, held: Held, most: int, told: Callable[[bool], None]) -> None:
        delivery = held.delivery
        note = Note(delivery.queue, delivery.id, delivery.number, 0, 0.0, alone=most)
        self._confirm(delivery.node, note, told)


def _is_free(children: Iterable[Child]) -> bool:
    """Nothing runs; what waits for another job's result does nothing meanwhile."""
    return all(len(child.held) == len(child.blocked) for child in children)


def _waiters(children: Iterable[Child]) -> int:
    return sum(len(child.blocked) for child in children)


def _nobody(_is_noted: bool) -> None:
    """Nobody waits for this answer."""
