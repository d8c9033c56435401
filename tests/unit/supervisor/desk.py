"""A dispatcher whose children are nothing but their fields, and a pipe that remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from taskrunner.brokers.base import Delivery, Note, Outcome, OutcomeKind
from taskrunner.config import Config
from taskrunner.events import Events
from taskrunner.frames import Kind
from taskrunner.message import Header, Message
from taskrunner.retry import Policy
from taskrunner.supervisor.channel import Channel
from taskrunner.supervisor.child import NO_LIMIT, Child, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.generation import Generation, Manifest
from taskrunner.testing.clock import FakeClock
from taskrunner.worker.startpage import StartPage


class Pipe:
    def __init__(self) -> None:
        self.sent: list[list[Any]] = []
        self.refused = ""

    def send(self, kind: Kind, *values: Any) -> None:
        self.sent.append([kind, *values])


class Desk:
    """Deliveries go in by `fetched`, ordinary ones and suspects; `done` lets a child report."""

    def __init__(self, *, concurrency: int = 1, **settings: Any) -> None:
        self.clock = FakeClock()
        self.settled: list[Outcome] = []
        self.could_wait: list[bool] = []
        """by call of the settle"""
        self.rooms = 0
        """how often the fetch thread was told that there is room"""
        self.used_up = 0
        self.alone: list[tuple[str, int | None]] = []
        """notes about jobs that run alone"""
        self.told: Callable[[bool], None] = lambda _: None
        """what the store would call with its answer to the last of them"""
        self.config = replace(Config(), concurrency=concurrency, **settings)
        self.dispatcher = Dispatcher(
            config=self.config,
            clock=self.clock,
            events=Events(),
            settle=self._settle,
            room_opened=self._note_room,
            confirm=self._note_alone,
            used_up=self._note_use,
        )
        self.dispatcher.knows({"t": Policy()})
        self.children: list[Child] = []
        self._generations: dict[tuple[str, ...], SimpleNamespace] = {}
        self._numbers = 0

    def child(self, before: Child | None = None, knows: Iterable[str] = ("t",)) -> Child:
        """One more that is ready; `before`: the one whose place it takes; `knows`: the tasks of its
        code."""
        page = StartPage.create(self.config.concurrency)
        number = len(self.children) + 1
        manifest = Manifest(dict.fromkeys(knows, Policy()))
        generation = self._generations.setdefault(tuple(knows), SimpleNamespace(manifest=manifest))
        child = Child(number, cast(Generation, generation), page, self.config.concurrency)
        page.close_fd()
        child.channel = cast(Channel, Pipe())
        child.phase = Phase.READY
        child.max_jobs = self.config.max_jobs or NO_LIMIT
        if before is not None:
            before.successor, child.predecessor = child, before
            self.dispatcher.close(before)
        self.children.append(child)
        self.dispatcher.add(child)
        return child

    def _note_alone(self, _node: str, note: Note, told: Callable[[bool], None]) -> None:
        self.alone.append((note.id, note.alone))
        self.told = told

    def _settle(self, _: str, rows: list[Sequence[Any]], *, can_wait: bool = False) -> None:
        self.settled.extend(Outcome(*row) for row in rows)
        self.could_wait.append(can_wait)

    def _note_room(self) -> None:
        self.rooms += 1

    def _note_use(self) -> None:
        self.used_up += 1

    def knows(self, *manifests: Iterable[str]) -> None:
        """The tasks of each generation, the newest first."""
        self.dispatcher.knows(*(dict.fromkeys(tasks, Policy()) for tasks in manifests))

    def fetched(self, *ids: str, task: str = "t", suspect: bool = False, **fields: Any) -> None:
        """Take in deliveries; their numbers go on from the last."""
        wire = Message("id", "q", Header(task), b"").wire
        deliveries = []
        for job_id in ids:
            self._numbers += 1
            delivery = Delivery("q", job_id, "n", self._numbers, wire, 0, 0, 0, 0, None, None)
            deliveries.append(delivery._replace(suspect=suspect, **fields))
        self.dispatcher.accept(deliveries)

    def done(self, child: Child, *ids: str, ran: float = 1.0) -> None:
        """The child reports these as succeeded."""
        numbers = {held.delivery.id: number for number, held in child.held.items()}
        rows = [
            list(Outcome("q", job_id, numbers[job_id], OutcomeKind.SUCCEEDED, ran=ran))
            for job_id in ids
        ]
        self.dispatcher.finished(child, rows)

    def blocked(self, child: Child, job_id: str) -> None:
        """A job of this child waits for the result of another."""
        child.blocked.add(next(n for n, h in child.held.items() if h.delivery.id == job_id))

    @property
    def held(self) -> list[list[str]]:
        """Ids in each child."""
        return [[held.delivery.id for held in child.held.values()] for child in self.children]

    @property
    def parked(self) -> list[str]:
        return [str(o.park_key) for o in self.settled if o.kind is OutcomeKind.PARKED]

    @property
    def released(self) -> Counter[str]:
        return Counter(o.id for o in self.settled if o.kind is OutcomeKind.RELEASED)


@contextmanager
def desk(children: int = 1, *, concurrency: int = 1, **settings: Any) -> Iterator[Desk]:
    """One with so many children."""
    made = Desk(concurrency=concurrency, **settings)
    for _ in range(children):
        made.child()
    yield made
    for child in made.children:
        child.evidence.close()
        child.page.close()
