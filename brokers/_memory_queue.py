"""What the memory broker keeps of one queue: records, and one index for each state.

    enqueue ──▶ timers ──▶ ready 9..0 ──▶ held, by node ──▶ done, failed ──▶ tombstones
                  ▲           ▲  parked ◀──────┤
                  └───────────┴────────────────┘

A record names its state; the state names the one index that owns the record. `move` is the only
way from a state to another: it asks the table of transitions, takes the record out of the one
index and enters it in the other. Everything here is called under the broker's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taskrunner.brokers._memory_admission import Admission, Taken
from taskrunner.brokers._memory_indexes import Leases, ReadyLists, TimeIndex
from taskrunner.brokers._memory_job import Job, Tombstone
from taskrunner.brokers._memory_limits import NEVER, LimitBook, Refusal
from taskrunner.brokers._memory_locks import Locks
from taskrunner.brokers._memory_mailbox import PostOffice
from taskrunner.brokers._memory_parking import Parking
from taskrunner.brokers._memory_slots import SlotBook
from taskrunner.brokers.base import (
    REPEATABLE_FOR,
    Bell,
    BellKind,
    Limits,
    Outcome,
    QueueStats,
    Take,
)
from taskrunner.limits import WHOLE_QUEUE
from taskrunner.message import Message
from taskrunner.states import FINISHED, IDLE, State, check_transition


class Queue:
    """One queue's records and indexes."""

    def __init__(self, name: str, limits: Limits, office: PostOffice) -> None:
        self.name = name
        self.has_had_jobs = False
        self.jobs: dict[str, Job] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.counts = dict.fromkeys(State, 0)
        self.processed = 0
        self.failures = 0
        self.timers = TimeIndex()
        self.ready = ReadyLists()
        self.parked_until = TimeIndex()
        self.held: dict[str, dict[str, int]] = {}
        """by node: ids and their deliveries' numbers"""
        self.done = TimeIndex()
        self.failed = TimeIndex()
        self.expiring = TimeIndex()
        self.leases = Leases()
        self.last_number: dict[str, int] = {}
        """by node: the highest number it was given here"""
        self.idle: dict[str, None] = {}
        self.watchers: dict[str, set[str]] = {}
        self.slots = SlotBook()
        self.locks = Locks(self.jobs)
        self.limits = LimitBook()
        self.parking = Parking(
            jobs=self.jobs,
            limits=self.limits,
            first_under=lambda key: self._ring_all(Bell(BellKind.PARKED, self.name, key)),
        )
        self._limits = limits
        self._office = office
        self._unaudited: list[str] = []

    @property
    def parked(self) -> dict[str, TimeIndex]:
        """Ids of waiting jobs by key."""
        return self.parking.lines

    # -- changes

    def add(self, job: Job) -> None:
        """A new job, pending or scheduled."""
        self.tombstones.pop(job.id, None)
        before = self.timers.soonest()
        self.jobs[job.id] = job
        self.locks.take(job)
        self._enter(job)
        self._ring_if_sooner(before)

    def replace(self, job: Job, message: Message, now: float) -> None:
        """Give a job that waits another message, which has the same unique key."""
        before = self.timers.soonest()
        self._leave(job)
        job.replace(message, now)
        self._enter(job)
        self._ring_if_sooner(before)
        until = now + REPEATABLE_FOR
        self.tombstones[message.id] = Tombstone(message.call, None, None, None, until, job.id)

    def move(self, job: Job, state: State, *, head: bool = False) -> None:
        """Change a job's state. Raises IllegalTransition. What the new state needs (eta, token,
        park key) was written to the record before."""
        check_transition(job.state, state)
        before = self.timers.soonest()
        self._leave(job)
        job.state = state
        self._enter(job, head=head)
        self._ring_if_sooner(before)

    def finish(self, job: Job, state: State, now: float, *, retention: float | None = None) -> None:
        """Move to a final state; the record is kept `retention` seconds (None: the setting)."""
        job.finished_at = now
        job.keep_until = now + (self._limits.retention if retention is None else retention)
        self.move(job, state)
        self.locks.give_back(job)
        if job.schedule:
            self.slots.conclude(job, state, now)
        if state is State.SUCCEEDED and retention == 0:
            self.remove(job, now)
        for mailbox in self.watchers.pop(job.id, ()):
            self._office.ring(mailbox, Bell(BellKind.FINISHED, self.name, job.id))

    def reschedule(self, job: Job, eta: float) -> None:
        """Another time for a job that waits for one."""
        before = self.timers.soonest()
        job.eta = eta
        self.timers.add(job.id, eta)
        self._ring_if_sooner(before)

    def take_back(self, job: Job, now: float, *, lost: bool) -> None:
        """From a node that is no more; the token stays unsettled."""
        is_convicted = lost and job.lose(now)
        if job.cancelling:
            self.finish(job, State.CANCELLED, now)
        elif is_convicted:
            job.reason = "crashed"
            self.failures += 1
            self.finish(job, State.FAILED, now)
        else:
            self.move(job, State.PENDING, head=True)

    def take_back_all(self, node: str, now: float, *, limit: int | None, lost: bool) -> int:
        """Up to `limit` of what a node holds; the last delivered first, because each goes to the
        head of its list. How many."""
        held = sorted(self.held.get(node, {}).items(), key=lambda item: item[1], reverse=True)
        for job_id, _ in held[:limit]:
            self.take_back(self.jobs[job_id], now, lost=lost)
        return len(held[:limit])

    def remove(self, job: Job, now: float) -> None:
        """Drop a finished record; for a while, calls about it are still answered as before."""
        self._leave(job)
        del self.jobs[job.id]
        until = (job.finished_at or now) + REPEATABLE_FOR
        if until > now:
            self.tombstones[job.id] = Tombstone(
                job.call, job.node, job.number, job.settled_as, until
            )

    def forget_node(self, node: str) -> None:
        """From now on it is lost here. What it holds stays in its set until it is taken back."""
        self.leases.forget(node)
        self.idle.pop(node, None)
        self.last_number.pop(node, None)

    def ring_idle(self, now: float) -> None:
        """Tell one idle node, and one only, that there is a job; then it is no longer idle."""
        if self.idle and self.to_be_had(now):
            node = next(iter(self.idle))
            del self.idle[node]
            self._office.ring(node, Bell(BellKind.READY, self.name))

    # -- deliveries

    def take(self, node: str, numbers: range, now: float, take: Take) -> Taken:
        """Deliver jobs to a node under these numbers, or answer what they delivered."""
        admission = Admission(self, take, now)
        if self.last_number.get(node, -1) >= numbers.start:
            jobs = list(self._again(node, numbers))
        else:
            jobs = list(admission.deliver(node, numbers) if numbers else ())
        left = self.to_be_had(now)
        if len(jobs) < len(numbers) and not left:
            self.idle[node] = None
        else:
            self.idle.pop(node, None)
            self.ring_idle(now)
        times = self.parking.times() if admission.has_closed else []
        opens_in = max(0.0, times[0] - now) if times else None
        return Taken([job.delivery(now) for job in jobs], left, admission.withheld, opens_in)

    def to_be_had(self, now: float) -> int:
        """How many jobs a fetch might get now."""
        return self.parking.to_be_had(self.counts[State.PENDING], now)

    def _again(self, node: str, numbers: range) -> Iterator[Job]:
        held = {number: job_id for job_id, number in self.held.get(node, {}).items()}
        return (self.jobs[held[number]] for number in numbers if number in held)

    def settle_late(self, job: Job, now: float) -> bool:
        """End a job that must not start any more; whether it was one."""
        if job.expires_at is not None and job.expires_at <= now:
            self.finish(job, State.EXPIRED, now)
        elif job.deadline is not None and job.deadline <= now:
            job.reason = "deadline"
            self.finish(job, State.FAILED, now)
        else:
            return False
        return True

    def hold_back(self, job: Job, refusal: Refusal) -> None:
        """Park a job behind a gate, where it was not before; also one that waited for a node that
        knows its task: there is one now."""
        if job.state is not State.WAITING or job.park_ends != NEVER:
            job.rank = self.parking.rank(job)
        self._leave(job)
        job.state, job.park_key, job.park_ends = State.WAITING, refusal.key, NEVER
        self._enter(job)
        self.parking.close(refusal)

    def stay(self, job: Job) -> None:
        """A job that could be had is not taken."""
        if job.state is State.PENDING:
            self.ready.put_back(job)

    def _give_back_place(self, job: Job) -> None:
        """A delivery is over."""
        key = self.limits.release(job)
        if key is not None or WHOLE_QUEUE in self.limits.set:
            self.parking.open_gates(key or "")

    def release(self, job: Job, outcome: Outcome, now: float) -> None:
        """Move a job that was just settled from its node to where its outcome sends it."""
        state = job.settled_as or job.state
        if state in FINISHED:
            job.result = outcome.result if state is State.SUCCEEDED else None
            self.processed += state is State.SUCCEEDED
            self.failures += state is State.FAILED
            self.finish(job, state, now, retention=outcome.retention)
        elif job.state is not state:  # else it was taken back, and waits where it should
            if state is State.RETRYING:
                job.eta = now + outcome.delay
            elif state is State.WAITING:
                job.park_key, job.park_ends = outcome.park_key, now + outcome.delay
            self.move(job, state, head=True)

    # -- questions

    def due_times(self, until: float, limit: int) -> list[float]:
        """When jobs fall due, and when the first gate opens."""
        gates = [at for at in self.parking.times() if at <= until]
        return sorted([*self.timers.times_until(until, limit), *gates[:1]])[:limit]

    def tombstone(self, job_id: str, now: float) -> Tombstone | None:
        found = self.tombstones.get(job_id)
        return found if found is not None and found.until > now else None

    def stats(self) -> QueueStats:
        return QueueStats(
            queue=self.name,
            counts=dict(self.counts),
            pending_by_priority={p: n for p, n in self.ready.counts.items() if n},
            parked={key: len(ids) for key, ids in self.parked.items()},
            processed=self.processed,
            failed=self.failures,
        )

    # -- housekeeping: each does up to `limit` things and says how many

    def sweep(self, now: float, limit: int) -> int:
        done = 0
        self.limits.tidy(now)
        self.parking.open_gates()  # the clock may have gone back
        for chore in (
            self._remove_old,
            self._drop_failed,
            self._expire,
            self._fail_parked,
            self._drop_entries,
            self._take_back_strays,
        ):
            if done < limit:
                done += chore(now, limit - done)
        return done

    def _remove_old(self, now: float, limit: int) -> int:
        old = self.done.pop_until(now, limit)
        for job_id in old:
            self.remove(self.jobs[job_id], now)
        while self.tombstones and next(iter(self.tombstones.values())).until <= now:
            del self.tombstones[next(iter(self.tombstones))]
        return len(old)

    def _drop_failed(self, now: float, limit: int) -> int:
        too_many = min(limit, len(self.failed) - self._limits.failed_max)
        dropped = self.failed.pop(too_many)
        dropped += self.failed.pop_until(now - self._limits.failed_retention, limit - len(dropped))
        for job_id in dropped:
            self.remove(self.jobs[job_id], now)
        return len(dropped)

    def _expire(self, now: float, limit: int) -> int:
        expired = self.expiring.pop_until(now, limit)
        for job_id in expired:
            self.finish(self.jobs[job_id], State.EXPIRED, now)
        return len(expired)

    def _fail_parked(self, now: float, limit: int) -> int:
        parked = self.parked_until.pop_until(now, limit)
        for job_id in parked:
            self.finish(self.jobs[job_id], State.FAILED, now)
        return len(parked)

    def _drop_entries(self, now: float, limit: int) -> int:
        return self.ready.sweep(limit)

    def _take_back_strays(self, now: float, limit: int) -> int:
        """Active jobs that no node's set holds; nothing here loses one, but a store may."""
        if not self._unaudited:
            self._unaudited = list(self.jobs)
        strays = 0
        for job_id in self._cut_unaudited(limit):
            job = self.jobs.get(job_id)
            if (
                job
                and job.state is State.ACTIVE
                and job_id not in self.held.get(job.node or "", ())
            ):
                self.take_back(job, now, lost=True)
                strays += 1
        return strays

    def _cut_unaudited(self, limit: int) -> Sequence[str]:
        cut = self._unaudited[-limit:]
        del self._unaudited[-limit:]
        return cut

    # -- indexes

    def _enter(self, job: Job, *, head: bool = False) -> None:
        self.counts[job.state] += 1
        match job.state:
            case State.PENDING:
                self.ready.add(job, head=head)
            case State.SCHEDULED | State.RETRYING:
                self.timers.add(job.id, job.eta or 0.0)
            case State.WAITING:
                self.parking.park(job, job.park_key or "")
                self.parked_until.add(job.id, job.park_ends)
            case State.ACTIVE:
                self.held.setdefault(job.node or "", {})[job.id] = job.number or 0
            case State.FAILED:
                self.failed.add(job.id, job.finished_at or 0.0)
            case _:
                self.done.add(job.id, job.keep_until)
        if job.state in IDLE and job.expires_at is not None:
            self.expiring.add(job.id, job.expires_at)

    def _leave(self, job: Job) -> None:
        self.counts[job.state] -= 1
        self.expiring.discard(job.id)
        match job.state:
            case State.PENDING:
                self.ready.leave(job)
            case State.SCHEDULED | State.RETRYING:
                self.timers.discard(job.id)
            case State.WAITING:
                self.parking.unpark(job)
                self.parked_until.discard(job.id)
            case State.ACTIVE:
                _drop(self.held, job.node or "", job.id)
                self._give_back_place(job)
            case State.FAILED:
                self.failed.discard(job.id)
            case _:
                self.done.discard(job.id)

    def _ring_if_sooner(self, before: float | None) -> None:
        soonest = self.timers.soonest()
        if soonest is not None and (before is None or soonest < before):
            self._ring_all(Bell(BellKind.DUE, self.name))

    def _ring_all(self, bell: Bell) -> None:
        for node in self.leases:
            self._office.ring(node, bell)


def _drop(sets: dict[str, dict[str, Any]], key: str, job_id: str) -> None:
    """Take an id out of one of several sets; a set that is empty then goes too."""
    found = sets.get(key)
    if found is not None:
        found.pop(job_id, None)
        if not found:
            del sets[key]
