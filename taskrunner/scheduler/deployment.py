"""Putting into effect the schedules that an application's code declares.

    code ─ fork server ─▶ manifest ─▶ this node ─ differences only ─▶ store ─▶ all nodes

The node that started last is right: it adds what its code declares and the store lacks, changes what
its code has changed, and removes what its code no longer declares. It does so once, when it starts or
has new code, so nodes of two versions never take turns. What was made at run time it leaves alone.

What belongs to which application is told by its name, the `module:attribute` that its nodes run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from taskrunner.brokers.base import BrokerClient
from taskrunner.errors import MessageError
from taskrunner.events import Events, ScheduleDeclared, ScheduleNotDeclared
from taskrunner.ids import new_id
from taskrunner.schedulebook import changed
from taskrunner.schedules import Schedule
from taskrunner.schedulestore import ScheduleStore, Stored

OWNERS: Final = "schedule-owners"


class Deployment:
    """What one node's code declares, on its way into the store. Each call goes on where the one
    before it was interrupted. Raises BrokerUnavailable."""

    def __init__(
        self,
        *,
        broker: BrokerClient,
        events: Events,
        owner: str,
        declared: Mapping[str, Schedule],
    ) -> None:
        self._broker = broker
        self._store = ScheduleStore(broker)
        self._events = events
        self._owner = owner
        self._declared = declared
        self._claim = new_id().encode()
        self._has_claimed = False

    def put_into_effect(self) -> None:
        """Change what differs, unless a node that has started later does."""
        stored = list(self._store.all())
        names = {one.name for one in stored} | self._declared.keys()
        found = {one.name: one for one in stored}
        differing = [name for name in sorted(names) if self._differs(name, found.get(name))]
        if differing and not self._has_claimed:
            self._broker.put_record(OWNERS, self._owner, self._claim)
            self._has_claimed = True
        for name in differing:
            if not self._is_latest():
                return
            self._change(name)

    def _differs(self, name: str, found: Stored | None) -> bool:
        if found is not None and found.schedule is None:
            return name in self._declared
        before = None if found is None else found.schedule
        return self._wanted(name, before, 0.0) is not before or self._conflict(before, name) != ""

    def _is_latest(self) -> bool:
        found = self._broker.records(OWNERS, self._owner, limit=1).records
        return bool(found) and found[0].value == self._claim

    def _change(self, name: str) -> None:
        now = float(int(self._broker.now() * 1000)) / 1000
        seen: list[Schedule | None] = []

        def edit(found: Schedule | None) -> Schedule | None:
            seen.append(found)
            return self._wanted(name, found, now)

        try:
            after = self._store.edit(name, edit)
        except MessageError as error:
            self._events.emit(ScheduleNotDeclared(schedule=name, why=str(error)))
            return
        before = seen[-1]
        if after is not before:
            self._events.emit(ScheduleDeclared(schedule=name, what=_what(before, after)))
        elif why := self._conflict(before, name):
            self._events.emit(ScheduleNotDeclared(schedule=name, why=why))

    def _wanted(self, name: str, found: Schedule | None, now: float) -> Schedule | None:
        """What is to be there instead of what is; the same: it is as it should be."""
        declared = self._declared.get(name)
        if declared is None:
            is_ours = found is not None and found.owner == self._owner
            return None if is_ours else found
        if found is None:
            made = replace(declared, created_at=now, after=now)
        elif not found.owner or (found.owner == self._owner and found.declared == declared.said):
            return found
        else:
            made = changed(found, declared, lambda: now)
        return replace(made, owner=self._owner, declared=declared.said)

    def _conflict(self, found: Schedule | None, name: str) -> str:
        """Why a schedule that is there stays although the code declares another; empty: it does
        not."""
        declared = self._declared.get(name)
        if declared is None or found is None or found.owner or found.said == declared.said:
            return ""
        return (
            "one of that name was made at run time, and stays; remove it, or declare yours under "
            "another name"
        )


def _what(before: Schedule | None, after: Schedule | None) -> str:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    return "changed" if before.owner == after.owner else f"taken over from {before.owner}"
