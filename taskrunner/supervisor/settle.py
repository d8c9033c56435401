"""The settle thread: takes the outcomes that have arrived to the broker, all in one round trip."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from taskrunner.backends.base import ResultBackend, ResultKey, StoredResult
from taskrunner.brokers.base import Broker, Outcome, OutcomeKind
from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable
from taskrunner.events import Events, OutcomeDropped, OutcomeFenced
from taskrunner.message import ErrorInfo
from taskrunner.service import Mishaps, ServiceThread
from taskrunner.states import State
from taskrunner.supervisor.outage import Outage, Persistent

MOST_AT_ONCE = 2000
SLICE_S = 0.5
GATHER_S = 0.02
"""How long after a settle the next one waits for more outcomes, while every slot is busy: alone, each
would cost as much as dozens together."""
MOST_GATHERED = 250
"""Outcomes for which nothing more is waited."""
STALLED_S = 1.0
"""How often that is tried whose part of the store is away."""
TRIES = 3
"""Times that an outcome is tried alone before only its job's failure is."""
DROPS = 3
"""Outcomes dropped with none settled in between, after which it is not they that are bad."""


MOST_LETTERS = 100


class Settle(Protocol):
    """Who takes outcomes; with `can_wait` they may be gathered for a moment, for nothing starts the
    sooner when they are settled at once."""

    def __call__(
        self, node: str, outcomes: list[Sequence[Any]], /, *, can_wait: bool = False
    ) -> None: ...


class Letter(NamedTuple):
    """A record to put into the store on the way that outcomes go."""

    kind: str
    id: str
    value: bytes
    ttl: float
    told: Callable[[], None]
    """called when the store has it; on the settle thread"""


class SettleService:
    """One thread, and the outcomes it has not brought home yet."""

    def __init__(
        self,
        *,
        broker: Broker,
        backend: ResultBackend | None,
        outage: Outage,
        events: Events,
        limit: int,
        room_opened: Callable[[], None],
        clock: Clock,
        mishaps: Mishaps,
    ) -> None:
        self._broker = broker
        self._backend = backend
        self._events = events
        self._outage = outage
        self._limit = limit
        self._room_opened = room_opened
        self._clock = clock
        self._waiting: deque[tuple[str, Sequence[Any]]] = deque()
        self._busy: list[tuple[str, Sequence[Any]]] = []
        self._letters: deque[Letter] = deque(maxlen=MOST_LETTERS)
        self._stalled: list[tuple[str, Sequence[Any]]] = []
        """of queues that are away; see `reachable`"""
        self._unstall_at = 0.0
        self._hurry = self._gathering = False
        """what came last must be settled at once; the thread waits for more"""
        self._settled_at = -math.inf
        self._condition = threading.Condition()
        self._most = MOST_AT_ONCE
        self._tries = 0
        self._dropped = 0
        self.thread = ServiceThread("settle", self.run_once, mishaps)
        self._stopping = self.thread.stopping
        self._persistent = Persistent(outage, self._stopping)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Stop at once; what was not settled is `pending`. Call `flush` first."""
        self._stopping.set()
        with self._condition:
            self._condition.notify_all()
        self.thread.join()

    def put(self, node: str, outcomes: list[Sequence[Any]], *, can_wait: bool = False) -> None:
        """Take outcomes of deliveries to this node, which may be gathered for a moment where they
        `can_wait`. Any thread; never blocks on the broker."""
        with self._condition:
            self._waiting.extend((node, outcome) for outcome in outcomes)
            if not can_wait or len(self._waiting) >= MOST_GATHERED:
                self._hurry = True
            if self._hurry or not self._gathering:
                self._condition.notify_all()

    def tell(self, letter: Letter) -> None:
        """Put a record into the store, behind the outcomes that wait. Any thread; once only, and
        not at all where the broker is away."""
        with self._condition:
            self._letters.append(letter)
            self._condition.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is settled; False after `timeout` seconds."""
        with self._condition:
            return self._condition.wait_for(lambda: not self.pending, timeout)

    @property
    def pending(self) -> int:
        return len(self._waiting) + len(self._busy) + len(self._stalled)

    def tokens(self) -> set[tuple[str, int]]:
        """Of the outcomes that wait, to tell them from deliveries nobody holds."""
        with self._condition:
            everything = (*self._waiting, *self._busy, *self._stalled)
            return {(node, outcome[2]) for node, outcome in everything}

    def is_full(self) -> bool:
        """So many outcomes wait for the broker that nothing new may start."""
        return self.pending >= self._limit

    def run_once(self) -> None:
        """Wait for outcomes, settle what is there.

        Where that fails unexpectedly nothing is lost: fewer are tried next time, in the end one
        alone. So what is wrong with one outcome, or with its job's record, stops no other.
        """
        with self._condition:
            self._unstall()
            if not self._waiting and not self._condition.wait_for(
                lambda: self._waiting or self._letters or self._stopping.is_set(), SLICE_S
            ):
                return
            self._gather()
            batch = self._take()
        if batch:
            self._bring(batch)
            self._settled_at = self._clock.monotonic()
        while self._letters:
            self._send(self._letters.popleft())

    def _gather(self) -> None:
        """Let more outcomes come, if the last settle was just now and nobody is in a hurry."""
        left = self._settled_at + GATHER_S - self._clock.monotonic()
        if left > 0 and not self._letters:
            self._gathering = True
            self._condition.wait_for(lambda: self._hurry or self._stopping.is_set(), left)
            self._gathering = False
        self._hurry = False

    def _bring(self, batch: dict[str, list[Outcome]]) -> None:
        was_full = self.is_full()
        left = dict(batch)
        try:
            for node, outcomes in batch.items():
                if self._settle(node, outcomes):
                    del left[node]
            self._went_well()
        except Exception as error:
            left = self._after_failure(left, error)
            if left:
                raise
        finally:
            self._put_back(left)
        if was_full:
            self._room_opened()

    def _take(self) -> dict[str, list[Outcome]]:
        count = min(len(self._waiting), self._most)
        self._busy = [self._waiting.popleft() for _ in range(count)]
        batch: dict[str, list[Outcome]] = {}
        for node, row in self._busy:
            batch.setdefault(node, []).append(Outcome._make(row))
        return batch

    def _put_back(self, left: dict[str, list[Outcome]]) -> None:
        with self._condition:
            self._busy = []
            for node, outcomes in left.items():
                self._waiting.extendleft((node, outcome) for outcome in reversed(outcomes))
            self._condition.notify_all()

    def _went_well(self) -> None:
        self._most = min(MOST_AT_ONCE, 2 * self._most)
        self._tries = self._dropped = 0

    def _after_failure(
        self, left: dict[str, list[Outcome]], error: Exception
    ) -> dict[str, list[Outcome]]:
        """What to try again, in the place of what could not be settled."""
        count = sum(map(len, left.values()))
        self._most = max(1, count // 32)
        if count > 1:
            return left
        ((node, (outcome,)),) = left.items()
        self._tries += 1
        if self._tries <= TRIES or self._dropped >= DROPS:
            return {node: [_failed(outcome, error) if self._tries == TRIES else outcome]}
        self._events.emit(OutcomeDropped(job_id=outcome.id, queue=outcome.queue, error=str(error)))
        self._tries, self._dropped = 0, self._dropped + 1
        return {}

    def _send(self, letter: Letter) -> None:
        try:
            self._broker.put_record(letter.kind, letter.id, letter.value, ttl=letter.ttl)
        except PartlyUnavailable:
            pass  # whoever asked sees that nothing comes
        except BrokerUnavailable as error:
            self._outage.failed(error)
        else:
            letter.told()

    def _settle(self, node: str, outcomes: list[Outcome]) -> bool:
        if self._backend is not None:
            stored = self._stored(self._backend, node, outcomes)
            if stored is None:
                return False
            outcomes = stored
        if not outcomes:
            return True
        answer = self._persistent.call(lambda: self._ask(node, outcomes))
        if answer is None:
            return False
        states, away = answer
        self._stall(node, outcomes, away)
        if None in states:
            for outcome, state in zip(outcomes, states, strict=True):
                if state is None and outcome.queue not in away:
                    self._events.emit(OutcomeFenced(job_id=outcome.id))
        return True

    def _ask(
        self, node: str, outcomes: Sequence[Outcome]
    ) -> tuple[list[State | None], frozenset[str]]:
        """The states, and the queues that are away: those of their jobs say nothing."""
        try:
            return self._broker.settle(node, outcomes), frozenset()
        except PartlyUnavailable as error:
            self._outage.partly(error.queues, error)
            return error.answer, error.queues

    def _stored(
        self, backend: ResultBackend, node: str, outcomes: list[Outcome]
    ) -> list[Outcome] | None:
        """Store the results first, so that no job is ever succeeded without one. The outcomes whose
        results are; None where the service was stopped."""
        results = [
            StoredResult(ResultKey(o.queue, o.id, node, o.number), o.result, o.retention)
            for o in outcomes
            if o.kind == OutcomeKind.SUCCEEDED and o.result is not None and o.retention > 0
        ]
        away = self._persistent.call(lambda: _store(backend, results)) if results else frozenset()
        if away is None:
            return None
        self._stall(node, outcomes, away)
        return [
            o._replace(result=None) if o.result is not None else o
            for o in outcomes
            if o.queue not in away
        ]

    # -- what must wait for a part of the store

    def _stall(self, node: str, outcomes: Sequence[Outcome], away: frozenset[str]) -> None:
        if away:
            with self._condition:
                self._stalled += [(node, o) for o in outcomes if o.queue in away]
                self._unstall_at = self._clock.monotonic() + STALLED_S

    def retry(self) -> None:
        """A part of the store is back. Any thread."""
        with self._condition:
            self._unstall_at = self._clock.monotonic()
            self._condition.notify_all()

    def _unstall(self) -> None:
        """Put what is stalled among the rest, if it is time."""
        if self._stalled and self._clock.monotonic() >= self._unstall_at:
            self._waiting.extend(self._stalled)
            self._stalled.clear()


def _store(backend: ResultBackend, results: Sequence[StoredResult]) -> frozenset[str]:
    """The queues that are away, whose results were not stored."""
    try:
        backend.store(results)
    except PartlyUnavailable as error:
        return error.queues
    return frozenset()


def _failed(outcome: Outcome, error: Exception) -> Outcome:
    """For a job whose own outcome cannot be settled: the little that may be."""
    info = ErrorInfo("unsettled", f"its outcome could not be settled: {error}")
    return Outcome(
        outcome.queue,
        outcome.id,
        outcome.number,
        OutcomeKind.FAILED,
        started=outcome.started,
        error=info.pack(),
        reason="unsettled",
    )
