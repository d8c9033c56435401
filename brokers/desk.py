"""The part of the broker seam at which operators stand: pages of jobs, how long they wait, and changes by hand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final, NamedTuple

from taskrunner.brokers.contents import RewritesContents
from taskrunner.brokers.values import JobKey
from taskrunner.states import State

MOST_IN_A_PAGE: Final = 1000
"""However many a page is asked for."""
BY_TIME: Final = frozenset({State.SCHEDULED, State.RETRYING, State.FAILED})
"""States whose index is in the order of a time: when they fall due, when they failed."""


class Page(NamedTuple):
    """One slice of the jobs of a queue that are in one state."""

    keys: list[JobKey]
    """in the order of the index; may be fewer than asked for, none even, where more follow"""
    cursor: str
    """where the next slice begins; empty: this was the last"""


class Span(NamedTuple):
    """Moments from `since` to `until`, both included; None: no end on that side."""

    since: float | None = None
    until: float | None = None

    def holds(self, moment: float) -> bool:
        return (self.since is None or self.since <= moment) and (
            self.until is None or moment <= self.until
        )


ALWAYS: Final = Span()


class ServesOperators(RewritesContents):
    """Looking through the jobs of a queue, and changing what becomes of them.

    The changes answer for each key: True, it is done; False, the job is in a state in which that is
    not possible (or not in `only`, where that is given: the state is tested in the step that
    changes it); None, there is no record. They work in a full store.
    """

    @property
    def round_trips(self) -> int | None:
        """How often this process has asked the store, whatever for; None: there is nobody to ask, or
        nobody counts."""
        return None

    @abstractmethod
    def jobs(
        self, queue: str, state: State, cursor: str = "", *, limit: int = 100, span: Span = ALWAYS
    ) -> Page:
        """Up to `limit` (at most MOST_IN_A_PAGE) keys of jobs in this state, from where a cursor
        says.

        Pending ones in the order in which they would be taken, waiting ones by when they give up,
        scheduled and retrying ones by when they fall due, active ones by node; of finished ones
        those come first that failed last, or will be kept longest. A job that stays where it is
        while the pages are turned is on one of them; one that moves meanwhile may be on two, or on
        none. `span` leaves out those of BY_TIME whose time is outside; it may be given for these
        alone. Raises OptionError for a cursor that this queue and state did not answer.
        """

    @abstractmethod
    def oldest(self, queues: Sequence[str]) -> list[float | None]:
        """For each queue, of the ready jobs that come next in their priority, how many seconds ago
        the one that has waited longest was submitted or fell due; None: none is ready."""

    @abstractmethod
    def requeue(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        """Make jobs pending, at the end of their priority.

        Those that failed, were cancelled or have expired begin anew: their failures, crashes and
        losses count from nothing, a cancel mark, a result, and an `expires` or `deadline` that has
        passed are gone; attempts and errors stay. The last delivery, if it was never settled, is
        fenced from now on. Scheduled and retrying ones fall due now; of all
        of them that is their time. Pending ones are as they
        should be: True. Those that run, wait under a key or succeeded are left alone, and a unique
        one whose key another job has by now.
        """

    @abstractmethod
    def delete(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        """Remove finished and idle jobs and everything kept of them; an active one is not touched.
        Who waits for one is rung. An idle one ends as cancelled by that, and calls about it can be
        repeated for a while, as after any other end."""

    @abstractmethod
    def reschedule(
        self, keys: Sequence[JobKey], *, delay: float | None = None, eta: float | None = None
    ) -> list[bool | None]:
        """Have scheduled and retrying jobs fall due `delay` seconds from now, or at `eta`: one of
        the two is given. Nodes hear of it where that is sooner than all else."""
