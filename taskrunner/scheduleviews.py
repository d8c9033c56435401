"""The looking half of `app.schedules`: what there is, how it stands, what comes and what was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from taskrunner.brokers.base import JobKey, SlotRecord
from taskrunner.errors import OptionError
from taskrunner.jobinfo import marks_for
from taskrunner.message import PARKED_FOR_TASK
from taskrunner.options import moment, wrong
from taskrunner.redaction import hidden
from taskrunner.scheduleinfo import (
    Firing,
    ForecastSlot,
    ScheduleInfo,
    firing,
    info,
    zone_or_utc,
)
from taskrunner.schedules import Schedule, check_name
from taskrunner.schedulestore import ScheduleStore, Stored, missing
from taskrunner.states import State
from taskrunner.submission import ride_out
from taskrunner.timeline import Timeline
from taskrunner.zones import in_zone

if TYPE_CHECKING:
    from taskrunner.app import App

MOST_SHOWN: Final = 10_000

# Named here, since within the class `list` is a method.
Infos: TypeAlias = list[ScheduleInfo]
Datetimes: TypeAlias = list[datetime]
Slots: TypeAlias = list[ForecastSlot]
Firings: TypeAlias = list[Firing]


class ScheduleViews:
    """What can be asked of the schedules of an App."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.declared: dict[str, Schedule] = {}
        """what the code of this process declares, by name"""

    def __repr__(self) -> str:
        return f"<Schedules with {len(self.declared)} declared in code>"

    def get(self, name: str) -> ScheduleInfo | None:
        """A schedule and how it stands; None: there is none of that name."""
        stored = self._store.find(check_name(name))
        if stored is not None:
            return self.infos([stored])[0]
        declared = self.declared.get(name)
        return None if declared is None else self.declared_info(declared)

    def list(self) -> Infos:
        """All schedules, sorted by name. Those that cannot be read say so."""
        found = self.infos(tuple(self._store.all()))
        known = {one.name for one in found}
        new = [one for name, one in self.declared.items() if name not in known]
        return sorted([*found, *map(self.declared_info, new)], key=lambda one: one.name)

    def preview(self, name: str, count: int = 10, after: datetime | None = None) -> Datetimes:
        """Its next slots, as aware datetimes in its zone, later than `after` (now). Raises
        ScheduleNotFound."""
        return [slot.at for slot in self.forecast(name, count, after)]

    def forecast(self, name: str, count: int = 10, after: datetime | None = None) -> Slots:
        """`preview`, with what a change of the clocks and a jitter have to do with each slot."""
        if type(count) is not int or not 0 <= count <= MOST_SHOWN:
            raise wrong("count", count, f"a whole number, at most {MOST_SHOWN}")
        at = None if after is None else moment("after", after)
        schedule = self.found(name)
        timeline = Timeline(name, schedule.rule)
        at = ride_out(self._app.broker.now) if at is None else at
        slots: Slots = []
        while len(slots) < count and (slot := timeline.after(at)) is not None:
            at = slot.at
            starts = in_zone(timeline.due(slot), timeline.zone)
            slots.append(ForecastSlot(in_zone(at, timeline.zone), starts, slot.effect))
        return slots

    def history(self, name: str, count: int = 20) -> Firings:
        """Its newest firings with what became of their jobs, the newest first; the store remembers
        50. Raises ScheduleNotFound."""
        if type(count) is not int or count < 0:
            raise wrong("count", count, "a whole number, 0 or more")
        schedule = self.found(name)
        (record,) = self._records(schedule.queue, [name], count)
        states = self._states([(schedule.queue, record)])
        zone = zone_or_utc(schedule.rule.timezone)
        return [firing(one, zone, states.get(one.job_id)) for one in record.firings]

    def found(self, name: str) -> Schedule:
        """A schedule that is stored, or else declared here. Raises ScheduleNotFound."""
        stored = self._store.find(check_name(name))
        if stored is None:
            if name in self.declared:
                return self.declared[name]
            raise missing(name, self._store)
        if stored.schedule is None:
            raise OptionError(f"name={name!r}: this schedule cannot be read: {stored.problem}")
        return stored.schedule

    # -- what the store says

    @property
    def _store(self) -> ScheduleStore:
        return ScheduleStore(self._app.broker, ride_out)

    def now(self) -> float:
        return float(int(ride_out(self._app.broker.now) * 1000)) / 1000

    def _records(self, queue: str, names: Sequence[str], firings: int) -> Sequence[SlotRecord]:
        return ride_out(lambda: self._app.broker.slots(queue, names, firings=firings))

    def _arguments(self, schedule: Schedule) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Those of its jobs, as they may be shown. Raises MessageError, ArgumentError."""
        template = self._app.seals.template_of(schedule.name, schedule.template)
        marks = marks_for(self._app, template.header)
        return hidden(marks, *self._app.codec.unpack_call(template.body))

    def declared_info(self, schedule: Schedule) -> ScheduleInfo:
        return info(schedule, self._arguments, stored=False)

    def infos(self, found: Sequence[Stored]) -> Infos:
        """Schedules and how they stand, in a few questions for all of them."""
        readable = [one.schedule for one in found if one.schedule is not None]
        records = self._records_of(readable)
        queues = sorted({schedule.queue for schedule in readable})
        parked = {
            stats.queue: stats.parked for stats in ride_out(lambda: self._app.broker.stats(queues))
        }
        states = self._states([(one.queue, records[one.name]) for one in readable])
        now = ride_out(self._app.broker.now) if readable else 0.0
        return [
            ScheduleInfo(one.name, problem=one.problem)
            if one.schedule is None
            else self._info(one.schedule, records[one.name], states, now, parked)
            for one in found
        ]

    def _records_of(self, schedules: Sequence[Schedule]) -> dict[str, SlotRecord]:
        by_queue: dict[str, list[str]] = {}
        for schedule in schedules:
            by_queue.setdefault(schedule.queue, []).append(schedule.name)
        return {
            name: record
            for queue, names in by_queue.items()
            for name, record in zip(names, self._records(queue, names, 1), strict=True)
        }

    def _states(self, found: Sequence[tuple[str, SlotRecord]]) -> dict[str, State]:
        """Of jobs of firings that had not ended when that was written down, by their ids."""
        keys = [
            JobKey(queue, fired.job_id)
            for queue, record in found
            for fired in record.firings
            if fired.job_id and fired.state is None
        ]
        jobs = ride_out(lambda: self._app.broker.get(keys)) if keys else []
        return {job.id: job.state for job in jobs if job is not None}

    def _info(
        self,
        schedule: Schedule,
        record: SlotRecord,
        states: Mapping[str, State],
        now: float,
        parked: Mapping[str, Mapping[str, int]],
    ) -> ScheduleInfo:
        following, problem = _following(schedule, record.last, now)
        zone = zone_or_utc(schedule.rule.timezone)
        newest = record.firings[0] if record.firings else None
        return info(
            schedule,
            self._arguments,
            next=following,
            last=newest and firing(newest, zone, states.get(newest.job_id)),
            waiting=parked.get(schedule.queue, {}).get(
                f"{PARKED_FOR_TASK}{schedule.template.task}", 0
            ),
            problem=problem,
        )

    # -- the same from asyncio

    async def aget(self, name: str) -> ScheduleInfo | None:
        """`get`, from asyncio."""
        return await asyncio.to_thread(self.get, name)

    async def alist(self) -> Infos:
        """`list`, from asyncio."""
        return await asyncio.to_thread(self.list)

    async def apreview(
        self, name: str, count: int = 10, after: datetime | None = None
    ) -> Datetimes:
        """`preview`, from asyncio."""
        return await asyncio.to_thread(self.preview, name, count, after)

    async def aforecast(self, name: str, count: int = 10, after: datetime | None = None) -> Slots:
        """`forecast`, from asyncio."""
        return await asyncio.to_thread(self.forecast, name, count, after)

    async def ahistory(self, name: str, count: int = 20) -> Firings:
        """`history`, from asyncio."""
        return await asyncio.to_thread(self.history, name, count)


def _following(schedule: Schedule, last: float, now: float) -> tuple[datetime | None, str | None]:
    """When a schedule falls due next, and why it cannot be followed."""
    try:
        timeline = Timeline(schedule.name, schedule.rule)
    except OptionError as error:
        return None, str(error)
    if schedule.paused:
        return None, None
    turn = timeline.turn(max(last, schedule.after), now)
    slot = turn.submit[0] if turn.submit else turn.next
    return None if slot is None else in_zone(slot.at, timeline.zone), None
