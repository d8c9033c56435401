"""The part of the broker seam that schedules need: claiming slots, and remembering what was fired.

    tick(slot, message)   claimed? ──no──▶ TAKEN, STALE, EARLY: nothing happens
                             │ yes
                             ├─▶ a job, like any other     SUBMITTED
                             └─▶ none                      OVERLAP, DUPLICATE

A slot is a time at which a schedule falls due. It is claimed, in the queue of its job, in the same
step that stores the job: so each is submitted once, whoever and how many ask, with no leader.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from taskrunner.message import Message
from taskrunner.states import State

KNOWN_FOR: Final = 60.0
"""Seconds for which a node may act on what it has read of a schedule."""

FIRINGS_KEPT: Final = 50
"""How many of a schedule's firings are remembered, the newest."""

GONE_FOR: Final = 7 * 86_400.0
"""Seconds for which the slots of a schedule are remembered that is gone from a queue."""


class Tick(NamedTuple):
    """A wish to submit the job of a slot. Moments by the store's clock, to the millisecond."""

    schedule: str
    message: Message
    """the slot is claimed in its queue"""
    slot: float | None
    """None: triggered by hand; no slot is claimed, and nothing below counts"""
    due: float = 0.0
    """not before"""
    revision: int = 0
    """of the schedule, as the node knows it"""
    known_at: float = 0.0
    """when the node last made sure of that"""
    wall: float | None = None
    """of a fixed local time, that time as a number: it too must be later than the last slot's"""
    zone: str = ""
    """`wall` counts against a slot of the same zone only"""
    skip_overlap: bool = False
    """submit nothing while the last job of the schedule is unfinished"""


class TickKind(IntEnum):
    """What a tick came to."""

    SUBMITTED = 0
    OVERLAP = 1
    """the slot is claimed, and nothing submitted: the last job is unfinished"""
    DUPLICATE = 2
    """the slot is claimed, and nothing submitted: an unfinished job has this id"""
    TAKEN = 3
    """that slot, or a later one, was claimed before"""
    EARLY = 4
    """it is not due yet"""
    STALE = 5
    """there is a newer revision, or what the node knows is older than KNOWN_FOR"""
    FULL = 6
    """the store has no room for a job"""
    AWAY = 7
    """its part of the store is away: nobody knows"""


CLAIMED: Final = frozenset({TickKind.SUBMITTED, TickKind.OVERLAP, TickKind.DUPLICATE})


class Ticked(NamedTuple):
    """The answer to a tick."""

    kind: TickKind
    last: float = 0.0
    """the last slot claimed, this one included; 0: none was"""
    wait: float = 0.0
    """EARLY: seconds from now until it is due"""


class Fired(NamedTuple):
    """One firing of a schedule, as it is remembered."""

    slot: float | None
    """None: triggered by hand"""
    at: float
    kind: TickKind
    job_id: str
    """empty where nothing was submitted"""
    state: State | None = None
    """how the job has ended; None: it has not yet"""
    ended_at: float | None = None


class SlotRecord(NamedTuple):
    """What a queue remembers of a schedule."""

    last: float = 0.0
    """the last slot that was claimed; 0: none"""
    revision: int = 0
    """ticks of an older one are STALE"""
    firings: Sequence[Fired] = ()
    """the newest first"""


class KeepsSlots(ABC):
    """What a broker does for schedules. Every call may be repeated, like all others."""

    @abstractmethod
    def tick(self, ticks: Sequence[Tick]) -> list[Ticked]:
        """Claim slots and submit their jobs, each in one step; one answer each, in order.

        A slot that is not later than the last one of its schedule is TAKEN, however old, whatever
        has become of its job. A claim is remembered as long as the schedule is not gone. A tick
        that is repeated is TAKEN; one by hand is SUBMITTED again, and still one job. Where a part
        of the store is away its ticks are AWAY, in the answer of a PartlyUnavailable.
        """

    @abstractmethod
    def slots(self, queue: str, schedules: Sequence[str], *, firings: int = 0) -> list[SlotRecord]:
        """What is remembered of these schedules, with up to so many firings each; empty records
        for those that were never heard of."""

    @abstractmethod
    def close_slots(self, queue: str, schedule: str, revision: int, *, gone: bool = False) -> float:
        """From now on ticks of an older revision are STALE; the last slot that was claimed.

        Rings SCHEDULE for everybody. `gone`: the schedule is no more, or is of another queue now:
        what is remembered of it may be forgotten after GONE_FOR.
        """
