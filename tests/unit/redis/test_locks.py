"""Unique keys in a store that others had their hands in: none stays taken, and an audit puts it right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from taskrunner.brokers.base import ACCEPTED, FindingKind, Limits, Receipt
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.message import Lock
from taskrunner.testing._conformance_kit import Store, make_message

KEY = "t =k"


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    broker = RedisBroker.from_url(redis_url, namespace=uuid4().hex, limits=Limits())
    yield broker
    broker.close()


@pytest.fixture
def store(broker: RedisBroker) -> Store:
    return Store(broker)


def offer(store: Store, job_id: str, call: str = "") -> Receipt:
    message = replace(make_message(job_id, call=call), lock=Lock(KEY))
    return store.broker.enqueue([message])[0]


def write(broker: RedisBroker, *command: str) -> None:
    """A command about the queue's locks, by hand."""
    name, *rest = command
    broker._calls.ask([(name, broker._keys.of_queue("q", "locks"), *rest)])


def test_a_key_left_with_a_finished_job_is_free(store: Store, broker: RedisBroker) -> None:
    offer(store, "a")
    store.join()
    store.settle(store.fetch_one())
    write(broker, "HSET", KEY, "a")
    assert [(f.kind, f.subject) for f in store.audit()] == [(FindingKind.MISPLACED, "a")]
    assert offer(store, "b") == ACCEPTED
    assert store.audit() == []


def test_a_key_left_with_another_job_of_that_id_is_free(store: Store, broker: RedisBroker) -> None:
    offer(store, "a", call="1")
    store.cancel("a")
    store.enqueue("a", call="2")  # the same id, and not unique
    write(broker, "HSET", KEY, "a")
    store.audit(repair=True)
    assert store.audit() == []
    write(broker, "HSET", KEY, "a")
    assert offer(store, "b") == ACCEPTED


def test_a_key_left_with_nobody_is_free_and_an_audit_drops_it(
    store: Store, broker: RedisBroker
) -> None:
    write(broker, "HSET", KEY, "nobody")
    store.enqueue("x")
    assert [(f.kind, f.subject) for f in store.audit(repair=True)] == [(FindingKind.LOST, "nobody")]
    assert store.audit() == []
    write(broker, "HSET", KEY, "nobody")
    assert offer(store, "a") == ACCEPTED


def test_a_job_that_has_lost_its_key_gets_it_back(store: Store, broker: RedisBroker) -> None:
    offer(store, "a")
    write(broker, "DEL")
    assert [(f.kind, f.repaired) for f in store.audit(repair=True)] == [(FindingKind.LOCK, True)]
    assert offer(store, "b") == Receipt(False, duplicate_of="a")
    assert store.audit() == []


def test_two_jobs_with_one_key_are_reported_and_left_alone(
    store: Store, broker: RedisBroker
) -> None:
    offer(store, "a")
    write(broker, "DEL")
    offer(store, "b")
    (found,) = store.audit(repair=True)
    assert (found.kind, found.subject, found.repaired) == (FindingKind.LOCK, "a", False)
    assert "b" in found.detail
