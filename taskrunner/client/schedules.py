"""Schedules through the HTTP service, with the method names of `app.schedules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from taskrunner.client.answers import firings, forecast
from taskrunner.client.job import RemoteJob, Sends
from taskrunner.client.words import Call, get, path_of, rule_said, submission
from taskrunner.errors import ScheduleNotFound
from taskrunner.options import wrong
from taskrunner.scheduleinfo import Firing, ForecastSlot
from taskrunner.schedules import RULE_NAMES

MOST_REMEMBERED: Final = 50
"""Firings of a schedule that the store keeps, and that the service is asked for at most."""

Shown = dict[str, Any]
"""A schedule, by the names of `ScheduleInfo`."""
Shows = list[Shown]
Moments = list[datetime]
Slots = list[ForecastSlot]
Firings = list[Firing]


class RemoteSchedules:
    """Made by the client: `client.schedules`. Each raises ScheduleNotFound where there is none of that
    name, or none that the key reaches; each has an a-twin."""

    def __init__(self, service: Sends) -> None:
        self._service = service

    def add(
        self,
        name: str,
        task: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
        **said: Any,
    ) -> Shown:
        """Submit a job of `task` at each time that `cron` names or `every` so many seconds; `said` is
        the rest of its rule, and options of `enqueue`. Raises OptionError, also for a name that
        another has, and ArgumentError."""
        return dict(self._service.send(_add(name, _body(task, args, kwargs, said), replace)))

    def get(self, name: str) -> Shown | None:
        """A schedule and how it stands; None: there is none of that name."""
        try:
            return dict(self._service.send(_get(name)))
        except ScheduleNotFound:
            return None

    def list(self) -> Shows:
        """All that are in reach."""
        return _shows(self._service.send(get(path_of("schedules"))))

    def remove(self, name: str) -> bool:
        """Forget a schedule; whether it was there."""
        try:
            self._service.send(_remove(name))
        except ScheduleNotFound:
            return False
        return True

    def pause(self, name: str) -> None:
        """Let it submit nothing until `resume`."""
        self._service.send(_do(name, "pause"))

    def resume(self, name: str) -> None:
        """Let a paused one go on from now."""
        self._service.send(_do(name, "resume"))

    def trigger(self, name: str) -> RemoteJob:
        """Submit its job now. Raises DuplicateJob where all its jobs have one id or are unique."""
        return self._job(self._service.send(_trigger(name)))

    def preview(self, name: str, count: int = 10, after: datetime | None = None) -> Moments:
        """Its next slots, 1000 at most, as aware datetimes. Raises OptionError."""
        return [slot.at for slot in self.forecast(name, count, after)]

    def forecast(self, name: str, count: int = 10, after: datetime | None = None) -> Slots:
        """`preview`, with what a change of the clocks and a jitter have to do with each slot."""
        return forecast(self._service.send(_preview(name, count, after)))

    def history(self, name: str, count: int = 20) -> Firings:
        """Its newest firings with what became of their jobs, the newest first; the store remembers
        50. Raises OptionError."""
        return firings(self._service.send(_history(name, count)))

    # -- the same from asyncio

    async def aadd(
        self,
        name: str,
        task: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
        **said: Any,
    ) -> Shown:
        """`add`, from asyncio."""
        body = _body(task, args, kwargs, said)
        return dict(await self._service.asend(_add(name, body, replace)))

    async def aget(self, name: str) -> Shown | None:
        """`get`, from asyncio."""
        try:
            return dict(await self._service.asend(_get(name)))
        except ScheduleNotFound:
            return None

    async def alist(self) -> Shows:
        """`list`, from asyncio."""
        return _shows(await self._service.asend(get(path_of("schedules"))))

    async def aremove(self, name: str) -> bool:
        """`remove`, from asyncio."""
        try:
            await self._service.asend(_remove(name))
        except ScheduleNotFound:
            return False
        return True

    async def apause(self, name: str) -> None:
        """`pause`, from asyncio."""
        await self._service.asend(_do(name, "pause"))

    async def aresume(self, name: str) -> None:
        """`resume`, from asyncio."""
        await self._service.asend(_do(name, "resume"))

    async def atrigger(self, name: str) -> RemoteJob:
        """`trigger`, from asyncio."""
        return self._job(await self._service.asend(_trigger(name)))

    async def apreview(self, name: str, count: int = 10, after: datetime | None = None) -> Moments:
        """`preview`, from asyncio."""
        return [slot.at for slot in await self.aforecast(name, count, after)]

    async def aforecast(self, name: str, count: int = 10, after: datetime | None = None) -> Slots:
        """`forecast`, from asyncio."""
        return forecast(await self._service.asend(_preview(name, count, after)))

    async def ahistory(self, name: str, count: int = 20) -> Firings:
        """`history`, from asyncio."""
        return firings(await self._service.asend(_history(name, count)))

    def _job(self, said: Mapping[str, Any]) -> RemoteJob:
        return RemoteJob(self._service, said["id"], said["queue"])


def _body(
    task: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None, said: Mapping[str, Any]
) -> dict[str, Any]:
    rule = {name: value for name, value in said.items() if name in RULE_NAMES}
    options = {name: value for name, value in said.items() if name not in RULE_NAMES}
    return {**submission(task, args, kwargs, options), **rule_said(rule)}


def _add(name: str, body: Mapping[str, Any], may_replace: bool) -> Call:
    if may_replace:
        return Call("PUT", path_of("schedules", name), body, is_repeatable=True)
    return Call("POST", path_of("schedules"), {"name": name, **body}, is_repeatable=True)


def _get(name: str) -> Call:
    return get(path_of("schedules", name))


def _remove(name: str) -> Call:
    return Call("DELETE", path_of("schedules", name), is_repeatable=True)


def _do(name: str, action: str) -> Call:
    return Call("POST", path_of("schedules", name, action), is_repeatable=True)


def _trigger(name: str) -> Call:
    return Call("POST", path_of("schedules", name, "trigger"))


def _preview(name: str, count: int, after: datetime | None) -> Call:
    return get(path_of("schedules", name, "preview"), count=count, after=after)


def _history(name: str, count: int) -> Call:
    if type(count) is not int or count < 0:
        raise wrong("count", count, "a whole number, 0 or more")
    return get(path_of("schedules", name, "history"), count=min(count, MOST_REMEMBERED))


def _shows(said: Mapping[str, Any]) -> Shows:
    return [dict(one) for one in said["schedules"]]
