"""Sealing what is in the store with the first key: jobs, their results, and schedules.

    queue by queue, state by state ─▶ pages of ids ─▶ records ─▶ those under another key, or none
         ▲                                                          └─ rewrite, if unchanged meanwhile
         └─ once more, until a pass has found nothing to change

Jobs go on meanwhile: one that moved while the pages were turned, or got an error at that moment, is
found by the next pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from taskrunner.backends.base import ResultBackend, ResultKey, StoredResult
from taskrunner.brokers.base import BrokerClient, Contents, JobKey, JobRecord, Rewrite
from taskrunner.errors import CryptoError, MessageError, OptionError
from taskrunner.message import Message, unpack
from taskrunner.schedules import Schedule
from taskrunner.schedulestore import ScheduleStore
from taskrunner.seals import ERROR, PROGRESS, RESULT, Seals
from taskrunner.states import State
from taskrunner.submission import ride_out

if TYPE_CHECKING:
    from taskrunner.app import App

IN_A_SLICE: Final = 100
"""Jobs that are read, and perhaps written, at a time."""
MOST_PASSES: Final = 10
_TOO_LATE: Final = "changed at that moment, again and again: the command may be given once more"


@dataclass
class Rekeyed:
    """How far it has come. Jobs that are looked at by several passes count in each."""

    looked_at: int = 0
    changed: int = 0
    """jobs, and schedules; of a dry run those that would be"""
    left: Counter[str] = field(default_factory=Counter)
    """what could not be opened, or changed under our hands to the last: why, and how often"""


class Rekey:
    """One walk, perhaps in several passes. Raises OptionError where the App has no keys."""

    def __init__(self, app: App, *, dry_run: bool = False) -> None:
        if not app.seals.is_active:
            raise OptionError("there are no encryption_keys or signing_keys to seal anything with")
        self._app = app
        self._seals: Seals = app.seals
        self._broker: BrokerClient = app.broker
        self._dry_run = dry_run
        self.total = Rekeyed()

    def steps(self) -> Iterator[Rekeyed]:
        """How far it has come, after each slice. Raises BrokerUnavailable, BrokerFull."""
        for _ in range(MOST_PASSES):
            self.total.left.clear()
            before = self.total.changed
            yield from self._schedules()
            yield from self._jobs()
            is_done = self.total.changed == before and not self.total.left[_TOO_LATE]
            if self._dry_run or is_done:
                break

    # -- jobs

    def _jobs(self) -> Iterator[Rekeyed]:
        for queue in ride_out(self._broker.queues):
            for state in State:
                yield from self._in_state(queue, state)

    def _in_state(self, queue: str, state: State) -> Iterator[Rekeyed]:
        cursor = ""
        while True:
            page = ride_out(
                lambda cursor=cursor: self._broker.jobs(queue, state, cursor, limit=IN_A_SLICE)  # type: ignore[misc]
            )
            if page.keys:
                self._slice(page.keys)
                yield self.total
            cursor = page.cursor
            if not cursor:
                return

    def _slice(self, keys: Sequence[JobKey]) -> None:
        records = [one for one in ride_out(lambda: self._broker.get(keys)) if one is not None]
        self.total.looked_at += len(records)
        changes = [change for record in records if (change := self._change(record)) is not None]
        if self._app.backend is not None:
            self._results(self._app.backend, records)
        if not changes or self._dry_run:
            self.total.changed += len(changes)
            return
        answers = ride_out(lambda: self._broker.rewrite(changes))
        self.total.changed += sum(answer is True for answer in answers)
        if lost := sum(answer is False for answer in answers):
            self.total.left[_TOO_LATE] += lost

    def _change(self, record: JobRecord) -> Rewrite | None:
        before = Contents.of(record)
        after = Contents(
            self._wire(record),
            before.progress and self._value(PROGRESS, record, before.progress),
            before.result and self._value(RESULT, record, before.result),
            tuple(self._value(ERROR, record, error) for error in before.errors),
        )
        return None if after == before else Rewrite(record.queue, record.id, before, after)

    def _wire(self, record: JobRecord) -> bytes:
        try:
            header, body = unpack(record.wire)
        except MessageError:
            return record.wire  # for a later version, or for nobody
        if self._seals.is_current(header):
            return record.wire

        def sealed() -> bytes:
            headers, plain = self._seals.opened(header, body, record.queue, record.id)
            bare = replace(header, headers=headers, key_id=None, signature=None)
            return self._seals.message(Message(record.id, record.queue, bare, plain)).wire

        return self._tried(sealed, record.wire)

    def _value(self, kind: str, record: JobRecord, value: bytes) -> bytes:
        if self._seals.is_current_value(value):
            return value
        return self._tried(lambda: self._seals.again(kind, record, value), value)

    def _tried(self, sealed: Callable[[], bytes], otherwise: bytes) -> bytes:
        try:
            return sealed()
        except CryptoError as error:
            self.total.left[str(error)] += 1
            return otherwise

    def _results(self, backend: ResultBackend, records: Sequence[JobRecord]) -> None:
        """Those that a backend keeps. What is kept under a token is never changed by anybody else."""
        done = [one for one in records if one.state is State.SUCCEEDED]
        keys = [ResultKey(one.queue, one.id, one.node or "", one.number or 0) for one in done]
        kept = ride_out(lambda: backend.get(keys)) if keys else []
        now = ride_out(self._broker.now) if keys else 0.0
        again = []
        for record, key, value in zip(done, keys, kept, strict=True):
            sealed = value and self._value(RESULT, record, value)
            if sealed and sealed != value:
                retention = self._app.job(record.id, record.queue).info().retention
                left = (record.finished_at or now) + retention - now
                again.append(StoredResult(key, sealed, max(1.0, left)))
        self.total.changed += len(again)
        if again and not self._dry_run:
            ride_out(lambda: backend.store(again))

    # -- schedules

    def _schedules(self) -> Iterator[Rekeyed]:
        store = ScheduleStore(self._broker, ride_out)
        for stored in store.all():
            schedule = stored.schedule
            if schedule is None:
                continue
            self.total.looked_at += 1
            after = self._schedule(schedule)
            if after is not schedule:
                self.total.changed += 1
                if not self._dry_run:
                    store.edit(stored.name, lambda now: now and self._schedule(now))
            yield self.total

    def _schedule(self, schedule: Schedule) -> Schedule:
        """The same under the first key; itself where it is already, or cannot be opened."""
        if self._seals.is_current(schedule.template.header):
            return schedule
        try:
            template = self._seals.template_of(schedule.name, schedule.template)
        except CryptoError as error:
            self.total.left[str(error)] += 1
            return schedule
        plain = replace(schedule, template=template)
        said = self._seals.fingerprint(plain.fingerprint())
        return replace(
            plain,
            template=self._seals.template(schedule.name, template),
            said=said,
            declared=said if schedule.declared == schedule.said else schedule.declared,
        )
