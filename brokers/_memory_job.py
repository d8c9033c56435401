"""A job's record in the memory broker, and the steps that concern one record only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import Final, NamedTuple

from taskrunner.brokers.base import (
    ERRORS_KEPT,
    LOSSES_OF_SUSPECTS,
    Blame,
    Delivery,
    JobRecord,
    Outcome,
    OutcomeKind,
)
from taskrunner.limits import OwnLimits, Scope
from taskrunner.message import ErrorInfo, Lock, Message
from taskrunner.states import FINISHED, State

_ENDS_AS: Final = {
    OutcomeKind.SUCCEEDED: State.SUCCEEDED,
    OutcomeKind.FAILED: State.FAILED,
    OutcomeKind.RETRY: State.RETRYING,
    OutcomeKind.RELEASED: State.PENDING,
    OutcomeKind.CANCELLED: State.CANCELLED,
    OutcomeKind.EXPIRED: State.EXPIRED,
    OutcomeKind.PARKED: State.WAITING,
}


@dataclass(slots=True)
class Job:
    """A job's record: what others see of it (JobRecord says what each means), and below the line
    what only the store needs."""

    queue: str
    id: str
    state: State
    wire: bytes
    priority: int
    created_at: float
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    losses: int = 0
    eta: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    deadline: float | None = None
    node: str | None = None
    number: int | None = None
    pid: int | None = None
    progress: bytes | None = None
    result: bytes | None = None
    errors: tuple[bytes, ...] = ()
    reason: str | None = None
    cancelling: bool = False
    park_key: str | None = None
    suspect: bool = False
    replaced: int = 0
    # ------
    call: str = ""
    settled_as: State | None = None
    """what the settle of the last delivery was answered; None: it was not settled"""
    ticket: int = 0
    """of its entry in the ready lists; 0: none"""
    park_ends: float = 0.0
    keep_until: float = 0.0
    schedule: str = ""
    """whose firing it is"""
    alone: int = 0
    """its node runs nothing else, and the crash of this number ends the job; 0: that is not known"""
    lock: Lock | None = None
    lock_ends: float = inf
    task: str = ""
    own: OwnLimits | None = None
    """what it says of its limits"""
    place: Scope | None = None
    """in which it is counted while it is active"""
    rank: float = 0.0
    """its place in the line behind a gate"""

    @classmethod
    def from_message(cls, message: Message, now: float) -> Job:
        job = cls(
            queue=message.queue,
            id=message.id,
            state=State.PENDING,
            wire=message.wire,
            priority=message.priority,
            created_at=now,
            call=message.call,
        )
        job.take_over(message, now)
        return job

    def take_over(self, message: Message, now: float) -> None:
        """Write down what a message says of its job; where it goes by that, is in `state`."""
        timing, lock = message.timing, message.lock
        eta = _moment(timing.eta, timing.delay, now)
        self.state = State.SCHEDULED if eta is not None and eta > now else State.PENDING
        self.wire, self.priority = message.wire, message.priority
        self.task, self.own = message.task, OwnLimits.read(message.header.limit_keys)
        self.eta, self.deadline = eta, timing.deadline
        self.expires_at = _moment(timing.expires_at, timing.expires_in, now)
        self.lock = lock
        self.lock_ends = inf if lock is None or lock.seconds is None else now + lock.seconds

    def replace(self, message: Message, now: float) -> None:
        """Another message instead of its own. The failures that count begin anew, and the last
        token, if it is unsettled, is of what was there before."""
        self.take_over(message, now)
        self.failures, self.reason = 0, None
        self.node = self.number = self.settled_as = None
        self.started_at = self.pid = self.progress = self.park_key = None
        self.replaced += 1

    def has_lock(self, key: str, now: float) -> bool:
        """Whether this unique key is its own."""
        is_its = self.lock is not None and self.lock.key == key
        return is_its and self.state not in FINISHED and self.lock_ends > now

    def deliver_to(self, node: str, number: int) -> None:
        """Write down a new token and forget what was noted under the last."""
        self.node, self.number, self.settled_as = node, number, None
        self.started_at = self.pid = self.progress = None
        self.alone = 0

    def delivery(self, now: float) -> Delivery:
        return Delivery(
            queue=self.queue,
            id=self.id,
            node=self.node or "",
            number=self.number or 0,
            wire=self.wire,
            attempts=self.attempts,
            failures=self.failures,
            crashes=self.crashes,
            losses=self.losses,
            expires_in=None if self.expires_at is None else self.expires_at - now,
            deadline_in=None if self.deadline is None else self.deadline - now,
            suspect=self.suspect,
        )

    def holds(self, node: str, number: int) -> bool:
        """Whether this token is the last delivery's."""
        return self.number == number and self.node == node

    def accepts_settle(self) -> bool:
        """Whether a settle under the last token changes anything. Pending: it was taken back from
        a node that was thought lost, and nobody has fetched it since."""
        return self.settled_as is None and self.state in (State.ACTIVE, State.PENDING)

    def settle(self, outcome: Outcome, now: float) -> None:
        """Write down what happened in the run, wherever the job goes."""
        self.settled_as = State.CANCELLED if self.cancelling else _state_after(outcome)
        self.reason = outcome.reason
        self.attempts += outcome.started
        self.failures += outcome.blame == Blame.FAILURE
        self.crashes += outcome.blame == Blame.CRASH
        self.suspect = outcome.blame == Blame.SUSPICION or (
            self.suspect and _proves_nothing(outcome)
        )
        if outcome.error is not None:
            self._remember(outcome.error)
        if outcome.started and self.started_at is None:
            self.started_at = now - outcome.ran

    def _remember(self, error: bytes) -> None:
        self.errors = (error, *self.errors)[:ERRORS_KEPT]

    def lose(self, now: float) -> bool:
        """Its node was lost while it held the job; whether that was once too often."""
        self.losses += 1
        self.suspect = self.suspect or self.losses >= LOSSES_OF_SUSPECTS
        if not self.alone:
            return False
        self.crashes += 1
        self._remember(lost_alone(self.node or "", self.attempts + 1, now))
        return self.crashes >= self.alone

    def begin_anew(self, now: float) -> None:
        """Forget how it went, for another beginning by an operator's word."""
        if self.settled_as is None:
            self.node = self.number = None  # whoever held it may not settle what begins now
        self.failures = self.crashes = self.losses = 0
        self.eta = now
        self.started_at = self.finished_at = self.pid = None
        self.progress = self.result = self.reason = None
        self.suspect = self.cancelling = False
        self.expires_at = _to_come(self.expires_at, now)
        self.deadline = _to_come(self.deadline, now)

    def record(self) -> JobRecord:
        return JobRecord(**{name: getattr(self, name) for name in _SHOWN})


_SHOWN: Final = tuple(f.name for f in fields(JobRecord))


class Tombstone(NamedTuple):
    """What must still be known of a record that is gone, or of a message that another job took, to
    answer repeated calls."""

    call: str
    node: str | None
    number: int | None
    settled_as: State | None
    until: float
    taken_by: str | None = None
    """the job that has taken the message"""


def _moment(at: float | None, after: float | None, now: float) -> float | None:
    return now + after if at is None and after is not None else at


def _to_come(moment: float | None, now: float) -> float | None:
    return moment if moment is not None and moment > now else None


def _proves_nothing(outcome: Outcome) -> bool:
    """Whether the run, if there was one, says nothing about who kills processes."""
    died = outcome.blame == Blame.CRASH or outcome.kind == OutcomeKind.RELEASED
    return died or not outcome.started


def _state_after(outcome: Outcome) -> State:
    if outcome.kind == OutcomeKind.RETRY and outcome.delay <= 0:
        return State.PENDING
    return _ENDS_AS[OutcomeKind(outcome.kind)]


def lost_alone(node: str, attempt: int, now: float) -> bytes:
    """What is told of a run that ended with the node that ran it, and nothing else."""
    text = f"node {node} was lost, which ran this job and nothing else"
    return ErrorInfo("crashed", text, "", attempt, now).pack()
