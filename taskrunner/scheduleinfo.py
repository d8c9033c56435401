"""What is known of a schedule at one moment, as users see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from taskrunner.brokers.base import Fired, TickKind
from taskrunner.cron import Effect
from taskrunner.errors import ArgumentError, MessageError, OptionError
from taskrunner.schedules import Schedule
from taskrunner.states import State
from taskrunner.timeline import CatchUp, Overlap
from taskrunner.zones import in_zone, zone_of

_UTC: Final = ZoneInfo("UTC")


class ForecastSlot(NamedTuple):
    """A slot that is to come."""

    at: datetime
    """its time, in the schedule's zone"""
    starts: datetime
    """when its job is submitted: at that time, or a jitter later"""
    effect: Effect
    """what a change of the clocks has to do with it; empty: nothing"""


@dataclass(frozen=True, slots=True)
class Firing:
    """One time at which a schedule was fired, or skipped."""

    slot: datetime | None
    """None: triggered by hand"""
    at: datetime
    """when that was, by the store's clock"""
    job_id: str | None
    """None: nothing was submitted"""
    state: State | None
    """of its job; None: nothing was submitted, or nobody knows any more"""
    ended_at: datetime | None
    outcome: str
    """in one word: the state of the job; `overlap` or `duplicate` where nothing was submitted; else
    `unknown`"""


def firing(fired: Fired, zone: ZoneInfo, state: State | None) -> Firing:
    """What the store remembers, as users see it. `state`: of a job that has not ended."""
    state = fired.state or state
    skipped = {TickKind.OVERLAP: "overlap", TickKind.DUPLICATE: "duplicate"}
    return Firing(
        slot=None if fired.slot is None else in_zone(fired.slot, zone),
        at=in_zone(fired.at, zone),
        job_id=fired.job_id or None,
        state=state,
        ended_at=None if fired.ended_at is None else in_zone(fired.ended_at, zone),
        outcome=skipped.get(fired.kind) or (str(state) if state else "unknown"),
    )


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule, and how it stands. Moments are aware datetimes in its own zone, durations
    seconds. Of one that cannot be read only the name is known, and `problem` says why."""

    name: str
    task: str | None = None
    queue: str | None = None
    priority: int | None = None
    args: tuple[Any, ...] | None = None
    """None where they cannot be read here; so with `kwargs`"""
    kwargs: Mapping[str, Any] | None = None
    cron: str | None = None
    every: float | None = None
    timezone: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    jitter: float = 0.0
    catch_up: CatchUp | None = None
    max_catch_up: int | None = None
    overlap: Overlap | None = None
    paused: bool = False
    declared_by: str | None = None
    """the application whose code declares it; None: it was made at run time"""
    created_at: datetime | None = None
    next: datetime | None = None
    """when it falls due next; None: it is paused, at its end, or cannot be followed"""
    last: Firing | None = None
    """the newest firing"""
    waiting: int = 0
    """jobs of its task that wait in its queue because no node there knows the task"""
    stored: bool = True
    """False: declared here, and no node has put it into effect yet"""
    problem: str | None = None
    """why it cannot be followed, or not here"""


Opens = Callable[[Schedule], tuple[tuple[Any, ...], Mapping[str, Any]]]


def info(schedule: Schedule, opens: Opens, **standing: Any) -> ScheduleInfo:
    """What was said of a schedule, and how it stands. `opens` answers its arguments, or raises
    MessageError or ArgumentError."""
    rule, template = schedule.rule, schedule.template
    zone = zone_or_utc(rule.timezone)

    def moment(at: float | None) -> datetime | None:
        return None if at is None else in_zone(at, zone)

    args, kwargs = _arguments(schedule, opens)
    return ScheduleInfo(
        **{f.name: getattr(rule, f.name) for f in fields(rule) if f.name not in ("start", "end")},
        name=schedule.name,
        task=template.task,
        queue=template.queue,
        priority=template.priority,
        args=args,
        kwargs=kwargs,
        start=moment(rule.start),
        end=moment(rule.end),
        paused=schedule.paused,
        declared_by=schedule.owner or None,
        created_at=moment(schedule.created_at or None),
        **standing,
    )


def _arguments(
    schedule: Schedule, opens: Opens
) -> tuple[tuple[Any, ...] | None, Mapping[str, Any] | None]:
    try:
        args, kwargs = opens(schedule)
    except (MessageError, ArgumentError):
        return None, None
    return args, MappingProxyType(kwargs)


def zone_or_utc(name: str) -> ZoneInfo:
    """The zone, or UTC where it is not known here."""
    try:
        return zone_of(name)
    except OptionError:
        return _UTC
