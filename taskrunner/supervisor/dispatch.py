"""Who runs what: deliveries to children, unstarted work back from them, outcomes on to the settle.

    fetch thread ──accept──▶ backlog ──spread──▶ child's pipe        (both under one lock)
    main thread  ◀─finished, taken── child's pipe ──▶ settle

A child is given what it will run in the next few milliseconds, by what its tasks took before:
hundreds of no-ops, or one job of a second. What waits behind a slow job is asked back when a
neighbour is idle, and given back to the store when nobody here gets to it.

The fetch thread itself writes to the pipes: a hop over the main thread would cost a tenth of a
millisecond of every job's start.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from taskrunner import crashpoints
from taskrunner.brokers.base import Delivery, Outcome, OutcomeKind
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.events import Events
from taskrunner.frames import Kind
from taskrunner.retry import Policy
from taskrunner.seals import Seals
from taskrunner.supervisor import verdict
from taskrunner.supervisor.child import Child, Held, Phase
from taskrunner.supervisor.intake import Intake
from taskrunner.supervisor.lines import Lines
from taskrunner.supervisor.portions import Free, Portions
from taskrunner.supervisor.seclusion import Confirm, Seclusion
from taskrunner.supervisor.settle import Settle

PATIENCE_S = 1.0
"""How long unstarted work may wait here for a child before the store gets it back."""


class Dispatcher:
    """The node's table of deliveries. Thread-safe."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        events: Events,
        settle: Settle,
        room_opened: Callable[[], None],
        confirm: Confirm,
        used_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._events = events
        self._settle = settle
        self._room_opened = room_opened
        self._used_up = used_up
        self._seals = Seals(config)
        self._lock = threading.RLock()
        self._intake = Intake(config=config, events=events, settle=self.settle)
        self._lines = Lines()
        self._seclusion = Seclusion(confirm=confirm, most=config.max_crashes, events=events)
        self._children: list[Child] = []
        self._portions = Portions(config)
        self._are_several = self._is_mixed = False
        """generations of the user's code: that are known; that could be given something"""
        self._holding = False
        self._giving_back = False
        self._disowned: set[str] = set()

    # -- what there is

    def knows(self, *manifests: Mapping[str, Policy]) -> None:
        """What the generations declare that have children which get jobs, the newest first: its
        word counts where several know a task. What nobody knows any more is parked."""
        with self._lock:
            self._intake.tasks = {n: p for tasks in reversed(manifests) for n, p in tasks.items()}
            self._are_several = len(manifests) > 1
            self._see_mixture()
            self._lines.keep(self._intake.is_known)
            self._spread()

    def can_run(self, park_key: str) -> bool:
        """Whether what other nodes parked under this key can run here."""
        return self._intake.can_run(park_key)

    def add(self, child: Child) -> None:
        """A child is ready."""
        with self._lock:
            self._children.append(child)
            self._see_mixture()
            self._spread()
        self._room_opened()

    def dismiss(self, child: Child, phase: Phase) -> None:
        """A child gets nothing any more. What it holds is in this node's hands until it has
        finished that, or is `abandon`ed."""
        with self._lock:  # else the fetch thread might be about to give it something
            child.phase = phase
            self._see_mixture()

    def close(self, child: Child) -> None:
        """A child gets nothing any more, and what it has not begun goes elsewhere."""
        with self._lock:
            child.leaving = True
            self._see_mixture()
            self._take(child)

    def dismiss_idle(self, child: Child, phase: Phase) -> bool:
        """`dismiss`, unless it holds something; whether it was done."""
        with self._lock:
            if not child.held:
                self.dismiss(child, phase)
            return not child.held

    def _see_mixture(self) -> None:
        """While code is being replaced, a job must get to a child that knows its task."""
        open_ = (c for c in self._children if c.phase is Phase.READY and not c.leaving)
        self._is_mixed = self._are_several or len({id(c.generation) for c in open_}) > 1

    @property
    def count(self) -> int:
        """Deliveries in this node's hands."""
        with self._lock:
            return len(self._lines) + sum(len(child.held) for child in self._children)

    def load(self) -> tuple[int, int, int]:
        """Slots in use, slots that are free, and jobs that wait here for one."""
        with self._lock:
            in_use = sum(min(len(c.held), c.concurrency) for c in self._children)
            free = sum(c.idle_slots for c in self._children if c.may_receive)
            return in_use, free, self._lines.wanting

    def numbers(self) -> set[tuple[str, int]]:
        """The tokens of all of them."""
        with self._lock:
            inside = (held for child in self._children for held in child.held.values())
            helds = chain(self._lines, inside)
            return {(held.delivery.node, held.delivery.number) for held in helds}

    def probe(self, number: int) -> list[Child]:
        """Ask every child that gets work; one that leaves unread what it was sent gets no more."""
        with self._lock:
            for child in self._children:
                if not child.channel.unsent:
                    child.channel.send(Kind.PROBE, number)
            return list(self._children)

    # -- room

    def room(self, queue: str) -> int:
        """How many more jobs of this queue there is use for now."""
        with self._lock:
            is_closed = self._holding or self._giving_back or self._seclusion.is_on
            if is_closed or queue in self._lines.out:
                return 0
            free = self._free()
        size = self._intake.expected_size(queue)
        return self._portions.jobs(free, queue=queue, expected_bytes=size)

    def _free(self) -> Free:
        """What all children together have use for."""
        waiting = self._lines.wanting
        tasks = (held.task for held in islice(self._lines, min(100, waiting)))
        return self._portions.free(self._children, waiting=waiting, tasks=tasks)

    # -- in

    def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Take in what was fetched, and pass it on. Fetch thread."""
        now = self._clock.monotonic()
        with self._lock:
            for delivery in deliveries:
                try:
                    held = self._intake.examined(delivery, now)
                except Exception as error:  # noqa: BLE001  whatever it is, it stops no other job
                    self._intake.refuse(delivery, error)
                    continue
                if held is not None:
                    self._lines.add(held)
            if self._giving_back:
                self._return_backlog()
            else:
                self._spread()

    def _spread(self) -> None:
        """Give the backlog to children, evenly, as far as they have use for it."""
        if self._holding:
            return
        now, lines = self._clock.monotonic(), self._lines
        if (lines.suspects.want_seats or self._seclusion.is_on) and self._seat(now):
            return
        if not lines.backlog:
            return
        ready = sorted((c for c in self._children if c.may_receive), key=lambda c: c.load)
        if crashpoints.ARMED:
            crashpoints.reach("dispatch.before")
        for position, child in enumerate(ready):
            share = -(-len(lines.backlog) // (len(ready) - position))
            batch = self._batch(child, share)
            if batch:
                child.give(batch, now)
            if not lines.backlog:
                break
        if crashpoints.ARMED:
            crashpoints.reach("dispatch.after")
        if self._config.max_jobs is not None and any(c.jobs_left <= 0 for c in self._children):
            self._used_up()

    def _seat(self, now: float) -> bool:
        """Give suspects to children that have nothing else; whether everything else has to wait."""
        suspects, seclusion, was_on = self._lines.suspects, self._seclusion, self._seclusion.is_on
        fits = Child.knows if self._is_mixed else _always
        if seclusion.look(suspects, self._children, now, fits=fits, told=self._told_alone):
            for child in () if was_on else self._children:
                self._take(child)
            self._return_backlog(older_than=math.inf, but=suspects.first)
            return True
        others_wait = bool(self._lines.backlog)
        suspects.seat(
            self._children, now, others_wait=others_wait, fits=seclusion.unless_barred(fits)
        )
        if was_on:
            self._room_opened()
        return False

    def _told_alone(self, held: Held, is_noted: bool) -> None:
        """The store knows that this job is alone on this node, or could not be told."""
        with self._lock:
            self._seclusion.answered(held, is_noted)
            if not self._giving_back:
                self._spread()

    def _batch(self, child: Child, most: int) -> list[Held]:
        backlog = self._lines.backlog
        if not self._is_mixed:
            return self._portions.batch(child, backlog, most)
        batch = self._portions.batch(child, deque(filter(child.knows, backlog)), most)
        given = set(batch)
        self._lines.keep(lambda held: held not in given)
        return batch

    # -- out

    def finished(self, child: Child, rows: list[list[Any]]) -> None:
        """A child reported outcomes. Main thread."""
        done: dict[str, list[Sequence[Any]]] = {}
        runs: list[tuple[str, str, float]] = []
        with self._lock:
            for row in rows:
                held = child.release(row[2])
                if held is None:
                    continue
                # Its own name, whatever the child called it: else a job would stay active for ever.
                row[:2] = held.delivery[:2]
                done.setdefault(held.delivery.node, []).append(row)
                if row[8] is not None:
                    self._events.emit(verdict.run_failed(held, row, self._seals))
                if row[4]:
                    runs.append((held.task, row[0], row[5]))
            self._portions.learn(runs)
            self._spread()
            free = self._free()
            can_wait = free.slots <= 0 and not self._giving_back
        for node, outcomes in done.items():
            self._settle(node, outcomes, can_wait=can_wait)
        if free.is_some:
            self._room_opened()

    def taken(self, child: Child, numbers: Iterable[int]) -> None:
        """A child gave back what it had not started. Main thread."""
        with self._lock:
            child.taking = False
            before = len(child.held)
            back = [h for h in map(child.release, numbers) if h is not None and self._is_ours(h)]
            child.given -= before - len(child.held)
            now = self._clock.monotonic()
            for held in back:
                held.delivery, held.since = held.aged(now), now
            self._lines.put_back(filter(self._intake.is_known, back))
            if self._giving_back:
                self._return_backlog()
            else:
                self._spread()

    def abandon(self, child: Child) -> None:
        """A child is gone: what it had not started goes to its neighbours."""
        with self._lock:
            if child in self._children:
                self._children.remove(child)
                self._see_mixture()
            back = filter(self._is_ours, child.held.values())
            self._lines.put_back(filter(self._intake.is_known, back))
            child.held.clear()
            if self._giving_back:
                self._return_backlog()
            else:
                self._spread()
        self._room_opened()

    def decline(self, delivery: Delivery) -> None:
        """Give back, at once, what there is no room for."""
        queue, job_id, node, number = delivery[:4]
        back = Outcome(queue, job_id, number, OutcomeKind.RELEASED, started=False)
        self._settle(node, [back])

    def settle(self, held: Held, outcome: Outcome) -> None:
        """Send an outcome that was decided here and not by the child, its error as a child would."""
        self._settle(held.delivery.node, [verdict.sealed(outcome, held, self._seals)])

    # -- back

    def unblocked(self, child: Child, number: int) -> None:
        """A job of this child has the result it waited for."""
        with self._lock:
            child.blocked.discard(number)
            self._spread()
        self._room_opened()

    def rebalance(self) -> None:
        """One look at who waits behind whom. Main thread, some dozens of times a second."""
        with self._lock:
            now = self._clock.monotonic()
            idle = any(child.may_receive and not child.held for child in self._children)
            for child in self._children:
                if not child.taking and self._portions.are_stuck(child, now, idle=idle):
                    self._take(child)
            if not self._holding and (self._lines.waits or self._seclusion.is_on):
                self._spread()
                if not self._seclusion.is_on:
                    self._return_backlog(older_than=now - PATIENCE_S)

    def hold(self) -> None:
        """Start nothing more: the lease may have run out. What runs goes on."""
        with self._lock:
            self._holding = True
            for child in self._children:
                self._take(child)

    def resume(self) -> None:
        with self._lock:
            self._holding = False
            self._spread()
        self._room_opened()

    def keep_out(self, queues: frozenset[str]) -> None:
        """Start nothing of these queues, and of no others: the lease may have run out in them. What
        runs goes on."""
        with self._lock:
            self._lines.keep_out(queues)
            for child in self._children:
                if any(held.delivery.queue in queues for held in child.held.values()):
                    self._take(child)
            self._spread()
        self._room_opened()

    def disown(self, node: str) -> None:
        """The store took back what this node id held: what has not started is not ours any more."""
        with self._lock:
            self._disowned.add(node)
            self._lines.keep(self._is_ours)
            for child in self._children:
                self._take(child)

    def _is_ours(self, held: Held) -> bool:
        return held.delivery.node not in self._disowned

    def give_back(self) -> None:
        """Return everything unstarted to the store, now and from here on: the node stops."""
        with self._lock:
            self._giving_back = True
            self._return_backlog()
            for child in self._children:
                self._take(child)

    def _take(self, child: Child) -> None:
        if child.phase is Phase.READY and not child.taking and child.held:
            child.taking = True
            child.channel.send(Kind.TAKE, 0, len(child.held))

    def _return_backlog(self, older_than: float | None = None, but: Held | None = None) -> None:
        back: dict[str, list[Sequence[Any]]] = {}
        for held in self._lines.pop(older_than, but):
            back.setdefault(held.delivery.node, []).append(verdict.released(held))
        if back and crashpoints.ARMED:
            crashpoints.reach("release.before")
        for node, outcomes in back.items():
            # The store puts each at the head of its priority: the oldest must come last.
            self._settle(node, outcomes)
        if back and crashpoints.ARMED:
            crashpoints.reach("release.after")


def _always(_child: Child, _held: Held) -> bool:
    return True
