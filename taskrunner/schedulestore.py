"""Schedules in the store: found, changed, moved and removed by anybody, with no leader.

    change ─▶ put the record, only in the place of the one that was read
           ─▶ mark that something has changed: who looks now and then sees it
           ─▶ close the slots for whoever knows an older revision, and ring everybody

Each step may be the last of a process that dies. Until the slots are closed, others may go on by
the older revision for as long as they may act on what they know (`KNOWN_FOR`); never do two of them
submit the same slot.

A schedule that moves to another queue claims its slots there from then on. Its record names the queue
that it comes from until that one is closed for good, and says then which slot was the last there:
whoever reads a record in between does it, so nobody needs to come back for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple, Protocol, TypeVar

from taskrunner.brokers.base import BrokerClient, Records
from taskrunner.errors import MessageError, ScheduleNotFound, TaskrunnerError
from taskrunner.ids import new_id
from taskrunner.naming import nearest
from taskrunner.schedules import Schedule

T = TypeVar("T")

KIND: Final = "schedule"
CHANGES: Final = "schedule-changes"
LATEST: Final = "latest"
SLICE: Final = 500
_ATTEMPTS: Final = 20


class Stored(NamedTuple):
    """A record, and the schedule in it."""

    name: str
    packed: bytes
    schedule: Schedule | None
    """None: it cannot be read, and `problem` says why"""
    problem: str = ""

    @classmethod
    def of(cls, name: str, packed: bytes) -> Stored:
        try:
            return cls(name, packed, Schedule.unpack(name, packed))
        except MessageError as error:
            return cls(name, packed, None, str(error))


Edit = Callable[[Schedule | None], Schedule | None]
"""The schedule that is there in, the one that shall be there out; the same: leave it alone."""


class Asks(Protocol):
    """How one call of a broker is made, and perhaps repeated."""

    def __call__(self, do: Callable[[], T], /) -> T: ...


def once(do: Callable[[], T]) -> T:
    return do()


class ScheduleStore:
    """All schedules of a namespace. Raises BrokerUnavailable, when `asks` does."""

    def __init__(self, broker: BrokerClient, asks: Asks = once) -> None:
        self._broker = broker
        self._asks = asks

    # -- looking

    def find(self, name: str) -> Stored | None:
        """The record of that name."""
        found = self._asks(lambda: self._broker.records(KIND, name, limit=1)).records
        return Stored.of(*found[0]) if found and found[0].id == name else None

    def all(self) -> Iterator[Stored]:
        """Every record, sorted by name."""
        cursor = ""
        while True:
            found, cursor = self._slice(cursor)
            for record in found:
                yield Stored.of(*record)
            if not cursor:
                return

    def _slice(self, cursor: str) -> Records:
        return self._asks(lambda: self._broker.records(KIND, cursor, limit=SLICE))

    def mark(self) -> bytes:
        """Something that is another after each change."""
        found = self._asks(lambda: self._broker.records(CHANGES, LATEST, limit=1)).records
        return found[0].value if found else b""

    # -- changing

    def edit(self, name: str, edit: Edit) -> Schedule | None:
        """Change, add or remove a schedule; what is there then. `edit` is asked again where somebody
        else was quicker. Raises MessageError where one is there that cannot be read."""
        for _ in range(_ATTEMPTS):
            stored = self.settled(self.find(name))
            if stored is not None and stored.schedule is None:
                raise MessageError(f"the schedule {name} cannot be read: {stored.problem}")
            before = None if stored is None else stored.schedule
            after = edit(before)
            if after is before:
                return before
            expect = b"" if stored is None else stored.packed
            done = (
                self._remove(name, expect, before)
                if after is None
                else self._put(expect, before, after)
            )
            if done:
                return after
        raise TaskrunnerError(f"the schedule {name} was changed by others again and again")

    def _put(self, expect: bytes, before: Schedule | None, after: Schedule) -> bool:
        after = replace(after, revision=self._next_revision(before, after.queue, after.name))
        if before is not None and before.queue != after.queue:
            after = replace(after, moved_from=before.queue)
        packed = after.pack()
        if not self._replace(after.name, packed, expect):
            return False
        stored = self.settled(Stored(after.name, packed, after))
        self._changed()
        if stored is not None and stored.schedule is not None:
            self._close(after.queue, after.name, stored.schedule.revision)
        return True

    def _replace(self, name: str, packed: bytes, expect: bytes) -> bool:
        return self._asks(lambda: self._broker.put_record(KIND, name, packed, expect=expect))

    def _close(self, queue: str, name: str, revision: int, *, gone: bool = False) -> float:
        return self._asks(lambda: self._broker.close_slots(queue, name, revision, gone=gone))

    def _next_revision(self, before: Schedule | None, queue: str, name: str) -> int:
        """Later than all there ever was here, also when the store's clock was set back."""
        known = 0 if before is None else before.revision
        (slots,) = self._asks(lambda: self._broker.slots(queue, [name]))
        return max(known + 1, slots.revision + 1, int(self._asks(self._broker.now) * 1000))

    def _remove(self, name: str, expect: bytes, before: Schedule | None) -> bool:
        if not self._asks(lambda: self._broker.remove_record(KIND, name, expect=expect)):
            return False
        self._changed()
        if before is not None:
            self._close(before.queue, name, before.revision + 1, gone=True)
        return True

    def remove_unreadable(self, stored: Stored) -> bool:
        """Remove a record that nobody can read; whether it was still there as it was."""
        return self._remove(stored.name, stored.packed, None)

    def _changed(self) -> None:
        mark = new_id().encode()
        self._asks(lambda: self._broker.put_record(CHANGES, LATEST, mark))

    # -- moving

    def settled(self, stored: Stored | None) -> Stored | None:
        """The same record with its move to another queue done, where that was left undone."""
        while stored is not None and stored.schedule is not None and stored.schedule.moved_from:
            schedule = stored.schedule
            last = self._close(schedule.moved_from, stored.name, schedule.revision, gone=True)
            moved = replace(schedule, after=max(schedule.after, last), moved_from="")
            packed = moved.pack()
            if self._replace(stored.name, packed, stored.packed):
                return Stored(stored.name, packed, moved)
            stored = self.find(stored.name)
        return stored


def missing(name: str, store: ScheduleStore) -> ScheduleNotFound:
    """The error that says that there is none of that name, and which there are."""
    names = [stored.name for stored in store.all()]
    return ScheduleNotFound(f"there is no schedule {name!r}: {nearest(name, names)}")
