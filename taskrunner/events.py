"""What happens in a supervisor, as named events with a payload, and who is told.

Logic emits events and knows nothing of logs; `log` turns them into lines. Times are in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

_log = logging.getLogger("taskrunner")


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened."""


@dataclass(frozen=True, slots=True)
class NodeStarted(Event):
    node: str
    processes: int
    queues: tuple[str, ...] | None
    """None: every queue of the namespace"""


@dataclass(frozen=True, slots=True)
class NodeStopping(Event):
    """The supervisor takes no more and lets the running jobs finish."""

    running: int = 0
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NodeStopped(Event):
    pass


@dataclass(frozen=True, slots=True)
class NodeWasLost(Event):
    """The store took back what this node held, because it had not heard of it for a lease."""


@dataclass(frozen=True, slots=True)
class ChildStarted(Event):
    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class ChildReady(Event):
    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class ChildDied(Event):
    """A child ended that was not asked to. `status`: what it exited with, or None; `signal`: what
    killed it, or None; `held`: the jobs it had been given and not reported; `why`: for what
    taskrunner killed it, where that was not for one job; `stacks`: of its threads, where it or
    taskrunner had them written down."""

    number: int
    pid: int
    status: int | None
    signal: int | None
    held: int
    why: str = ""
    peak_memory_kib: int = 0
    stacks: str = ""


@dataclass(frozen=True, slots=True)
class ChildReplaced(Event):
    """A child has had its time: another takes its place when it has finished what it runs."""

    number: int
    pid: int
    why: str


@dataclass(frozen=True, slots=True)
class ChildTooBig(Event):
    """A child that is to be replaced goes on growing. Bytes; `runs`: tasks and ids."""

    number: int
    pid: int
    limit: int
    resident: int
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryLimitTooLow(Event):
    """A child that has done nothing yet takes more than the limit, bytes: none can keep to it."""

    limit: int
    resident: int


@dataclass(frozen=True, slots=True)
class PoolResized(Event):
    """There are to be so many processes instead of so many; the same number: another was asked for
    and cannot be."""

    processes: int
    before: int
    why: str


@dataclass(frozen=True, slots=True)
class PoolBounded(Event):
    """Work waits, and there will be fewer processes than that would take, because of what the
    machine has to give."""

    processes: int
    wanted: int
    why: str


@dataclass(frozen=True, slots=True)
class Reloading(Event):
    """The application is imported anew, to replace the processes that run it."""


@dataclass(frozen=True, slots=True)
class Reloaded(Event):
    """So many processes run new code, and no other takes jobs. `new`: tasks that only this code
    declares; `gone`: those that it declares no longer."""

    processes: int
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadFailed(Event):
    """The new code cannot run, so the old one goes on. `traceback`: the application's own."""

    error: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    """A run of a job ended badly. `retry_in`: seconds to the next, None where there is none."""

    job_id: str
    task: str
    queue: str
    error: str
    retry_in: float | None


class Ran(NamedTuple):
    """A run that has ended. Not an event: there are more of them than of all events together."""

    queue: str
    task: str
    job_id: str
    outcome: str
    """what became of the job by it"""
    seconds: float
    is_first: bool
    """the job had not been started before"""


@dataclass(frozen=True, slots=True)
class JobsReturned(Event):
    """Jobs went back to their queues, and why."""

    count: int
    why: str


@dataclass(frozen=True, slots=True)
class OutcomeFenced(Event):
    """What a delivery came to was refused: by then the job belonged to another delivery."""

    job_id: str


@dataclass(frozen=True, slots=True)
class OutcomeDropped(Event):
    """The store takes neither what a delivery came to nor that its job failed: there must be
    something wrong with the job's record."""

    job_id: str
    queue: str
    error: str


@dataclass(frozen=True, slots=True)
class UnknownTaskParked(Event):
    """A job waits for a node that knows its task."""

    task: str
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class NodeKeptFree(Event):
    """A job was lost so often together with its node that the next one runs nothing beside it."""

    job_id: str
    task: str
    losses: int


@dataclass(frozen=True, slots=True)
class LaterMessageParked(Event):
    """A job waits, untouched, for a node of a later version of taskrunner, which wrote it."""

    version: int
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class MessageUnreadable(Event):
    """A job's record holds what this version cannot read; the job failed."""

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BrokerLost(Event):
    url: str
    error: str


@dataclass(frozen=True, slots=True)
class BrokerBack(Event):
    away_s: float


@dataclass(frozen=True, slots=True)
class QueuesLost(Event):
    """A part of the store is away, and these queues with it."""

    queues: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class QueuesBack(Event):
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceFailed(Event):
    """A pass of a supervisor's thread raised what nobody expected; the thread goes on."""

    service: str
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class ThreadsAtImport(Event):
    """Importing the application left threads running, which no fork can carry over."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HealthPortOpened(Event):
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class CommandHeard(Event):
    """Somebody sent this node a command. `known`: whether this version knows what to do."""

    do: str
    known: bool


@dataclass(frozen=True, slots=True)
class ScheduleDeclared(Event):
    """A schedule of this application's code was put into effect. `what`: added, changed, removed,
    or taken over from another application that declared it."""

    schedule: str
    what: str


@dataclass(frozen=True, slots=True)
class ScheduleNotDeclared(Event):
    """A schedule of this application's code was left alone, and why."""

    schedule: str
    why: str


@dataclass(frozen=True, slots=True)
class ScheduleUnreadable(Event):
    """A stored schedule cannot be followed by this node; the others are."""

    schedule: str
    why: str


@dataclass(frozen=True, slots=True)
class ScheduleHeldUp(Event):
    """A slot that is due cannot be submitted now."""

    schedule: str
    why: str


@dataclass(frozen=True, slots=True)
class Dump(Event):
    """The state of a supervisor in readable lines, because somebody asked for it."""

    text: str


Subscriber: TypeAlias = Callable[[Event], None]


class Events:
    """Tells every subscriber of every event, in the thread that emits.

    Any thread may emit. A subscriber must be quick; one that raises harms nobody: that is logged,
    and the others are told.
    """

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self.count_runs: Callable[[Sequence[Ran]], None] | None = None
        """who counts runs, if anybody does; asked once, when the node is put together"""

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell `subscriber` of everything from now on; call the answer to end that."""
        self._subscribers = (*self._subscribers, subscriber)

        def end() -> None:
            self._subscribers = tuple(one for one in self._subscribers if one is not subscriber)

        return end

    @property
    def has_subscribers(self) -> bool:
        return bool(self._subscribers)

    def emit(self, event: Event) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:  # noqa: BLE001  whatever a subscriber raises
                _log.exception("a subscriber failed on %s", type(event).__name__)
