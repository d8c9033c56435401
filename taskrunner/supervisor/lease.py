"""The lease thread: beats, start notes and progress; knows whether this node may still start work.

A beat that is late proves nothing by itself, but a node that has not renewed for one whole lease, by
its own monotonic clock, must expect that its jobs were taken back: it starts nothing more until a
beat has got through. The time counted is that before the call, not after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from taskrunner.brokers.base import Broker, JobKey, Note
from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable, NodeLost, PartlyUnavailable
from taskrunner.service import Mishaps, ServiceThread
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.outage import Outage

BEATS_IN_A_LEASE = 3
RETRY_S = 0.25
PART_RETRY_S = 0.5
"""While a part of the store is away."""


class HearsLease(Protocol):
    """Who is told what the beats bring."""

    def cancels(self, marked: list[tuple[JobKey, int]]) -> None: ...
    def node_lost(self, node: str) -> None: ...
    def lease_ran_out(self) -> None: ...
    def queues_ran_out(self, queues: frozenset[str]) -> None:
        """In these queues, and in no others, the lease has run out: they are away, or were."""
        ...

    def lease_renewed(self, until: float) -> None: ...


class LeaseService:
    """One thread; tells `hears` of changes, from that thread."""

    def __init__(
        self,
        *,
        broker: Broker,
        membership: Membership,
        outage: Outage,
        clock: Clock,
        hears: HearsLease,
        mishaps: Mishaps,
    ) -> None:
        self._broker = broker
        self._membership = membership
        self._outage = outage
        self._clock = clock
        self._hears = hears
        self._notes: dict[tuple[str, int], Note] = {}
        """the newest of each delivery, by its token"""
        self._questions: list[tuple[str, Note, Callable[[bool], None]]] = []
        self._condition = threading.Condition()
        self._mishaps = mishaps
        self.thread = ServiceThread("lease", self._pass, mishaps)
        self._beaten_at = clock.monotonic()
        self._next_beat = clock.monotonic()
        self._is_out = False
        self._missed: dict[str, float] = {}
        """queues that the last beat did not reach, and when one last did"""
        self._queues_out: frozenset[str] = frozenset()
        self._hurried = False

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.thread.stopping.set()
        with self._condition:
            self._condition.notify_all()
        self.thread.join()

    def note(self, node: str, note: Note) -> None:
        """Write this down soon. Any thread."""
        with self._condition:
            before = self._notes.get((node, note.number))
            if before is not None and note.progress is None:
                note = note._replace(progress=before.progress)
            self._notes[node, note.number] = note
            self._condition.notify_all()

    def confirm(self, node: str, note: Note, told: Callable[[bool], None]) -> None:
        """Write this down at once, and tell whether the store did. Any thread; told in this one."""
        with self._condition:
            self._questions.append((node, note, told))
            self._condition.notify_all()

    def hurry(self) -> None:
        """Beat soon: somebody found a queue away, and may have been unlucky. Any thread."""
        with self._condition:
            self._hurried = True
            self._condition.notify_all()

    def _pass(self) -> None:
        self.run_once()
        stopping = self.thread.stopping
        with self._condition:
            wait = self._next_beat - self._clock.monotonic()
            self._condition.wait_for(
                lambda: stopping.is_set() or self._notes or self._questions or self._hurried,
                max(0.0, wait),
            )
            if self._hurried:
                self._hurried = False
                soon = self._clock.monotonic() + RETRY_S
                self._next_beat = min(self._next_beat, soon)

    def run_once(self) -> None:
        """Send the notes there are, and a beat if it is time."""
        now = self._clock.monotonic()
        try:
            self._ask()
            self._send_notes()
        except Exception as error:  # noqa: BLE001  whatever is wrong with them, the beat must go out
            self._mishaps.noticed(self.thread.name, error)
        try:
            if now >= self._next_beat:
                self._beat(now)
        finally:
            self._look_at_lease()

    def _look_at_lease(self) -> None:
        now, lease = self._clock.monotonic(), self._membership.info.lease
        if not self._is_out and now - self._beaten_at > lease:
            self._is_out = True
            self._hears.lease_ran_out()
        out = frozenset(queue for queue, at in self._missed.items() if now - at > lease)
        if out != self._queues_out:
            self._queues_out = out
            self._hears.queues_ran_out(out)

    def _ask(self) -> None:
        with self._condition:
            questions, self._questions = self._questions, []
        for node, note, told in questions:
            try:
                (is_noted,) = self._broker.note(node, [note])
            except PartlyUnavailable as error:
                self._outage.partly(error.queues, error)
                is_noted = False
            except BrokerUnavailable as error:
                self._outage.failed(error)
                is_noted = False
            told(is_noted)

    def _send_notes(self) -> None:
        with self._condition:
            notes, self._notes = self._notes, {}
        by_node: dict[str, list[Note]] = {}
        for (node, _), note in notes.items():
            by_node.setdefault(node, []).append(note)
        for node, some in by_node.items():
            try:
                self._broker.note(node, some)
            except PartlyUnavailable as error:
                self._outage.partly(error.queues, error)
            except BrokerUnavailable as error:
                # Lost, not repeated: a start is told again by the settle, progress by the next.
                self._outage.failed(error)
                return

    def _beat(self, now: float) -> None:
        node = self._membership.info
        away = self._unjoined()
        queues = [queue for queue in self._membership.queues() if queue not in away]
        try:
            cancelled = self._broker.beat(node, queues)
        except PartlyUnavailable as error:
            cancelled, away = error.answer, away | error.queues
            self._outage.partly(error.queues, error)
        except BrokerUnavailable as error:
            self._outage.failed(error)
            self._next_beat = now + RETRY_S
            return
        except NodeLost:
            self._hears.node_lost(node.id)
            self._next_beat = now
            return
        self._outage.succeeded()
        self._outage.beaten(away)
        self._renewed(now, node.lease, away)
        if cancelled:
            self._hears.cancels(cancelled)
        self._beat_among_orphans()

    def _unjoined(self) -> frozenset[str]:
        """The queues that are away since before this node could join them."""
        try:
            self._membership.join_rest()
        except PartlyUnavailable as error:
            self._outage.partly(error.queues, error)
            return error.queues
        return frozenset()

    def _renewed(self, now: float, lease: float, away: frozenset[str]) -> None:
        """The lease was renewed, but in the queues that are away."""
        self._missed = {queue: self._missed.get(queue, self._beaten_at) for queue in away}
        self._beaten_at = now
        self._next_beat = now + (PART_RETRY_S if away else lease / BEATS_IN_A_LEASE)
        self._is_out = False
        still_in = [at for at in self._missed.values() if now - at <= lease]
        self._hears.lease_renewed(min(still_in, default=now) + lease)

    def _beat_among_orphans(self) -> None:
        try:
            self._membership.beat_among_orphans()
        except BrokerUnavailable as error:
            self._outage.failed(error)
