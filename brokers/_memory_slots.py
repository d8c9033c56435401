"""What the memory broker remembers of the schedules of one queue. Called under the broker's lock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from math import inf

from taskrunner.brokers._memory_job import Job
from taskrunner.brokers.base import (
    FIRINGS_KEPT,
    GONE_FOR,
    KNOWN_FOR,
    Fired,
    SlotRecord,
    Tick,
    Ticked,
    TickKind,
)
from taskrunner.states import State


@dataclass(slots=True)
class _Remembered:
    last: float = 0.0
    revision: int = 0
    wall: float | None = None
    zone: str = ""
    last_job: str = ""
    forget_at: float = inf
    firings: deque[Fired] = field(default_factory=lambda: deque(maxlen=FIRINGS_KEPT))
    """the newest first"""
    by_hand: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=FIRINGS_KEPT))
    """id and call"""


class SlotBook:
    """The last slot of each schedule, and what became of the newest ones."""

    def __init__(self) -> None:
        self._of: dict[str, _Remembered] = {}

    def record(self, schedule: str, firings: int) -> SlotRecord:
        known = self._of.get(schedule, _Remembered())
        return SlotRecord(known.last, known.revision, tuple(islice(known.firings, firings)))

    def last_job(self, schedule: str) -> str:
        return self._of.get(schedule, _Remembered()).last_job

    def refusal(self, tick: Tick, now: float) -> Ticked | None:
        """Why the slot cannot be claimed; None: it can."""
        known = self._of.get(tick.schedule, _Remembered())
        if tick.slot is None:
            return None
        if tick.revision < known.revision or abs(now - tick.known_at) > KNOWN_FOR:
            return Ticked(TickKind.STALE, known.last)
        if tick.slot <= known.last or _is_same_time(tick, known):
            return Ticked(TickKind.TAKEN, known.last)
        if tick.due > now:
            return Ticked(TickKind.EARLY, known.last, tick.due - now)
        return None

    def claim(self, tick: Tick, kind: TickKind, now: float) -> Ticked:
        """Remember what a tick came to."""
        self._forget_old(now)
        known = self._of.setdefault(tick.schedule, _Remembered())
        known.forget_at = inf
        job_id = tick.message.id if kind is TickKind.SUBMITTED else ""
        if tick.slot is not None:
            known.last, known.revision = tick.slot, tick.revision
            known.wall, known.zone = tick.wall, tick.zone
        if job_id:
            known.last_job = job_id
        who = tick.message.id, tick.message.call
        if tick.slot is not None or who not in known.by_hand:  # else it is a repeat
            known.firings.appendleft(Fired(tick.slot, now, kind, job_id))
        if tick.slot is None:
            known.by_hand.append(who)
        return Ticked(kind, known.last)

    def close(self, schedule: str, revision: int, *, gone: bool, now: float) -> float:
        self._forget_old(now)
        known = self._of.setdefault(schedule, _Remembered())
        known.revision = max(known.revision, revision)
        known.forget_at = now + GONE_FOR if gone else inf
        return known.last

    def conclude(self, job: Job, state: State, now: float) -> None:
        """The job of a firing has ended, if that is still remembered."""
        known = self._of.get(job.schedule, _Remembered())
        for at, fired in enumerate(known.firings):
            if fired.job_id == job.id:
                known.firings[at] = fired._replace(state=state, ended_at=now)
                return

    def _forget_old(self, now: float) -> None:
        for schedule in [name for name, known in self._of.items() if known.forget_at <= now]:
            del self._of[schedule]


def _is_same_time(tick: Tick, known: _Remembered) -> bool:
    """Whether its local time is not later than that of the last slot, in the same zone."""
    walls = tick.wall, known.wall
    return None not in walls and tick.zone == known.zone and (tick.wall or 0) <= (known.wall or 0)
