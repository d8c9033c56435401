"""A queue in Redis with a job in every state, that a test damages; and a day in its life after that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from taskrunner.brokers.base import (
    Delivery,
    Finding,
    JobKey,
    JobRecord,
    Limits,
    OutcomeKind,
    Take,
)
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.errors import MessageError
from taskrunner.message import ErrorInfo, unpack
from taskrunner.states import FINISHED, State
from taskrunner.testing._conformance_kit import LEASE, Store

LONG = b"x" * 100
DIVIDED = b"x" * 1100
"""of a message: most of it has a key of its own, the rest is in the record"""
JOBS = {
    "pending": State.PENDING,
    "urgent": State.PENDING,
    "again": State.PENDING,
    "expiring": State.PENDING,
    "scheduled": State.SCHEDULED,
    "retrying": State.RETRYING,
    "waiting": State.WAITING,
    "running": State.ACTIVE,
    "unstarted": State.ACTIVE,
    "lost": State.ACTIVE,
    "cancelling": State.ACTIVE,
    "succeeded": State.SUCCEEDED,
    "long": State.SUCCEEDED,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
    "expired": State.EXPIRED,
}
"""By id: the state in which the day begins."""
DIRECTORY = ("queues", "nodes", "seen")


class Estate:
    """Jobs in queue `q`: node `n1` lives, `n2` was lost and holds a job."""

    def __init__(self, url: str) -> None:
        self.broker = RedisBroker.from_url(url, namespace=uuid4().hex, limits=Limits())
        self.store = Store(self.broker)
        self.held: list[Delivery] = []
        self.errors: list[str] = []
        self._build()

    def _build(self) -> None:
        store = self.store
        store.join("n1")
        store.join("n2")
        store.enqueue("again", "retrying", "waiting", "succeeded", "long", "failed", call="c")
        ends: dict[str, tuple[OutcomeKind, dict[str, Any]]] = {
            "again": (OutcomeKind.RETRY, {"error": ErrorInfo("E", "e").pack()}),
            "retrying": (OutcomeKind.RETRY, {"delay": 500.0, "reason": "r" * 100}),
            "waiting": (OutcomeKind.PARKED, {"started": False, "park_key": "k" * 100}),
            "succeeded": (OutcomeKind.SUCCEEDED, {"result": b"1", "retention": 1e5}),
            "long": (OutcomeKind.SUCCEEDED, {"result": LONG, "retention": 1e5}),
            "failed": (OutcomeKind.FAILED, {"error": LONG, "reason": "error"}),
        }
        for delivery in store.fetch(6):
            kind, fields = ends[delivery.id]
            assert store.settle(delivery, kind, **fields) is not None
        store.enqueue("running", "unstarted", "cancelling", body=DIVIDED)
        # The one that was given back to the head comes out first, and waits again.
        for delivery in store.fetch(4):
            if delivery.id == "again":
                store.settle(delivery, OutcomeKind.RETRY)
            else:
                self.held.append(delivery)
        store.enqueue("lost", priority=9)
        store.fetch(1, node="n2")
        store.enqueue("urgent", priority=8, body=DIVIDED)
        store.enqueue("pending", body=LONG)
        store.enqueue("expiring", expires_in=1e6, deadline=2e9)
        store.enqueue("scheduled", delay=500.0)
        store.enqueue("cancelled", "expired", expires_in=10.0)
        store.cancel("cancelled")
        store.cancel("cancelling")
        store.broker.watch("waiter", [JobKey("q", job_id) for job_id in JOBS])
        store.later(11.0)
        store.beat("n1")
        store.sweep()
        found = {job_id: store.state(job_id) for job_id in JOBS}
        assert found == JOBS, found

    def key(self, rest: str) -> str:
        return self.broker._keys.of_queue("q", rest)

    def ask(self, *request: object) -> object:
        return self.broker._calls.ask([request])[0]

    def names(self) -> list[str]:
        """Every key of the queue, without what stands before its name."""
        start = self.key("")
        found: object = self.ask("KEYS", f"{start}*")
        assert isinstance(found, list)
        return sorted(name.decode().removeprefix(start) for name in found)

    # -- a day

    def live(self) -> None:
        """Everything that nodes do, until nothing is left to do. Raises what the store raises."""
        self.store.broker.note("n1", [])
        for delivery in self.held:
            self.store.settle(delivery)
        for _ in range(4):
            self.pass_a_lease()
            self.housekeeping()
            self.work()
        self.store.later(600.0)
        for _ in range(3):
            self.pass_a_lease()
            self.housekeeping()
            self.work()

    def pass_a_lease(self) -> None:
        for _ in range(3):
            self.store.later(LEASE / 2)
            self.store.join("n1")  # again, as a node does that finds itself forgotten

    def housekeeping(self) -> None:
        broker = self.broker
        broker.due(["q"], 1e6, 100)
        broker.promote(["q"], 100)
        broker.reap(["q"], 100)
        self.store.sweep()
        broker.stats(["q"])
        broker.queues()
        broker.nodes()
        broker.held("n1", ["q"])

    def work(self) -> None:
        """Fetch and settle as a node does: what cannot be read fails."""
        for _ in range(100):
            deliveries = self.broker.fetch(
                "n1", [Take("q", 20, ("k" * 100,))], self._next()
            ).deliveries
            if not deliveries:
                break
            for delivery in deliveries:
                self._run(delivery)
        else:
            raise AssertionError("fetch never comes to an end")

    def _run(self, delivery: Delivery) -> None:
        try:
            unpack(delivery.wire)
        except MessageError as error:
            packed = ErrorInfo("unreadable", str(error)).pack()
            self.store.settle(
                delivery, OutcomeKind.FAILED, started=False, reason="unreadable", error=packed
            )
        else:
            self.store.settle(delivery, retention=1e5)

    def _next(self) -> int:
        first = self.store._next_number["n1"]
        self.store._next_number["n1"] += 20
        return first

    # -- at the end of it

    def records(self) -> dict[str, JobRecord | None]:
        found = self.broker.get([JobKey("q", job_id) for job_id in JOBS])
        return dict(zip(JOBS, found, strict=True))

    def unfinished(self) -> dict[str, State]:
        return {
            job_id: record.state
            for job_id, record in self.records().items()
            if record is not None and record.state not in FINISHED
        }

    def audit(self, *, repair: bool = False) -> list[Finding]:
        """What `doctor` would say."""
        return [finding for part in self.broker.audit(repair=repair) for finding in part]

    def close(self) -> None:
        self.broker.close()


@contextmanager
def estate(url: str) -> Iterator[Estate]:
    made = Estate(url)
    try:
        yield made
    finally:
        made.close()
