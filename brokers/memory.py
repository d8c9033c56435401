"""The broker that lives in one process: the readable reference of `base`.

    producers ──enqueue──▶ ┌ MemoryBroker ── one lock ───────┐ ──fetch──▶ ┐
    waiters   ──watch────▶ │  Queue "a": records and indexes │            │ supervisor
              ◀──bells──── │  Queue "b": …                   │ ◀──settle─ ┘
                           │  PostOffice: a mailbox each     │ ──bells──▶ whoever is idle
                           └─────────────────────────────────┘

Every method takes the one lock, changes records through `Queue.move` and lets go: that is its
atomic step. Two brokers of the same URL are two stores; a process shares one by sharing its App.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from taskrunner.brokers._memory_admission import Taken
from taskrunner.brokers._memory_audit import audit
from taskrunner.brokers._memory_desk import Desk
from taskrunner.brokers._memory_holds import Holds
from taskrunner.brokers._memory_job import Job
from taskrunner.brokers._memory_queue import Queue
from taskrunner.brokers.base import (
    ACCEPTED,
    Bell,
    BellKind,
    Capabilities,
    Delivery,
    Due,
    Fetched,
    Finding,
    JobKey,
    JobRecord,
    Limits,
    NodeInfo,
    Note,
    Outcome,
    QueueStats,
    Receipt,
    SlotRecord,
    Take,
    Tick,
    Ticked,
    TickKind,
)
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.errors import NodeLost, OptionError
from taskrunner.message import EXISTING, REPLACE, Message
from taskrunner.states import FINISHED, IDLE, State


class MemoryBroker(Holds, Desk):
    """Jobs in the memory of this process; they end with it."""

    capabilities = Capabilities(results=True, shared=False, durable=False)
    schemes: ClassVar[tuple[str, ...]] = ("memory",)

    def __init__(self, *, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(clock)
        self._limits = limits or Limits()
        self._queues: dict[str, Queue] = {}

    @classmethod
    def from_url(cls, url: str, *, namespace: str, limits: Limits) -> MemoryBroker:
        """`memory://`; the namespace means nothing here, because nobody else is in the store."""
        if url.rstrip("/") != "memory:":
            raise OptionError(f"broker {url!r}: expected memory:// and nothing after it")
        return cls(limits=limits)

    def ping(self) -> None:
        """Always answers."""

    def close(self) -> None:
        """Nothing to let go of."""

    # -- submit

    def enqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        with self._lock:
            receipts = [self._enqueue(message) for message in messages]
            for name in {message.queue for message in messages}:
                self._queues[name].ring_idle(self.now())
            return receipts

    async def aenqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        return self.enqueue(messages)

    def _enqueue(self, message: Message) -> Receipt:
        now = self.now()
        queue = self._queue(message.queue)
        before = queue.jobs.get(message.id) or queue.tombstone(message.id, now)
        if before is not None and before.call == message.call:
            return ACCEPTED if isinstance(before, Job) else Receipt(True, existing=before.taken_by)
        if isinstance(before, Job) and before.state not in FINISHED:
            return Receipt(False, duplicate_of=message.id)
        holder = message.lock and queue.locks.holder(message.lock.key, now)
        if holder:
            return _meet(queue, message, holder, now)
        if isinstance(before, Job):
            queue.remove(before, now)
        queue.add(Job.from_message(message, now))
        if not queue.has_had_jobs:
            queue.has_had_jobs = True
            self._office.ring_all(Bell(BellKind.QUEUE, message.queue))
        return ACCEPTED

    # -- listen

    def watch(self, mailbox: str, keys: Sequence[JobKey]) -> list[bool]:
        with self._lock:
            return [self._watch(mailbox, key) for key in keys]

    def _watch(self, mailbox: str, key: JobKey) -> bool:
        job = self._job(key.queue, key.id)
        if job is None or job.state in FINISHED:
            return True
        self._queues[key.queue].watchers.setdefault(key.id, set()).add(mailbox)
        return False

    # -- control

    def cancel(self, keys: Sequence[JobKey]) -> list[bool | None]:
        with self._lock:
            return [self._cancel(key) for key in keys]

    def _cancel(self, key: JobKey) -> bool | None:
        job = self._job(key.queue, key.id)
        if job is None:
            return None
        if job.state is State.ACTIVE:
            job.cancelling = True
            self._office.ring(job.node or "", Bell(BellKind.CANCEL, key.queue, key.id))
        elif job.state not in FINISHED:
            self._queues[key.queue].finish(job, State.CANCELLED, self.now())
        return job.state in (State.ACTIVE, State.CANCELLED)

    # -- look

    def get(self, keys: Sequence[JobKey]) -> list[JobRecord | None]:
        with self._lock:
            jobs = [self._job(key.queue, key.id) for key in keys]
            return [None if job is None else job.record() for job in jobs]

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        with self._lock:
            empty = QueueStats("", dict.fromkeys(State, 0))
            return [
                self._queues[name].stats() if name in self._queues else replace(empty, queue=name)
                for name in queues
            ]

    def queues(self) -> list[str]:
        with self._lock:
            return sorted(name for name, queue in self._queues.items() if queue.has_had_jobs)

    # -- consume

    def fetch(self, node: str, plan: Sequence[Take], first: int) -> Fetched:
        with self._lock:
            queues = [self._queue_of(node, take.queue) for take in plan]
            found: dict[str, Taken] = {}
            deliveries: list[Delivery] = []
            now = self.now()
            for queue, take in zip(queues, plan, strict=True):
                numbers = range(first, first + take.limit)
                found[queue.name] = taken = queue.take(node, numbers, now, take)
                deliveries += taken.deliveries
                first += take.limit
            left = {name: taken.left for name, taken in found.items()}
            withheld = frozenset(name for name, taken in found.items() if taken.withheld)
            opens = {n: t.opens_in for n, t in found.items() if t.opens_in is not None}
            return Fetched(deliveries, left, withheld, opens)

    def settle(self, node: str, outcomes: Sequence[Outcome]) -> list[State | None]:
        with self._lock:
            answers = [self._settle(node, outcome) for outcome in outcomes]
            for name in {outcome.queue for outcome in outcomes} & self._queues.keys():
                self._queues[name].ring_idle(self.now())
            return answers

    def _settle(self, node: str, outcome: Outcome) -> State | None:
        job = self._job(outcome.queue, outcome.id)
        if job is None:
            return self._settled_before(node, outcome)
        if not job.holds(node, outcome.number):
            return None
        if job.accepts_settle():
            now = self.now()
            job.settle(outcome, now)
            if outcome.started:
                self._queues[outcome.queue].locks.begin(job)
            self._queues[outcome.queue].release(job, outcome, now)
        return job.settled_as

    def _settled_before(self, node: str, outcome: Outcome) -> State | None:
        queue = self._queues.get(outcome.queue)
        tomb = queue and queue.tombstone(outcome.id, self.now())
        if not tomb or (tomb.node, tomb.number) != (node, outcome.number):
            return None
        return tomb.settled_as

    def note(self, node: str, notes: Sequence[Note]) -> list[bool]:
        with self._lock:
            return [self._note(node, note) for note in notes]

    def _note(self, node: str, note: Note) -> bool:
        job = self._job(note.queue, note.id)
        if job is None or job.state is not State.ACTIVE or not job.holds(node, note.number):
            return False
        if note.alone is not None:
            job.alone = note.alone
            return True
        self._queues[note.queue].locks.begin(job)
        job.pid = note.pid
        job.started_at = self.now() - note.started_ago
        job.progress = job.progress if note.progress is None else note.progress
        return True

    # -- time

    def due(self, queues: Sequence[str], horizon: float, limit: int) -> list[Due]:
        with self._lock:
            now = self.now()
            found = [
                Due(name, at - now)
                for name in queues
                for at in self._queue(name).due_times(now + horizon, limit)
            ]
            return sorted(found, key=lambda due: due.wait)

    def promote(self, queues: Sequence[str], limit: int) -> int:
        with self._lock:
            return sum(self._promote(self._queue(name), limit) for name in queues)

    def _promote(self, queue: Queue, limit: int) -> int:
        due = queue.timers.pop_until(self.now(), limit)
        for job_id in due:
            queue.move(queue.jobs[job_id], State.PENDING)
        queue.parking.open_due(self.now())
        queue.ring_idle(self.now())
        return len(due)

    # -- schedules

    def tick(self, ticks: Sequence[Tick]) -> list[Ticked]:
        with self._lock:
            answers = [self._tick(tick) for tick in ticks]
            for name in {tick.message.queue for tick in ticks}:
                self._queues[name].ring_idle(self.now())
            return answers

    def _tick(self, tick: Tick) -> Ticked:
        book = self._queue(tick.message.queue).slots
        refused = book.refusal(tick, self.now())
        return refused or book.claim(tick, self._fire(tick), self.now())

    def _fire(self, tick: Tick) -> TickKind:
        queue, message = self._queues[tick.message.queue], tick.message
        last = queue.jobs.get(queue.slots.last_job(tick.schedule))
        is_in_the_way = last is not None and last.state not in FINISHED
        if is_in_the_way and tick.skip_overlap and tick.slot is not None:
            return TickKind.OVERLAP
        receipt = self._enqueue(message)
        if not receipt.accepted or receipt.existing:
            return TickKind.DUPLICATE
        if message.id in queue.jobs:
            queue.jobs[message.id].schedule = tick.schedule
        return TickKind.SUBMITTED

    def slots(self, queue: str, schedules: Sequence[str], *, firings: int = 0) -> list[SlotRecord]:
        with self._lock:
            return [self._queue(queue).slots.record(name, firings) for name in schedules]

    def close_slots(self, queue: str, schedule: str, revision: int, *, gone: bool = False) -> float:
        with self._lock:
            self._office.ring_all(Bell(BellKind.SCHEDULE, queue, schedule))
            book = self._queue(queue).slots
            return book.close(schedule, revision, gone=gone, now=self.now())

    # -- nodes

    def join(self, node: NodeInfo, queues: Sequence[str]) -> None:
        with self._lock:
            self._see(node)
            for name in queues:
                self._queue(name).leases.beat(node.id, node.lease, self.now())

    def beat(self, node: NodeInfo, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        with self._lock:
            for queue in [self._queue_of(node.id, name) for name in queues]:
                queue.leases.beat(node.id, node.lease, self.now())
            self._see(node)
            held = self.held(node.id, queues)
            return [(key, number) for key, number in held if self._is_cancelling(key)]

    def _is_cancelling(self, key: JobKey) -> bool:
        return self._queues[key.queue].jobs[key.id].cancelling

    def leave(self, node: str, queues: Sequence[str]) -> None:
        with self._lock:
            self._forget(node)
            for name in queues:
                queue = self._queue(name)
                queue.forget_node(node)
                queue.take_back_all(node, self.now(), limit=None, lost=False)
                queue.ring_idle(self.now())

    def reap(self, queues: Sequence[str], limit: int, dead: Sequence[str] = ()) -> int:
        with self._lock:
            return sum(self._reap(self._queue(name), limit, dead) for name in queues)

    def _reap(self, queue: Queue, limit: int, dead: Sequence[str]) -> int:
        now = self.now()
        for node in [*dead, *queue.leases.lapsed(now)]:
            queue.forget_node(node)
            self._forget(node)
        taken = 0
        # Not only those of just now: a set that was larger than the limit is still there.
        for node in [holder for holder in queue.held if holder not in queue.leases]:
            taken += queue.take_back_all(node, now, limit=limit - taken, lost=True)
        queue.ring_idle(self.now())
        return taken

    def held(self, node: str, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        with self._lock:
            return [
                (JobKey(name, job_id), number)
                for name in queues
                for job_id, number in self._queue(name).held.get(node, {}).items()
            ]

    # -- upkeep

    def sweep(self, queues: Sequence[str], limit: int) -> int:
        with self._lock:
            now = self.now()
            done = 0
            for queue in [self._queue(name) for name in queues]:
                done += queue.sweep(now, limit)
                queue.ring_idle(self.now())
            return done

    def erase(self) -> None:
        with self._lock:
            self._queues.clear()
            super().erase()

    def audit(
        self, queues: Sequence[str] | None = None, *, repair: bool = False
    ) -> Iterator[list[Finding]]:
        for name in list(self._queues) if queues is None else queues:
            with self._lock:
                queue = self._queues.get(name)
                found = [] if queue is None else audit(queue, self.now(), repair=repair)
            yield found

    # -- finding things

    def _queue(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue(name, self._limits, self._office)
        return queue

    def _queue_of(self, node: str, name: str) -> Queue:
        queue = self._queue(name)
        if node not in queue.leases:
            raise NodeLost(f"queue {name!r} does not know node {node!r}: join it (again)")
        return queue

    def _job(self, queue: str, job_id: str) -> Job | None:
        store = self._queues.get(queue)
        return None if store is None else store.jobs.get(job_id)


def _meet(queue: Queue, message: Message, holder: Job, now: float) -> Receipt:
    """What becomes of a message whose unique key another job has."""
    wanted = message.lock and message.lock.on_conflict
    if wanted == REPLACE and holder.state in IDLE:
        queue.replace(holder, message, now)
        return Receipt(True, existing=holder.id)
    if wanted == EXISTING:
        return Receipt(True, existing=holder.id)
    return Receipt(False, duplicate_of=holder.id)
