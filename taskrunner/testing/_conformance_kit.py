"""What the conformance tests are written with: a store to talk to in short sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import count
from typing import Any, ClassVar

import pytest

from taskrunner.brokers.base import (
    ALWAYS,
    Bell,
    BellKind,
    Broker,
    Delivery,
    Finding,
    JobKey,
    JobRecord,
    Limits,
    Mailbox,
    NodeInfo,
    Outcome,
    OutcomeKind,
    QueueStats,
    Receipt,
    Span,
    Take,
)
from taskrunner.message import Header, Message, Timing
from taskrunner.states import State

HEADER = Header(task="t")
LEASE = 15.0
"""Seconds; the tests move the store's clock by much more or much less."""
RETENTION = 100.0
A_WHILE = 5.0
"""Seconds to wait for what should happen at once."""


def make_message(
    job_id: str,
    *,
    queue: str = "q",
    priority: int = 5,
    call: str = "",
    body: bytes = b"body",
    header: Header = HEADER,
    **timing: Any,
) -> Message:
    """A message; `timing` are the fields of Timing."""
    return Message(
        id=job_id,
        queue=queue,
        header=header,
        body=body,
        priority=priority,
        timing=Timing(**timing),
        call=call,
    )


class Store:
    """A broker under test, the jobs it was given, and how far its clock was moved."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.skew = 0.0
        self.given: dict[str, set[str]] = defaultdict(set)
        """ids by queue"""
        self._next_number: dict[str, int] = defaultdict(lambda: 1)

    # -- acting

    def enqueue(self, *ids: str, queue: str = "q", **fields: Any) -> list[Receipt]:
        self.given[queue].update(ids)
        return self.broker.enqueue([make_message(i, queue=queue, **fields) for i in ids])

    def join(self, node: str = "n1", queues: Sequence[str] = ("q",), **fields: Any) -> None:
        self.broker.join(NodeInfo(id=node, **{"lease": LEASE, **fields}), queues)

    def beat(
        self, node: str = "n1", queues: Sequence[str] = ("q",), lease: float = LEASE
    ) -> list[tuple[JobKey, int]]:
        return self.broker.beat(NodeInfo(id=node, lease=lease), queues)

    def fetch(
        self, limit: int = 1, *, node: str = "n1", queue: str = "q", parked: Sequence[str] = ()
    ) -> list[Delivery]:
        """Under numbers that were not used before."""
        first = self._next_number[node]
        self._next_number[node] += limit
        take = Take(queue, limit, tuple(parked))
        return self.broker.fetch(node, [take], first).deliveries

    def fetch_one(self, *, node: str = "n1", queue: str = "q") -> Delivery:
        (delivery,) = self.fetch(1, node=node, queue=queue)
        return delivery

    def run(self, job_id: str, *, node: str = "n1", queue: str = "q", **timing: Any) -> Delivery:
        """A job that is active: join, enqueue, fetch."""
        self.join(node, [queue])
        self.enqueue(job_id, queue=queue, **timing)
        delivery = self.fetch_one(node=node, queue=queue)
        assert delivery.id == job_id
        return delivery

    def settle(
        self, delivery: Delivery, kind: OutcomeKind = OutcomeKind.SUCCEEDED, **fields: Any
    ) -> State | None:
        (state,) = self.broker.settle(delivery.node, [make_outcome(delivery, kind, **fields)])
        return state

    def park(self, job_id: str, key: str = "k", *, ttl: float = 1000.0) -> Delivery:
        delivery = self.run(job_id)
        kind = OutcomeKind.PARKED
        assert self.settle(delivery, kind, started=False, park_key=key, delay=ttl) is State.WAITING
        return delivery

    def cancel(self, job_id: str, *, queue: str = "q") -> bool | None:
        return self.broker.cancel([JobKey(queue, job_id)])[0]

    def promote(self, limit: int = 100, *, queue: str = "q") -> int:
        return self.broker.promote([queue], limit)

    def reap(self, limit: int = 100, *, dead: Sequence[str] = (), queue: str = "q") -> int:
        return self.broker.reap([queue], limit, dead)

    def sweep(self, *, queue: str = "q", limit: int = 100) -> int:
        """Until all is clean; how many things that took."""
        total = 0
        for _ in range(1000):
            done = self.broker.sweep([queue], limit)
            total += done
            if done == 0:
                return total
        raise AssertionError("sweep never says that all is clean")

    def later(self, seconds: float) -> None:
        """Move the store's clock, from where it is."""
        self.skew += seconds
        self.broker.set_skew(self.skew)

    def outlive(self, *, observer: str = "observer", queue: str = "q") -> None:
        """Let every lease run out but that of an observer who goes on beating."""
        self.join(observer, [queue])
        for _ in range(5):
            self.later(LEASE / 2)
            self.beat(observer, [queue])

    def lose(self, *, observer: str = "observer", queue: str = "q") -> int:
        """The same, and take back what the others held; how many jobs."""
        self.outlive(observer=observer, queue=queue)
        return self.reap(queue=queue)

    def audit(self, *, repair: bool = False, queues: Sequence[str] | None = None) -> list[Finding]:
        """Everything that an audit finds."""
        slices = self.broker.audit(queues, repair=repair)
        return [finding for found in slices for finding in found]

    # -- looking

    def find(self, job_id: str, *, queue: str = "q") -> JobRecord | None:
        return self.broker.get([JobKey(queue, job_id)])[0]

    def record(self, job_id: str, *, queue: str = "q") -> JobRecord:
        record = self.find(job_id, queue=queue)
        assert record is not None, f"there is no record of {job_id}"
        return record

    def state(self, job_id: str, *, queue: str = "q") -> State | None:
        record = self.find(job_id, queue=queue)
        return None if record is None else record.state

    def stats(self, queue: str = "q") -> QueueStats:
        return self.broker.stats([queue])[0]

    def held(self, node: str = "n1", *, queue: str = "q") -> dict[str, int]:
        return {key.id: number for key, number in self.broker.held(node, [queue])}

    def check_counts(self) -> None:
        """Every counter equals what the records say."""
        for queue, ids in self.given.items():
            found = self.broker.get([JobKey(queue, job_id) for job_id in sorted(ids)])
            check_counts(self.stats(queue), [record for record in found if record is not None])


def check_counts(stats: QueueStats, records: Sequence[JobRecord]) -> None:
    """The counters of a queue equal the records that it holds."""
    states = Counter(record.state for record in records)
    priorities = Counter(r.priority for r in records if r.state is State.PENDING)
    parked = Counter(r.park_key for r in records if r.state is State.WAITING)
    assert _without_zeros(stats.counts) == states
    assert _without_zeros(stats.pending_by_priority) == priorities
    assert _without_zeros(stats.parked) == parked


def every_page(
    broker: Broker, queue: str, state: State, *, limit: int = 100, span: Span = ALWAYS
) -> list[JobKey]:
    """The jobs of a queue that are in this state, page by page."""
    found: list[JobKey] = []
    cursor = ""
    for _ in range(1000):
        page = broker.jobs(queue, state, cursor, limit=limit, span=span)
        assert len(page.keys) <= limit
        found += page.keys
        cursor = page.cursor
        if not cursor:
            return found
    raise AssertionError("the pages never end")


def _without_zeros(counts: Any) -> dict[Any, int]:
    return {key: count for key, count in counts.items() if count}


def make_outcome(delivery: Delivery, kind: OutcomeKind, **fields: Any) -> Outcome:
    defaults: dict[str, Any] = {"retention": RETENTION}
    if kind is OutcomeKind.PARKED:
        defaults.update(park_key="k", delay=1000.0)
    return Outcome(delivery.queue, delivery.id, delivery.number, kind, **{**defaults, **fields})


class Ear:
    """A mailbox and what it has heard."""

    def __init__(self, store: Store, name: str, *, fences: Sequence[str]) -> None:
        self._store = store
        self._name = name
        self._fences = fences
        self._ids = count()
        self.mailbox: Mailbox = store.broker.open_mailbox(name)

    def hears(self, kind: BellKind, queue: str = "q", job_id: str = "") -> bool:
        """Wait for one bell, and forget those that came before it."""
        wanted = Bell(kind, queue, job_id)
        return self._listen(lambda bells: wanted in bells)[0]

    def everything(self) -> list[Bell]:
        """What was rung until now. Bells of ours, rung last, say where that ends."""
        store, fence = self._store, f"fence-{self._name}-{next(self._ids)}"
        wanted = {Bell(BellKind.FINISHED, queue, fence) for queue in self._fences}
        for queue in self._fences:
            store.enqueue(fence, queue=queue)
        store.broker.watch(self._name, [JobKey(queue, fence) for queue in self._fences])
        for queue in self._fences:
            store.cancel(fence, queue=queue)
        found, bells = self._listen(lambda heard: wanted <= set(heard))
        assert found, "watched jobs were cancelled and their bells did not ring"
        return [bell for bell in bells if bell.queue not in self._fences]

    def _listen(self, enough: Callable[[list[Bell]], bool]) -> tuple[bool, list[Bell]]:
        heard: list[Bell] = []
        for _ in range(200):
            news = self.mailbox.wait(A_WHILE)
            heard += news
            if enough(heard) or not news:
                break
        return enough(heard), heard


class Damage(Enum):
    """What a hand that goes around the broker may do to a store. The job is that of the key given."""

    DROPPED_RECORD = "its record is removed, and nothing else"
    MISSING_ENTRY = "it is taken out of the index of its state"
    DOUBLED_ID = "it is put into another index as well, one of jobs that wait for a time"
    DOUBLED_ENTRY = "it is put into its ready list once more"
    WRONG_COUNTER = "the counter of its state says three more"
    LOST_LEASE = "the lease of the node that holds it is removed"
    ORPHAN_SET = "a node that does not exist holds it, and no other"


class BrokerKit:
    """The fixtures that every group of tests shares."""

    make_broker: ClassVar[Callable[..., Broker]]
    """`make_broker(limits=Limits(...))` answers a broker on an empty store. A class attribute (a
    function that takes no `self`: use staticmethod), or else a fixture of this name."""

    def lose_from_active_set(self, broker: Broker, node: str, key: JobKey) -> bool:
        """Damage the store: take an active job out of its node's set, leaving its record. False,
        the default: this store cannot be damaged like that, and the test of its repair skips."""
        return False

    def damage(self, broker: Broker, how: Damage, key: JobKey) -> bool:
        """Damage the store. False, the default: this store cannot be damaged like that, and the
        test of its repair skips."""
        return False

    def fences(self, broker: Broker) -> Sequence[str]:
        """Queues that the tests do not use otherwise, such that what was rung before a bell in each
        of them is heard before the last of those bells. A store of several servers needs one on
        each; the default is one."""
        return ("fences",)

    @pytest.fixture
    def fresh_broker(self, request: pytest.FixtureRequest) -> Iterator[Callable[..., Broker]]:
        """Makes brokers, each on an empty store; they are closed after the test."""
        try:
            make = request.getfixturevalue("make_broker")
        except pytest.FixtureLookupError:
            make = self.make_broker
        made: list[Broker] = []

        def fresh(*, limits: Limits | None = None) -> Broker:
            made.append(make(limits=limits or Limits()))
            return made[-1]

        yield fresh
        for broker in made:
            broker.close()

    @pytest.fixture
    def store(self, fresh_broker: Callable[..., Broker]) -> Iterator[Store]:
        """A fresh store, whose counters must equal its records when the test ends, and in which an
        audit must find nothing."""
        store = Store(fresh_broker())
        yield store
        store.check_counts()
        assert store.audit() == []

    @pytest.fixture
    def ear(self, store: Store) -> Iterator[Callable[[str], Ear]]:
        """Opens mailboxes by name; they are closed after the test."""
        ears: list[Ear] = []

        def listen(name: str) -> Ear:
            ears.append(Ear(store, name, fences=self.fences(store.broker)))
            return ears[-1]

        yield listen
        for found in ears:
            found.mailbox.close()
