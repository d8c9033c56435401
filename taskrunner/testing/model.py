"""A broker without a store: what it must answer, in as little code as says it.

No indexes, no atomic steps, no wire: a dict of jobs, looked through from end to end. Its clock is
the skew of the broker beside it, which `machine` moves in whole tens of seconds; every duration
ends in 5, so that the few seconds a test really takes never decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskrunner.brokers.base import (
    ACCEPTED,
    LOSSES_OF_SUSPECTS,
    REPEATABLE_FOR,
    Blame,
    JobKey,
    Outcome,
    OutcomeKind,
    Receipt,
    Tick,
    TickKind,
)
from taskrunner.message import EXISTING, REPLACE, Lock
from taskrunner.states import FINISHED, IDLE, State
from taskrunner.testing._model_fetch import RETENTION, ModelFetches
from taskrunner.testing._model_job import ModelJob
from taskrunner.testing._model_limits import ModelLimits
from taskrunner.testing._model_slots import ModelFired, ModelSchedule

LEASE = 25.0
FAILED_RETENTION = 95.0

_STATE_AFTER = {
    OutcomeKind.SUCCEEDED: State.SUCCEEDED,
    OutcomeKind.FAILED: State.FAILED,
    OutcomeKind.RETRY: State.RETRYING,
    OutcomeKind.RELEASED: State.PENDING,
    OutcomeKind.CANCELLED: State.CANCELLED,
    OutcomeKind.EXPIRED: State.EXPIRED,
    OutcomeKind.PARKED: State.WAITING,
}


@dataclass
class Model(ModelFetches):
    """One namespace of queues that are all served by the same nodes."""

    now: float = 0.0
    jobs: dict[JobKey, ModelJob] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)
    """nodes and when their leases end"""
    processed: int = 0
    failed: int = 0
    _last_beat: float | None = None
    _gapless_since: float = 0.0
    _parkings: int = 0
    _highest: dict[tuple[str, str], int] = field(default_factory=dict)
    """by node and queue: the highest number that was delivered"""
    schedules: dict[tuple[str, str], ModelSchedule] = field(default_factory=dict)
    """by queue and name"""
    taken: dict[JobKey, tuple[str, float]] = field(default_factory=dict)
    """messages of ids that never had a job: the job that has taken it, and when"""
    limits: dict[str, ModelLimits] = field(default_factory=dict)
    """by queue"""

    # -- looking

    def records(self, *states: State) -> Iterator[ModelJob]:
        """Jobs that have a record, in one of these states if any are named."""
        return (j for j in self.jobs.values() if not j.gone and (not states or j.state in states))

    def held(self, node: str) -> list[tuple[JobKey, int]]:
        mine = (job for job in self.records(State.ACTIVE) if job.node == node)
        return sorted((job.key, job.number or 0) for job in mine)

    def held_in(self, queue: str) -> list[ModelJob]:
        return [job for job in self.records(State.ACTIVE) if job.key.queue == queue]

    def due(self, horizon: float) -> int:
        waiting = self.records(State.SCHEDULED, State.RETRYING)
        return sum(job.eta <= self.now + horizon for job in waiting)

    def is_repeatable(self, key: JobKey) -> bool:
        """Whether a repeat of what this job's calls said must still be known. False only for one
        whose record went a good while ago: there a store may remember or not."""
        job = self.jobs.get(key)
        if key in self.taken:
            return self.now < self.taken[key][1] + REPEATABLE_FOR - 5
        return job is None or not job.gone or self.now < job.finished_at + REPEATABLE_FOR - 5

    # -- submit and control

    def enqueue(self, key: JobKey, fields: Mapping[str, Any], *, repeat: bool = False) -> Receipt:
        """`fields` are those of `make_message`; `repeat`: the very call that `taken` knows."""
        before, lock = self.jobs.get(key), fields.get("lock")
        if repeat and key in self.taken:
            return Receipt(True, existing=self.taken[key][0])
        if before is not None and before.call == fields["call"]:
            return ACCEPTED
        if before is not None and not before.gone and before.state not in FINISHED:
            return Receipt(False, duplicate_of=key.id)
        holder = self._holder(key.queue, lock) if lock else None
        if holder is not None:
            return self._meet(key, fields, holder)
        state = State.SCHEDULED if fields["delay"] else State.PENDING
        job = self.jobs[key] = ModelJob(key, fields["call"], fields["priority"], state)
        job.take_message(fields, self.now)
        self.taken.pop(key, None)
        return ACCEPTED

    def _holder(self, queue: str, lock: Lock) -> ModelJob | None:
        for job in self.jobs.values():
            if job.key.queue == queue and job.has_lock(lock.key, self.now):
                return job
        return None

    def _meet(self, key: JobKey, fields: Mapping[str, Any], holder: ModelJob) -> Receipt:
        wanted = fields["lock"].on_conflict
        if wanted == REPLACE and holder.state in IDLE:
            # Not a change of its life: it begins again.
            holder.state = State.SCHEDULED if fields["delay"] else State.PENDING
            holder.take_message(fields, self.now)
            holder.node = holder.number = holder.settled_as = None
            holder.failures, holder.replaced = 0, holder.replaced + 1
            self.taken[key] = holder.key.id, self.now
            return Receipt(True, existing=holder.key.id)
        if wanted == EXISTING:
            return Receipt(True, existing=holder.key.id)
        return Receipt(False, duplicate_of=holder.key.id)

    def schedule(self, queue: str, name: str) -> ModelSchedule:
        return self.schedules.setdefault((queue, name), ModelSchedule())

    def tick(self, tick: Tick, key: JobKey) -> TickKind:
        """One that is due, of a node that has just looked."""
        known, slot = self.schedule(key.queue, tick.schedule), tick.slot or 0.0
        if tick.revision < known.revision:
            return TickKind.STALE
        if slot <= known.last:
            return TickKind.TAKEN
        known.last, known.revision = slot, tick.revision
        last = self.jobs.get(JobKey(key.queue, known.job_id))
        fired = ModelFired(slot, TickKind.SUBMITTED, key.id)
        known.fired.insert(0, fired)
        if tick.skip_overlap and last and not last.gone and last.state not in FINISHED:
            fired.kind, fired.job_id = TickKind.OVERLAP, ""
        elif not self._submits(key, tick):
            fired.kind, fired.job_id = TickKind.DUPLICATE, ""
        else:
            known.job_id, self.jobs[key].fired = key.id, fired
        return fired.kind

    def _submits(self, key: JobKey, tick: Tick) -> bool:
        plain = {"priority": 5, "delay": 0.0, "expires_in": None, "lock": tick.message.lock}
        receipt = self.enqueue(key, {"call": tick.message.call, **plain})
        return receipt.accepted and not receipt.existing

    def cancel(self, key: JobKey) -> bool | None:
        job = self.jobs.get(key)
        if job is None or job.gone:
            return None
        if job.state is State.ACTIVE:
            job.cancelling = True
        elif job.state in IDLE:
            self._finish(job, State.CANCELLED, RETENTION)
        return job.state in (State.ACTIVE, State.CANCELLED)

    def requeue(self, key: JobKey) -> bool | None:
        job = self.jobs.get(key)
        if job is None or job.gone:
            return None
        if job.state in FINISHED - {State.SUCCEEDED}:
            if job.lock and job.lock_ends > self.now and self._holder(key.queue, job.lock):
                return False
            if job.settled_as is None:
                job.node = job.number = None
            job.failures = job.crashes = job.losses = 0
            job.suspect = job.cancelling = False
            if job.expires_at is not None and job.expires_at <= self.now:
                job.expires_at = None
            job.to(State.PENDING)
        elif job.state in (State.SCHEDULED, State.RETRYING):
            job.to(State.PENDING)
        return job.state is State.PENDING

    def delete(self, key: JobKey) -> bool | None:
        job = self.jobs.get(key)
        if job is None or job.gone:
            return None
        if job.state in IDLE:
            self._finish(job, State.CANCELLED, RETENTION)
        job.gone = job.state in FINISHED
        return job.gone

    def reschedule(self, key: JobKey, delay: float) -> bool | None:
        job = self.jobs.get(key)
        if job is None or job.gone:
            return None
        if job.state not in (State.SCHEDULED, State.RETRYING):
            return False
        job.eta = self.now + delay
        return True

    # -- consume

    def settle(self, node: str, outcome: Outcome) -> State | None:
        job = self.jobs.get(JobKey(outcome.queue, outcome.id))
        if job is None or (job.node, job.number) != (node, outcome.number):
            return None
        if job.settled_as is not None or job.state not in (State.ACTIVE, State.PENDING):
            return job.settled_as
        job.attempts += outcome.started
        if outcome.started:
            job.begins()
        job.failures += outcome.blame is Blame.FAILURE
        job.crashes += outcome.blame is Blame.CRASH
        job.errors += outcome.error is not None
        ran = outcome.started and outcome.kind is not OutcomeKind.RELEASED
        if outcome.blame is Blame.SUSPICION:
            job.suspect = True
        elif ran and outcome.blame is not Blame.CRASH:
            job.suspect = False
        state = job.settled_as = self._state_after(job, outcome)
        job.eta = self.now + outcome.delay
        job.park_key, job.park_ends = outcome.park_key or "", self.now + outcome.delay
        self._parkings += 1
        job.parked_as = self._parkings
        self.processed += state is State.SUCCEEDED
        self.failed += state is State.FAILED
        if state in FINISHED:
            self._finish(job, state, outcome.retention)
            job.gone = state is State.SUCCEEDED and outcome.retention == 0
        elif job.state is not state:
            job.to(state)
        return state

    def _state_after(self, job: ModelJob, outcome: Outcome) -> State:
        if job.cancelling:
            return State.CANCELLED
        if outcome.kind is OutcomeKind.RETRY and outcome.delay == 0:
            return State.PENDING
        return _STATE_AFTER[outcome.kind]

    def note(self, node: str, key: JobKey, number: int, alone: int | None = None) -> bool:
        job = self.jobs.get(key)
        if job is None or (job.state, job.node, job.number) != (State.ACTIVE, node, number):
            return False
        if alone is not None:
            job.alone = alone
        else:
            job.begins()
        return True

    def promote(self) -> int:
        due = [j for j in self.records(State.SCHEDULED, State.RETRYING) if j.eta <= self.now]
        for job in due:
            job.to(State.PENDING)
        return len(due)

    # -- nodes

    def beat(self, node: str) -> list[tuple[JobKey, int]]:
        """A join or a beat; what it answers."""
        if self._is_gap():
            self._gapless_since = self.now
        self._last_beat = self.now
        self.leases[node] = self.now + LEASE
        return [(key, number) for key, number in self.held(node) if self.jobs[key].cancelling]

    def leave(self, node: str) -> None:
        self._take_back(node, lost=False)

    def reap(self, dead: Iterable[str]) -> int:
        lost = [node for node, ends in self.leases.items() if self._has_lapsed(ends)]
        return sum(self._take_back(node, lost=True) for node in {*lost, *dead})

    def _has_lapsed(self, ends: float) -> bool:
        listened = self.now - self._gapless_since
        return ends <= self.now and listened >= LEASE and not self._is_gap()

    def _is_gap(self) -> bool:
        return self._last_beat is None or self.now - self._last_beat > LEASE

    def _take_back(self, node: str, *, lost: bool) -> int:
        self.leases.pop(node, None)
        held = self.held(node)
        for key, _ in held:
            job = self.jobs[key]
            job.losses += lost
            job.suspect = job.suspect or bool(lost and job.losses >= LOSSES_OF_SUSPECTS)
            if lost and job.alone:
                job.crashes += 1
                job.errors += 1
            if job.cancelling:
                self._finish(job, State.CANCELLED, RETENTION)
            elif lost and 0 < job.alone <= job.crashes:
                self.failed += 1
                self._finish(job, State.FAILED, RETENTION)
            else:
                job.to(State.PENDING)
        return len(held)

    # -- upkeep

    def sweep(self) -> None:
        """Until all is clean."""
        for job in self.records():
            if job.state is State.WAITING and job.park_ends <= self.now:
                # One that is over its `expires` as well goes by that.
                state = State.EXPIRED if job.is_overdue(self.now) else State.FAILED
                self._finish(job, state, RETENTION)
            elif job.is_overdue(self.now):
                self._finish(job, State.EXPIRED, RETENTION)
            elif job.state in FINISHED and job.keep_until <= self.now:
                job.gone = True

    def _finish(self, job: ModelJob, state: State, retention: float) -> None:
        job.to(state)
        if job.fired is not None:
            job.fired.state = state
        kept = FAILED_RETENTION if state is State.FAILED else retention
        job.finished_at, job.keep_until = self.now, self.now + kept
