"""Schedules through the HTTP service, with the method names of `app.schedules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from taskrunner.client.answers import moments
from taskrunner.client.job import RemoteJob, Sends
from taskrunner.client.words import Call, get, path_of, submission
from taskrunner.errors import ScheduleNotFound
from taskrunner.schedules import RULE_NAMES

Shown = dict[str, Any]
"""A schedule, by the names of `ScheduleInfo`."""
Shows = list[Shown]
Moments = list[datetime]


class RemoteSchedules:
    """Made by the client: `client.schedules`. Each raises ScheduleNotFound where there is none of that
    name, or none that the key reaches."""

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
        the rest of its rule, and options of `enqueue`."""
        rule = {name: value for name, value in said.items() if name in RULE_NAMES}
        options = {name: value for name, value in said.items() if name not in RULE_NAMES}
        body = {**submission(task, args, kwargs, options), **_rule(rule)}
        if replace:
            call = Call("PUT", path_of("schedules", name), body, is_repeatable=True)
        else:
            call = Call("POST", path_of("schedules"), {"name": name, **body}, is_repeatable=True)
        return dict(self._service.send(call))

    def get(self, name: str) -> Shown | None:
        """A schedule and how it stands; None: there is none of that name."""
        try:
            return dict(self._service.send(get(path_of("schedules", name))))
        except ScheduleNotFound:
            return None

    def list(self) -> Shows:
        """All that are in reach."""
        return [dict(one) for one in self._service.send(get(path_of("schedules")))["schedules"]]

    def remove(self, name: str) -> bool:
        """Forget a schedule; whether it was there."""
        try:
            self._service.send(Call("DELETE", path_of("schedules", name), is_repeatable=True))
        except ScheduleNotFound:
            return False
        return True

    def pause(self, name: str) -> None:
        """Let it submit nothing until `resume`."""
        self._service.send(Call("POST", path_of("schedules", name, "pause"), is_repeatable=True))

    def resume(self, name: str) -> None:
        """Let a paused one go on from now."""
        self._service.send(Call("POST", path_of("schedules", name, "resume"), is_repeatable=True))

    def trigger(self, name: str) -> RemoteJob:
        """Submit its job now."""
        said = self._service.send(Call("POST", path_of("schedules", name, "trigger")))
        return RemoteJob(self._service, said["id"], said["queue"])

    def preview(self, name: str, count: int = 10, after: datetime | None = None) -> Moments:
        """Its next slots, as aware datetimes."""
        path = path_of("schedules", name, "preview")
        return moments(self._service.send(get(path, count=count, after=after)))


def _rule(said: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a rule as JSON."""
    found: dict[str, Any] = {}
    for name, value in said.items():
        if value is None:
            continue
        is_moment = isinstance(value, datetime)
        seconds = getattr(value, "total_seconds", None)
        found[name] = value.isoformat() if is_moment else seconds() if seconds else value
        if name == "timezone":
            found[name] = str(value)
    return found
