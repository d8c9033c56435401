"""Pages of jobs, and what is done to one job or to all that a filter means, a slice at a time.

    filter ─▶ queues and states that hold jobs ─▶ pages of ids ─▶ records, where the filter needs them
                                                     └─────────▶ an action, in batches

A cursor says where the next slice begins: the queue, the state and the place in the index of that.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from taskrunner.brokers.base import BrokerClient, JobKey
from taskrunner.errors import JobNotFound, OptionError
from taskrunner.inspector.filters import JobFilter
from taskrunner.jobinfo import JobInfo
from taskrunner.options import Seconds, moment, seconds, wrong
from taskrunner.states import FINISHED, UNFINISHED, State
from taskrunner.submission import ride_out

if TYPE_CHECKING:
    from taskrunner.app import App

MOST_LOOKED_AT: Final = 1000
"""Entries of indexes in one slice: with a filter that fits few jobs, a slice may be short."""
MOST_IN_A_SLICE: Final = 1000


class JobAction(StrEnum):
    """What is done to jobs."""

    CANCEL = "cancel"
    RETRY = "retry"
    """begin anew what did not succeed; have what waits for a time fall due now"""
    DELETE = "delete"
    RESCHEDULE = "reschedule"


POSSIBLE: Final = {
    JobAction.CANCEL: UNFINISHED,
    JobAction.RETRY: (FINISHED - {State.SUCCEEDED}) | {State.SCHEDULED, State.RETRYING},
    JobAction.DELETE: frozenset(State) - {State.ACTIVE},
    JobAction.RESCHEDULE: frozenset({State.SCHEDULED, State.RETRYING}),
}
"""The states from which each action is possible."""

Change = Callable[[Sequence[JobKey], State | None], list[bool | None]]


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some of the jobs that a filter means."""

    jobs: tuple[JobInfo, ...]
    cursor: str
    """where the next page begins; empty: this was the last"""


@dataclass(frozen=True, slots=True)
class BulkSlice:
    """What one slice of a bulk action came to."""

    matched: int
    """jobs that the filter means"""
    done: int
    """of these, those that were changed; of a dry run none"""
    cursor: str
    """where the next slice begins; empty: this was the last"""


class _Place(NamedTuple):
    queue: str
    state: State
    inner: str | None = ""
    """in the index; None: behind all of it"""


class _Found(NamedTuple):
    state: State
    keys: list[JobKey]
    infos: list[JobInfo]
    """of the same jobs, where they were asked for"""
    cursor: str


class Jobs:
    """The jobs of one App's broker."""

    def __init__(self, app: App) -> None:
        self._app = app

    def page(self, wanted: JobFilter, *, cursor: str, limit: int) -> JobPage:
        """Raises OptionError, BrokerUnavailable."""
        if type(limit) is not int or not 1 <= limit <= MOST_IN_A_SLICE:
            raise wrong("limit", limit, f"a whole number from 1 to {MOST_IN_A_SLICE}")
        infos: list[JobInfo] = []
        for found in self._slices(wanted, cursor, limit, with_infos=True):
            infos += found.infos
            cursor = found.cursor
        return JobPage(tuple(infos), cursor)

    def act(self, action: JobAction, job_id: str, queue: str | None, change: Change) -> bool:
        """One job. Raises JobNotFound, AmbiguousJob, BrokerUnavailable."""
        key = JobKey(self._app.job(job_id, queue).queue, job_id)
        answer = ride_out(lambda: change([key], None)[0])
        if answer is None:
            raise JobNotFound(f"there is no job {job_id!r} in queue {key.queue}", job_id=job_id)
        return answer

    def bulk(
        self, action: JobAction, wanted: JobFilter, change: Change, *, dry_run: bool, cursor: str
    ) -> BulkSlice:
        """One slice. Raises OptionError, BrokerUnavailable."""
        matched = done = 0
        slices = self._slices(
            _possible(action, wanted), cursor, MOST_IN_A_SLICE, with_infos=wanted.looks_at_jobs
        )
        for found in slices:
            keys, state = found.keys, found.state
            if keys and not dry_run:
                answers = ride_out(lambda keys=keys, state=state: change(keys, state))  # type: ignore[misc]
                done += sum(answer is True for answer in answers)
            matched += len(keys)
            cursor = found.cursor
        return BulkSlice(matched, done, cursor)

    def change_for(
        self, action: JobAction, *, delay: Seconds | None = None, eta: datetime | None = None
    ) -> Change:
        """How an action is carried out. Raises OptionError where its time is missing or none is
        wanted."""
        broker = self._app.broker
        if action is not JobAction.RESCHEDULE and (delay, eta) != (None, None):
            raise OptionError(f"delay, eta: {action} takes neither")
        match action:
            case JobAction.CANCEL:
                return lambda keys, _: broker.cancel(keys)
            case JobAction.RETRY:
                return lambda keys, only: broker.requeue(keys, only=only)
            case JobAction.DELETE:
                return lambda keys, only: broker.delete(keys, only=only)
            case JobAction.RESCHEDULE:
                return _rescheduler(broker, delay, eta)

    # -- slices

    def _slices(
        self, wanted: JobFilter, cursor: str, limit: int, *, with_infos: bool
    ) -> Iterator[_Found]:
        """Until `limit` jobs are found or enough was looked at; the last one's cursor says where
        to go on. At least one."""
        broker, left, looked = self._app.broker, limit, 0
        if wanted.looks_at_jobs:
            limit = min(limit, MOST_LOOKED_AT)
        for place in self._places(wanted, _place(cursor)):
            queue, state, inner = place
            while inner is not None:
                asked = min(left, MOST_LOOKED_AT - looked)
                page = ride_out(
                    lambda asked=asked, queue=queue, state=state, inner=inner: broker.jobs(  # type: ignore[misc]
                        queue, state, inner, limit=asked, span=wanted.span_in(state)
                    )
                )
                found = self._read(page.keys, state, wanted, with_infos=with_infos)
                inner = page.cursor or None
                left -= len(found.keys)
                looked += asked if inner else len(page.keys)
                cursor = _cursor(place._replace(inner=inner))
                yield found._replace(cursor=cursor)
                if left <= 0 or looked >= MOST_LOOKED_AT:
                    return
        yield _Found(State.PENDING, [], [], "")

    def _read(
        self, keys: list[JobKey], state: State, wanted: JobFilter, *, with_infos: bool
    ) -> _Found:
        if not with_infos or not keys:
            return _Found(state, keys, [], "")
        records = ride_out(lambda: self._app.broker.get(keys))
        infos = [JobInfo(r, self._app) for r in records if r is not None and r.state is state]
        infos = [info for info in infos if wanted.fits(info)]
        return _Found(state, [JobKey(info.queue, info.id) for info in infos], infos, "")

    def _places(self, wanted: JobFilter, start: _Place | None) -> Iterator[_Place]:
        """Where jobs are that may be meant, from a place on. An empty index is not asked."""
        broker = self._app.broker
        queues = wanted.queues if wanted.queues is not None else ride_out(broker.queues)
        queues = [queue for queue in queues if start is None or queue >= start.queue]
        order = list(State)
        for stats in ride_out(lambda: broker.stats(queues)):
            for state in wanted.states:
                place = _Place(stats.queue, state)
                if start is not None and stats.queue == start.queue:
                    if order.index(state) < order.index(start.state):
                        continue
                    if state is start.state:
                        place = start
                if place.inner is not None and stats.counts.get(state, 0) > 0:
                    yield place


def _possible(action: JobAction, wanted: JobFilter) -> JobFilter:
    """Only the states from which the action is possible. Raises OptionError where it is from none
    that are named."""
    states = tuple(state for state in wanted.states if state in POSSIBLE[action])
    if not states:
        named = ", ".join(wanted.states)
        fitting = ", ".join(state for state in State if state in POSSIBLE[action])
        raise OptionError(f"state={named}: {action} is possible for jobs that are {fitting}")
    return replace(wanted, states=states)


def _rescheduler(
    broker: BrokerClient, delay: Seconds | None, eta: datetime | timedelta | None
) -> Change:
    if (delay is None) == (eta is None):
        raise OptionError("delay, eta: expected one of them, the new time")
    after = None if delay is None else seconds("delay", delay)
    at = None if eta is None else moment("eta", eta)
    return lambda keys, _: broker.reschedule(keys, delay=after, eta=at)


def _cursor(place: _Place) -> str:
    packed = json.dumps([place.queue, place.state, place.inner], separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def _place(cursor: str) -> _Place | None:
    """Raises OptionError for what no slice has answered."""
    if not cursor:
        return None
    try:
        packed = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        queue, state, inner = json.loads(packed)
        if not isinstance(queue, str) or not isinstance(inner, str | None):
            raise TypeError
        return _Place(queue, State(state), inner)
    except (ValueError, TypeError, RecursionError):
        raise OptionError(f"cursor={cursor[:80]!r}: expected one that a page answered") from None
