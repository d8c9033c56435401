"""The states of a job and the changes that are allowed between them.

`TRANSITIONS` is the one table: brokers obey it, the conformance suite checks it, docs/states.md
draws it. A state is stored by its name.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from taskrunner.errors import IllegalTransition


class State(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    """waits for its time"""
    PENDING = "pending"
    """ready: any node that serves its queue may take it"""
    WAITING = "waiting"
    """parked: by a limit, a task that no node knows, a group or another job"""
    ACTIVE = "active"
    """delivered to a node; `started_at` says whether it runs"""
    RETRYING = "retrying"
    """failed at least once and waits for its next run"""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """the dead letter: kept with its reason until retention or an operator removes it"""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """nobody started it in time"""


FINISHED: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})
"""Final states: nothing runs any more unless an operator asks for it."""

UNFINISHED: Final = frozenset(State) - FINISHED

IDLE: Final = UNFINISHED - {State.ACTIVE}
"""Unfinished and held by no node: these can be cancelled on the spot."""

TRANSITIONS: Final = MappingProxyType(
    {
        State.SCHEDULED: frozenset({State.PENDING, State.CANCELLED, State.EXPIRED}),
        State.PENDING: frozenset(
            # The last two: a node that was thought lost settles a job that nobody has taken since.
            {State.ACTIVE, State.WAITING, State.CANCELLED, State.EXPIRED}
            | {State.SUCCEEDED, State.FAILED, State.RETRYING}
        ),
        State.WAITING: frozenset(
            {State.PENDING, State.ACTIVE, State.CANCELLED, State.EXPIRED, State.FAILED}
        ),
        State.ACTIVE: frozenset({State.PENDING, State.WAITING, State.RETRYING} | FINISHED),
        State.RETRYING: frozenset({State.PENDING, State.CANCELLED, State.EXPIRED}),
        # Only an operator moves a finished job: back to the queue, or out of the store.
        State.SUCCEEDED: frozenset(),
        State.FAILED: frozenset({State.PENDING}),
        State.CANCELLED: frozenset({State.PENDING}),
        State.EXPIRED: frozenset({State.PENDING}),
    }
)


def check_transition(before: State, after: State) -> None:
    """Raise IllegalTransition, naming both ends, unless a job may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(TRANSITIONS[before])) or "nothing"
        raise IllegalTransition(
            f"a job cannot go from {before} to {after}; from {before} it may go to: {allowed}"
        )
