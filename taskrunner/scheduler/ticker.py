"""Schedules: which there are, when each falls due next, and submitting its job then.

    store ─ look ─▶ lines: schedule, last slot, next slot ─▶ heap ─ tick ─▶ store
             ▲                                                       │
             └── bells, and every few seconds a mark that changes ───┘ last slot, or why not

Any number of nodes do this at once, and none leads: the store claims each slot once. Its clock decides;
this node's own only says how long to sleep. What was read a while ago is read again before it is
acted on, and the store refuses a node that has not.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import Final, TypeVar

from taskrunner.brokers.base import CLAIMED, Broker, Tick, Ticked, TickKind
from taskrunner.clock import Clock
from taskrunner.cron import Slot
from taskrunner.errors import BrokerUnavailable, OptionError, PartlyUnavailable
from taskrunner.events import Events, ScheduleHeldUp, ScheduleUnreadable
from taskrunner.scheduler.heap import DueHeap
from taskrunner.scheduler.turns import Turns
from taskrunner.schedules import Schedule
from taskrunner.schedulestore import ScheduleStore, Stored
from taskrunner.service import apart
from taskrunner.timeline import Timeline

T = TypeVar("T")

LOOK_S: Final = 5.0
"""How often it is asked whether a schedule has changed; bells come sooner, and may be lost."""
ASK_THE_TIME_S: Final = 15.0
"""How often the store's clock is asked, which may step."""
LOOK_AT_ALL_S: Final = 30.0
"""How often all are read: whoever changed one may have died before saying so."""
HOLD_S: Final = 1.0
"""How long a schedule waits that could not be submitted."""
PLANNED_FOR_S: Final = 5.0
"""How long it is believed what is to be submitted of a schedule."""
AT_ONCE: Final = 200
"""Slots that one pass submits at most, so that delayed jobs need not wait for them."""
LATE_S: Final = 0.0005
"""How long after its time a slot is asked for that came too early."""


@dataclass
class _Line:
    """A schedule that can be followed, and how far this node knows it to be."""

    stored: Stored
    schedule: Schedule
    timeline: Timeline
    last: float
    """slots up to this one are done with"""
    _planned: deque[Slot] = field(default_factory=deque)
    """what is to be submitted, and the slot after that"""
    _planned_at: float = -inf

    def next(self, now: float) -> Slot | None:
        """The slot that is to be submitted next, now or later."""
        if self.schedule.paused:
            return None
        while self._planned and self._planned[0].at <= self.last:
            self._planned.popleft()
        if not self._is_planned(now):
            turn = self.timeline.turn(self.last, now)
            self._planned = deque([*turn.submit, *([turn.next] if turn.next else ())])
            self._planned_at = now
        return self._planned[0] if self._planned else None

    def _is_planned(self, now: float) -> bool:
        """A plan holds until its first slot is due, and then for a while: it is worked off, and what
        was late in between may be missed."""
        if not self._planned:
            return False
        is_fresh = 0 <= now - self._planned_at < PLANNED_FOR_S
        return is_fresh or self.timeline.due(self._planned[0]) > now


class Ticker:
    """Used by the scheduler's thread alone. Raises BrokerUnavailable."""

    def __init__(
        self,
        *,
        broker: Broker,
        turns: Turns,
        clock: Clock,
        events: Events,
        noticed: Callable[[Exception], None],
    ) -> None:
        self._broker = broker
        self._store = ScheduleStore(broker)
        self._turns = turns
        self._clock = clock
        self._events = events
        self._noticed = noticed
        self._heap = DueHeap()
        self._lines: dict[str, _Line] = {}
        self._unreadable: dict[str, Stored] = {}
        self._mark: bytes | None = None
        self._all_at = self._asked_at = -inf
        self.next_look = clock.monotonic()
        """when to look again (monotonic); sooner where a bell rings"""
        self._known_at = 0.0
        self._ahead = 0.0
        """the store's clock minus this node's monotonic one"""

    # -- when

    def next_at(self) -> float | None:
        """When there is something to submit (monotonic)."""
        return self._heap.first()

    # -- looking

    def look(self) -> None:
        """See whether a schedule has changed, and read all of them where one has."""
        began = self._clock.monotonic()
        self.next_look = began + LOOK_S
        if self._lines and began - self._asked_at >= ASK_THE_TIME_S:
            self._ask_the_time()
        known_at = self._now()
        mark = self._store.mark()
        if mark != self._mark or began - self._all_at >= LOOK_AT_ALL_S:
            known_at = self._ask_the_time()
            self._mark = mark if self._read_all() else None
            self._all_at = began
        self._known_at = known_at

    def _ask_the_time(self) -> float:
        asked = self._asked_at = self._clock.monotonic()
        now = self._broker.now()
        ahead = now - (asked + self._clock.monotonic()) / 2
        if ahead - self._ahead > LATE_S:  # it is later than was thought: more may be due
            self._ahead = ahead
            for line in self._lines.values():
                self._expect(line)
        self._ahead = ahead
        return now

    def _now(self) -> float:
        """By the store's clock."""
        return self._clock.monotonic() + self._ahead

    def _read_all(self) -> bool:
        """Whether all that there is could be read."""
        found = {stored.name: stored for stored in self._store.all()}
        for name in self._lines.keys() - found.keys():
            del self._lines[name]
        self._unreadable = {n: bad for n, bad in self._unreadable.items() if n in found}
        changed = [stored for stored in found.values() if self._is_new(stored)]
        read = [self._apart(functools.partial(self._read, stored)) for stored in changed]
        new = [line for line in read if line is not None]
        unknown = self._ask_how_far(new)
        for line in new:
            if line.schedule.name not in unknown:
                self._lines[line.schedule.name] = line
                self._expect(line)
        return all(s.name in self._lines or s.name in self._unreadable for s in found.values())

    def _is_new(self, stored: Stored) -> bool:
        known = self._lines.get(stored.name)
        if known is not None and known.stored.packed == stored.packed:
            return False
        return self._unreadable.get(stored.name) != stored

    def _read(self, stored: Stored) -> _Line | None:
        """The line of a schedule, if it can be followed."""
        name = stored.name
        self._lines.pop(name, None)
        self._unreadable.pop(name, None)
        settled = self._store.settled(stored)
        if settled is None:
            return None  # removed meanwhile
        try:
            if settled.schedule is None:
                raise OptionError(settled.problem)
            timeline = Timeline(name, settled.schedule.rule)
        except OptionError as error:
            self._unreadable[name] = stored
            self._events.emit(ScheduleUnreadable(schedule=name, why=str(error)))
            return None
        return _Line(settled, settled.schedule, timeline, settled.schedule.after)

    def _ask_how_far(self, lines: Iterable[_Line]) -> set[str]:
        """Learn which slots are done with, by whomever. Answers the names of those of which that
        could not be learnt: of queues that are away, or damaged."""
        unknown: set[str] = set()
        by_queue = sorted(lines, key=lambda line: line.schedule.queue)
        for queue, group in groupby(by_queue, key=lambda line: line.schedule.queue):
            some = list(group)
            names = [line.schedule.name for line in some]
            records = self._apart(functools.partial(self._broker.slots, queue, names))
            if not records:
                unknown.update(names)
            for line, record in zip(some, records or (), strict=False):
                line.last = max(line.last, record.last)
        return unknown

    def _apart(self, do: Callable[[], T]) -> T | None:
        """What concerns one queue must stop no other one. None: it could not be done."""
        try:
            return do()
        except PartlyUnavailable:
            return None
        except BrokerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever the queue's state is
            self._noticed(error)
            return None

    # -- submitting

    def run(self) -> None:
        """Submit what is due, unless somebody else has."""
        now = self._clock.monotonic()
        names = self._heap.pop_due(now)
        if not names:
            return
        for name in names[AT_ONCE:]:
            self._heap.add(name, now)
        names = names[:AT_ONCE]
        try:
            self._submit([self._lines[name] for name in names if name in self._lines])
        except BaseException:
            for name in names:
                self._heap.add(name, now + HOLD_S)
            raise

    def _submit(self, lines: Sequence[_Line]) -> None:
        due, others = [], []
        for line in lines:
            slot = line.next(self._now())
            if slot is None or self._when(line, slot) > self._clock.monotonic():
                self._expect(line)
            elif self._turns.patience(line.schedule.name):
                others.append(line)
            else:
                due.append((line, slot))
        due += self._still_due(others)
        if due:
            self._tick(due)

    def _still_due(self, lines: Sequence[_Line]) -> Iterator[tuple[_Line, Slot]]:
        """Those that nobody has submitted who goes before this node."""
        unknown = self._ask_how_far(lines)
        for line in lines:
            slot = line.next(self._now())
            if line.schedule.name in unknown:
                self._hold(line)
            elif slot is None or self._when(line, slot) > self._clock.monotonic():
                self._expect(line)
            else:
                self._turns.fell_behind(line.schedule.name)
                yield line, slot

    def _tick(self, due: Sequence[tuple[_Line, Slot]]) -> None:
        """The first slot of each: the one after it may be next only when it is claimed."""

        def ask(some: Sequence[int]) -> list[tuple[int, Ticked]]:
            answers = self._broker.tick([self._made(*due[at]) for at in some])
            return list(zip(some, answers, strict=True))

        found = self._apart(lambda: apart(range(len(due)), ask, self._noticed))
        answers = dict(pair for part in found or () for pair in part)
        for at, (line, slot) in enumerate(due):
            if at in answers:
                self._heed(line, slot, answers[at])
            else:
                self._hold(line)

    def _made(self, line: _Line, slot: Slot) -> Tick:
        schedule = line.schedule
        return Tick(
            schedule.name,
            schedule.job(slot),
            slot.at,
            line.timeline.due(slot),
            schedule.revision,
            self._known_at,
            slot.wall,
            schedule.rule.timezone,
            schedule.rule.overlap == "skip",
        )

    def _heed(self, line: _Line, slot: Slot, answer: Ticked) -> None:
        match answer.kind:
            case kind if kind in CLAIMED or kind is TickKind.TAKEN:
                line.last = max(line.last, slot.at, answer.last)
                self._expect(line)
            case TickKind.EARLY:
                wait = answer.wait + LATE_S
                self._heap.add(line.schedule.name, self._clock.monotonic() + wait)
            case TickKind.STALE:
                self._mark, self.next_look = None, self._clock.monotonic()
                self._hold(line)
            case TickKind.FULL:
                why = "the store is full"
                self._events.emit(ScheduleHeldUp(schedule=line.schedule.name, why=why))
                self._hold(line)
            case _:
                self._hold(line)

    def _hold(self, line: _Line) -> None:
        self._heap.add(line.schedule.name, self._clock.monotonic() + HOLD_S)

    def _when(self, line: _Line, slot: Slot) -> float:
        """When this node does so (monotonic)."""
        patience = self._turns.patience(line.schedule.name)
        return line.timeline.due(slot) - self._ahead + patience

    def _expect(self, line: _Line) -> None:
        """Come back then, at once where that has passed."""
        if (slot := line.next(self._now())) is not None:
            self._heap.add(line.schedule.name, self._when(line, slot))
