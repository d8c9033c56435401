"""A single plain job in a queue that is known goes by a script of its own: what that leaves is what
`enqueue` would have left."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from taskrunner.brokers.base import Bell, BellKind, JobKey, Limits, NodeInfo, Take
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.message import Header, Message
from taskrunner.states import State
from taskrunner.testing.redis_server import RedisServer

pytestmark = pytest.mark.needs_redis

READY = Bell(BellKind.READY, "q")


def job(job_id: str, body: bytes = b"body") -> Message:
    return Message(job_id, "q", Header("t"), body)


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[RedisBroker]:
    """One whose queue is known, and a node in it; its store must be sound in the end."""
    url, namespace = redis_server.unix_url, uuid4().hex
    made = RedisBroker.from_url(url, namespace=namespace, limits=Limits())
    made.enqueue([job("first")])
    made.join(NodeInfo("n1", 15.0), ["q"])
    assert len(made.fetch("n1", [Take("q", 1)], 1).deliveries) == 1
    yield made
    assert [found for part in made.audit(None) for found in part] == []
    made.close()


def state(broker: RedisBroker, job_id: str) -> State:
    record = broker.get([JobKey("q", job_id)])[0]
    assert record is not None
    return record.state


def test_it_is_stored_counted_and_in_its_place(broker: RedisBroker) -> None:
    for n in range(3):
        broker.enqueue([job(f"job-{n}", b"x" * 100 * n)])
    (stats,) = broker.stats(["q"])
    assert stats.counts[State.PENDING] == stats.pending_by_priority[5] == 3
    found = broker.fetch("n1", [Take("q", 5)], 10).deliveries
    assert [delivery.id for delivery in found] == ["job-0", "job-1", "job-2"]
    assert [delivery.wire for delivery in found] == [job("", b"x" * 100 * n).wire for n in range(3)]


def test_an_id_that_is_there_is_left_alone(broker: RedisBroker) -> None:
    for body in (b"one", b"another"):
        assert broker.enqueue([job("a", body)])[0].accepted
    record = broker.get([JobKey("q", "a")])[0]
    assert record is not None
    assert record.wire == job("a", b"one").wire
    assert broker.stats(["q"])[0].counts[State.PENDING] == 1


def test_who_is_idle_is_rung(broker: RedisBroker) -> None:
    mailbox = broker.open_mailbox("n1")
    assert broker.fetch("n1", [Take("q", 1)], 10).deliveries == []
    broker.enqueue([job("a")])
    assert READY in mailbox.wait(5.0)
    assert state(broker, "a") is State.PENDING
    mailbox.close()


def test_who_holds_out_its_hands_is_given_it(broker: RedisBroker) -> None:
    mailbox = broker.open_mailbox("n1")
    assert broker.fetch("n1", [Take("q", 1, hands=True)], 10).deliveries == []
    broker.enqueue([job("a")])
    (bell,) = mailbox.wait(5.0)
    assert bell.delivery is not None
    assert (bell.delivery.number, bell.delivery.wire) == (10, job("a").wire)
    (stats,) = broker.stats(["q"])
    assert (stats.counts[State.ACTIVE], stats.counts.get(State.PENDING, 0)) == (2, 0)
    mailbox.close()
