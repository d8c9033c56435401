"""What children report, for whoever counts runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from taskrunner.brokers.base import OutcomeKind
from taskrunner.events import Events, Ran
from taskrunner.supervisor.child import Child

_WORDS: Final = {
    OutcomeKind.SUCCEEDED: "succeeded",
    OutcomeKind.FAILED: "failed",
    OutcomeKind.RETRY: "retrying",
    OutcomeKind.RELEASED: "released",
    OutcomeKind.CANCELLED: "cancelled",
    OutcomeKind.EXPIRED: "expired",
    OutcomeKind.PARKED: "waiting",
}


def teller(events: Events) -> Callable[[Child, list[list[Any]]], None] | None:
    """What tells of runs; None where nobody counts them."""
    count = events.count_runs
    if count is None:
        return None

    def tell(child: Child, rows: list[list[Any]]) -> None:
        found = ((child.held.get(row[2]), row) for row in rows if row[4])
        runs = [
            Ran(
                queue=held.delivery.queue,
                task=held.task,
                job_id=held.delivery.id,
                outcome=_WORDS[row[3]],
                seconds=row[5],
                is_first=held.delivery.attempts == 0,
            )
            for held, row in found
            if held is not None
        ]
        if runs:
            count(runs)

    return tell
