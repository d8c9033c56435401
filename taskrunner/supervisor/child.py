"""One child as its supervisor sees it: what it holds, what it runs, how it is doing."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from taskrunner.brokers.base import Delivery
from taskrunner.frames import MAX_FRAME, Kind, Why
from taskrunner.retry import Policy
from taskrunner.supervisor.channel import Channel
from taskrunner.supervisor.generation import Exit, Generation
from taskrunner.supervisor.health import Sentence
from taskrunner.worker.evidence import Evidence, Line
from taskrunner.worker.startpage import SlotView, StartPage

MOST_IN_FRAME = MAX_FRAME - 1024 * 1024
"""Bytes of messages in one frame; the rest is room for what travels with them."""


NO_LIMIT = sys.maxsize


class Phase(Enum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    """gets no more work; exits when what it runs has ended"""
    KILLED = "killed"
    """told to die by us; its exit is awaited"""


@dataclass(slots=True, eq=False)
class Held:
    """A delivery in this node's hands."""

    delivery: Delivery
    task: str
    policy: Policy
    since: float
    """monotonic time of its fetch"""
    limit: float | None
    """seconds a run may take"""
    estimate: float = 0.0
    noted: bool = False
    interrupted: tuple[Why, float] | None = None
    """why, and the monotonic time at which"""

    @property
    def size(self) -> int:
        return len(self.delivery.wire)

    def aged(self, now: float) -> Delivery:
        """The delivery with its times counted from now."""
        delivery = self.delivery
        if delivery.expires_in is None and delivery.deadline_in is None:
            return delivery
        age = now - self.since
        return delivery._replace(
            expires_in=None if delivery.expires_in is None else delivery.expires_in - age,
            deadline_in=None if delivery.deadline_in is None else delivery.deadline_in - age,
        )

    def deadline(self) -> float | None:
        """The monotonic time of the job's deadline."""
        left = self.delivery.deadline_in
        return None if left is None else self.since + left


@dataclass(slots=True, eq=False)
class Child:
    """A process, or a thread that plays one."""

    number: int
    generation: Generation
    page: StartPage
    concurrency: int
    max_jobs: int = NO_LIMIT
    """how many it may be given before another takes its place"""
    extra: bool = False
    """started because all others wait for results"""
    trial: bool = False
    """started to see whether new code can start at all"""
    end: tuple[Exit, list[Line]] | None = None
    """how it died while it was on trial, and its last lines"""
    channel: Channel = field(init=False)
    pid: int = 0
    phase: Phase = Phase.STARTING
    busy_at: float = 0.0
    """monotonic time at which it started or last reported an outcome"""
    heard_at: float = 0.0
    """monotonic time of its last frame, or of its start"""
    held: dict[int, Held] = field(default_factory=dict)
    """by number, in the order in which it was sent"""
    load: float = 0.0
    """seconds of work that it holds, estimated"""
    bytes: int = 0
    blocked: set[int] = field(default_factory=set)
    """numbers of running jobs that wait for another job's result"""
    alone: int = 0
    """number of the suspect that it runs, and nothing beside it; 0: none"""
    reserved: bool = False
    """a suspect waits until it is empty"""
    taking: bool = False
    """a question of what it can give back is out"""
    given: int = 0
    """jobs that it was given and has not given back"""
    predecessor: Child | None = None
    """whose place it takes: what that one still runs counts here too"""
    successor: Child | None = None
    """who takes its place"""
    leaving: bool = False
    """that one is ready, so this one gets nothing more and ends when it is empty"""
    killed_for: tuple[int, Why] | None = None
    """number of the job for which it was killed"""
    sentence: Sentence | None = None
    unheard: deque[list[Any]] = field(default_factory=deque)
    """frames that wait behind a question, since too many are out"""
    questions: list[int] = field(default_factory=lambda: [0, 0])
    """upcalls that are not answered yet: those to the broker, and those that wait for a job's end"""
    evidence: Evidence = field(init=False)

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.page)
        self.page.seal()

    @property
    def places(self) -> int:
        """How many jobs it may run at once. One that waits for a result takes none."""
        before = self.predecessor
        taken = 0 if before is None else len(before.held) - len(before.blocked)
        return self.concurrency - taken

    @property
    def jobs_left(self) -> int:
        return self.max_jobs - self.given

    @property
    def idle_slots(self) -> int:
        return min(self.jobs_left, max(0, self.places - len(self.held)))

    @property
    def is_closed(self) -> bool:
        """It is to get nothing more for now, whatever its slots do."""
        return bool(self.alone) or self.reserved or self.leaving or self.jobs_left <= 0

    @property
    def is_blocked(self) -> bool:
        """Everything that it could run waits for a result."""
        slots = self.concurrency
        if self.is_closed:
            slots = min(slots, max(1, len(self.held)))
        return len(self.blocked) >= slots

    @property
    def is_able(self) -> bool:
        """It runs jobs, or could at once."""
        return self.phase is Phase.READY and not self.is_blocked

    @property
    def may_receive(self) -> bool:
        return self.is_able and not (self.taking or self.is_closed) and self.places > 0

    def knows(self, held: Held) -> bool:
        """Its code declares the task."""
        return held.task in self.generation.manifest.tasks

    def give_alone(self, held: Held, now: float) -> None:
        """Send a suspect: until that is done, nothing else may come."""
        self.alone = held.delivery.number
        self.give([held], now)

    def give(self, rows: list[Held], now: float) -> None:
        """Send work, and remember it."""
        self.given += len(rows)
        before = self.bytes
        for held in rows:
            self.held[held.delivery.number] = held
            self.load += held.estimate
            self.bytes += held.size
        for part in [rows] if self.bytes - before <= MOST_IN_FRAME else _parts(rows):
            self.channel.send(Kind.RUN, [held.aged(now) for held in part])

    def release(self, number: int) -> Held | None:
        """Forget a delivery: it was reported, or taken back."""
        held = self.held.pop(number, None)
        if held is not None:
            if number == self.alone:
                self.alone = 0
            self.load = self.load - held.estimate if self.held else 0.0
            self.bytes -= held.size
            self.blocked.discard(number)
        return held

    def running(self) -> Iterator[tuple[Held, float]]:
        """What runs now, with the monotonic time of its start."""
        for slot in self.page.slots():
            if slot.running:
                held = self.held.get(slot.number)
                if held is not None:
                    yield held, slot.started_ns / 1e9

    def split(self) -> tuple[list[Held], list[Held], list[Held]]:
        """What it holds as (finished but unreported, running, unstarted), from the start page.

        Starts happen in the order of delivery, so everything sent before the last start that is
        still unreported has begun too.
        """
        slots = [slot for slot in self.page.slots() if slot.number]
        begun = {slot.number for slot in slots}
        running = {slot.number for slot in slots if slot.running}
        last = max(slots, key=_start, default=None)
        if last is not None and last.number in self.held:
            for number in self.held:
                begun.add(number)
                if number == last.number:
                    break
        held = self.held.items()
        return (
            [h for n, h in held if n in begun and n not in running],
            [h for n, h in held if n in running],
            [h for n, h in held if n not in begun],
        )


def _parts(rows: list[Held]) -> Iterator[list[Held]]:
    """The same in parts that fit into a frame each."""
    part: list[Held] = []
    size = 0
    for held in rows:
        if part and size + held.size > MOST_IN_FRAME:
            yield part
            part, size = [], 0
        part.append(held)
        size += held.size
    yield part


def _start(slot: SlotView) -> int:
    return slot.started_ns
