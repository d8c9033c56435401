"""What operators may ask, from inside a task: both packings, as in `upcall`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskrunner.brokers.base import (
    ALWAYS,
    BrokerClient,
    Contents,
    JobKey,
    Page,
    Rewrite,
    ServesOperators,
    Span,
)
from taskrunner.errors import TaskrunnerError
from taskrunner.states import State


class DeskCalls(ServesOperators):
    """The child's side."""

    _ask: Callable[[str, Any], Any]

    def jobs(
        self, queue: str, state: State, cursor: str = "", *, limit: int = 100, span: Span = ALWAYS
    ) -> Page:
        rows, following = self._ask("jobs", [queue, str(state), cursor, limit, list(span)])
        return Page([JobKey(*row) for row in rows], following)

    def oldest(self, queues: Sequence[str]) -> list[float | None]:
        return list(self._ask("oldest", list(queues)))

    def requeue(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        return list(self._ask("requeue", [_lists(keys), only and str(only)]))

    def delete(self, keys: Sequence[JobKey], *, only: State | None = None) -> list[bool | None]:
        return list(self._ask("delete", [_lists(keys), only and str(only)]))

    def reschedule(
        self, keys: Sequence[JobKey], *, delay: float | None = None, eta: float | None = None
    ) -> list[bool | None]:
        return list(self._ask("reschedule", [_lists(keys), delay, eta]))

    def rewrite(self, changes: Sequence[Rewrite]) -> list[bool | None]:
        return list(
            self._ask("rewrite", [[row[0], row[1], *map(list, row[2:])] for row in changes])
        )


def answer_of_desk(broker: BrokerClient, method: str, value: Any) -> Any:
    """Do what a task asked; the supervisor's side. Raises whatever the broker does."""
    match method, value:
        case "jobs", [queue, state, cursor, limit, span]:
            page = broker.jobs(queue, State(state), cursor, limit=limit, span=Span(*span))
            return [_lists(page.keys), page.cursor]
        case "oldest", _:
            return broker.oldest(value)
        case "requeue", [keys, only]:
            return broker.requeue(_keys(keys), only=only and State(only))
        case "delete", [keys, only]:
            return broker.delete(_keys(keys), only=only and State(only))
        case "reschedule", [keys, delay, eta]:
            return broker.reschedule(_keys(keys), delay=delay, eta=eta)
        case "rewrite", rows:
            return broker.rewrite([_rewrite(*row) for row in rows])
        case _:
            raise TaskrunnerError(f"a child asked for {method!r}, which is not a call")


def _lists(keys: Sequence[JobKey]) -> list[list[str]]:
    return [list(key) for key in keys]


def _keys(rows: Any) -> list[JobKey]:
    return [JobKey(*row) for row in rows]


def _rewrite(queue: str, job_id: str, *contents: Any) -> Rewrite:
    before, after = (Contents._make([*found[:3], tuple(found[3])]) for found in contents)
    return Rewrite(queue, job_id, before, after)
