"""What operators ask of Redis: `desk.ServesOperators`, each method as one round trip of scripts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from taskrunner.brokers.base import (
    ALWAYS,
    BY_TIME,
    MOST_IN_A_PAGE,
    JobKey,
    Page,
    Rewrite,
    ServesOperators,
    Span,
)
from taskrunner.brokers.redis import replies
from taskrunner.brokers.redis.batches import RewriteRow
from taskrunner.brokers.redis.calls import Calls
from taskrunner.brokers.redis.scripts import Command, Scripts
from taskrunner.errors import OptionError
from taskrunner.states import State

_CURSORS: Final = {State.PENDING: r"\d \d{1,12} .", State.ACTIVE: r"\d{1,18} ."}
_TIMED_CURSOR: Final = r"-?\d{1,16}(\.\d{1,17})?(e\+?\d{1,2})? ."
_MEANING: Final = {1: True, 0: False, -1: None}


class Desk(ServesOperators):
    """A page of jobs, and what is done to each."""

    _calls: Calls
    _scripts: Scripts

    def jobs(
        self, queue: str, state: State, cursor: str = "", *, limit: int = 100, span: Span = ALWAYS
    ) -> Page:
        if span != ALWAYS and state not in BY_TIME:
            raise OptionError(f"span={span!r}: {state} jobs are not kept by a time")
        if cursor and not re.match(_CURSORS.get(state, _TIMED_CURSOR), cursor, re.DOTALL):
            raise OptionError(f"cursor {cursor!r}: expected one that a page answered")
        ask = self._scripts.jobs(
            queue,
            state=state,
            cursor=cursor.encode(errors="surrogateescape"),
            limit=min(max(1, limit), MOST_IN_A_PAGE),
            span=["" if moment is None else round(1000 * moment, 3) for moment in span],
        )
        (answer,) = self._calls.run([ask])
        following, *ids = answer
        keys = [JobKey(queue, replies.text(found)) for found in ids]
        return Page(keys, following.decode(errors="surrogateescape"))

    def oldest(self, queues: Sequence[str]) -> list[float | None]:
        partly = self._calls.partly()
        found = self._calls.results([self._scripts.oldest(queue) for queue in queues])
        return partly.whole(
            [
                answer[0] / 1000 if partly.answered(answer, queue) and answer else None
                for queue, answer in zip(queues, found, strict=True)
            ]
        )

    def requeue(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        return self._each(keys, lambda q, ids: self._scripts.requeue(q, only=only or "", ids=ids))

    def delete(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        return self._each(keys, lambda q, ids: self._scripts.delete(q, only=only or "", ids=ids))

    def reschedule(
        self, keys: Sequence[JobKey], *, delay: float | None = None, eta: float | None = None
    ) -> list[bool | None]:
        at_ms = "" if eta is None else round(1000 * eta, 3)
        after_ms = round(1000 * (delay or 0.0), 3)
        return self._each(
            keys,
            lambda q, ids: self._scripts.reschedule(q, at_ms=at_ms, after_ms=after_ms, ids=ids),
        )

    def rewrite(self, changes: Sequence[Rewrite]) -> list[bool | None]:
        return self._calls.by_row(
            [RewriteRow.of(change) for change in changes],
            lambda queue, blob: self._scripts.rewrite(queue, rows=blob.packed),
            _MEANING.__getitem__,
            absent=None,
        )

    def _each(
        self, keys: Sequence[JobKey], call: Callable[[str, Sequence[str]], Command[Any]]
    ) -> list[bool | None]:
        return self._calls.by_id(keys, call, lambda _, answer: _MEANING[answer], absent=None)
