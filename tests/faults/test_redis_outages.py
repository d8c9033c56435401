"""Redis that dies, forgets, is full, or comes back with yesterday's data."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from uuid import uuid4

import pytest

from taskrunner.brokers.base import Bell, BellKind, JobKey, Limits, OutcomeKind, Receipt
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.errors import BrokerFull, BrokerUnavailable
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store, make_message, make_outcome
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually

MEGABYTE = 1024 * 1024


@pytest.fixture
def keeping_server() -> Iterator[RedisServer]:
    """A server that forgets nothing when it is killed."""
    with RedisServer(appendonly=True) as server:
        yield server


def broker_at(url: str, **limits: int) -> RedisBroker:
    return RedisBroker.from_url(url, namespace=uuid4().hex, limits=Limits(**limits))


# -- dying


def test_a_killed_server_is_an_outage_and_then_goes_on(keeping_server: RedisServer) -> None:
    broker = broker_at(keeping_server.url)
    store = Store(broker)
    delivery = store.run("a")
    keeping_server.kill()
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            store.settle(delivery)
    keeping_server.start()
    assert store.settle(delivery) is State.SUCCEEDED
    assert store.enqueue("b")[0].accepted
    broker.close()


def test_idle_connections_that_died_are_replaced_unseen(keeping_server: RedisServer) -> None:
    broker = broker_at(keeping_server.url)
    store = Store(broker)
    store.enqueue("a")
    keeping_server.restart()
    assert store.state("a") is State.PENDING
    broker.close()


def test_nothing_accepted_is_lost_when_the_server_dies_again_and_again(
    keeping_server: RedisServer,
) -> None:
    broker = broker_at(keeping_server.url)
    accepted: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        n = 0
        while not stop.is_set():
            try:
                if broker.enqueue([make_message(f"job-{n}")])[0].accepted:
                    accepted.append(f"job-{n}")
                n += 1
            except BrokerUnavailable:
                pass  # the same one again

    submitter = threading.Thread(target=submit)
    submitter.start()
    for _ in range(3):
        enough = len(accepted) + 20
        eventually(partial(has_more_than, accepted, enough))
        keeping_server.kill()
        keeping_server.start()
    stop.set()
    submitter.join()
    store = Store(broker)
    store.join()
    found = [d.id for d in store.fetch(len(accepted) + 100)]
    assert found[: len(accepted)] == accepted
    assert len(found) - len(accepted) <= 1
    assert len(set(found)) == len(found)
    broker.close()


def has_more_than(found: Sequence[str], count: int) -> bool:
    return len(found) > count


def test_a_mailbox_says_once_that_it_lost_the_server(keeping_server: RedisServer) -> None:
    broker = broker_at(keeping_server.url)
    mailbox = broker.open_mailbox("n1")
    keeping_server.kill()
    with pytest.raises(BrokerUnavailable):
        mailbox.wait(5.0)
    with pytest.raises(BrokerUnavailable):
        mailbox.wait(5.0)  # nobody there to connect to
    keeping_server.start()
    assert mailbox.wait(0.0) == []
    broker.enqueue([make_message("a", queue="new")])
    assert mailbox.wait(5.0) == [Bell(BellKind.QUEUE, "new")]
    mailbox.close()
    broker.close()


# -- forgetting


def test_scripts_that_the_server_forgot_are_loaded_again(redis_url: str) -> None:
    broker = broker_at(redis_url)
    store = Store(broker)
    delivery = store.run("a")
    broker._calls.ask([("SCRIPT", "FLUSH")])
    assert store.settle(delivery) is State.SUCCEEDED
    broker._calls.ask([("SCRIPT", "FLUSH")])
    sent = [f"job-{n}" for n in range(2000)]
    assert all(receipt.accepted for receipt in store.enqueue(*sent))
    assert store.stats().counts[State.PENDING] == len(sent)
    broker.close()


def test_the_directory_is_made_again_by_beats(redis_url: str) -> None:
    broker = broker_at(redis_url)
    store = Store(broker)
    store.run("a")
    broker._calls.ask([("DEL", broker._keys.queues, broker._keys.nodes, broker._keys.seen)])
    other = RedisBroker.from_url(redis_url, namespace=broker._keys.namespace, limits=Limits())
    again = Store(other)
    again.beat()  # learns that the queue had jobs
    again.beat()
    assert other.queues() == ["q"]
    assert [node.id for node in other.nodes()] == ["n1"]
    other.close()
    broker.close()


# -- full


@pytest.mark.parametrize("modern", [True, False], ids=["as on 7", "as on 6.2"])
def test_a_full_server_refuses_jobs_and_drains(modern: bool) -> None:
    with RedisServer() as server:
        broker = broker_at(server.url, failed_max=0)
        broker._scripts._modern = modern
        broker._scripts._shas = {}
        store = Store(broker)
        store.join()
        store.enqueue("first")
        held = store.fetch_one()
        store.run("lost", node="n2")
        store.enqueue("soon", delay=0.001)
        stored = 100
        store.enqueue(*[f"job-{n}" for n in range(stored)], body=bytes(100_000))
        broker._calls.ask([("CONFIG", "SET", "maxmemory", 8 * MEGABYTE)])
        with pytest.raises(BrokerFull, match="full"):
            store.enqueue("one more")
        assert store.find("one more") is None
        store.beat()
        assert eventually(store.promote) == 1
        assert store.reap(dead=["n2"]) == 1
        assert store.settle(held, OutcomeKind.FAILED, error=b"e" * 100) is State.FAILED
        drained = 0
        while delivery := store.fetch(1):
            kind = OutcomeKind.FAILED if drained % 2 else OutcomeKind.SUCCEEDED
            assert store.settle(delivery[0], kind, retention=0.0) is not None
            drained += 1
        assert drained == stored + 2
        store.sweep()
        broker._calls.ask([("MEMORY", "PURGE")])
        assert eventually(lambda: has_room(store))
        broker.close()


def has_room(store: Store) -> bool:
    try:
        return store.enqueue("room")[0].accepted
    except BrokerFull:
        return False


def test_a_call_of_which_a_part_was_stored_answers_for_each() -> None:
    with RedisServer() as server:
        broker = broker_at(server.url)
        store = Store(broker)
        store.enqueue("first")
        used = int(broker._calls.ask([("INFO", "memory")])[0].split(b"used_memory:")[1].split()[0])
        broker._calls.ask([("CONFIG", "SET", "maxmemory", used + 8 * MEGABYTE)])
        sent = [make_message(f"job-{n}", body=bytes(MEGABYTE)) for n in range(40)]
        receipts = broker.enqueue(sent)
        accepted = [receipt.accepted for receipt in receipts]
        assert any(accepted)
        assert not all(accepted)
        refused = Receipt(False, rejection="the store is full")
        assert {receipt for receipt in receipts if not receipt.accepted} == {refused}
        broker._calls.ask([("CONFIG", "SET", "maxmemory", 0)])
        records = broker.get([JobKey("q", message.id) for message in sent])
        assert [record is not None for record in records] == accepted
        broker.close()


# -- coming back with an older file


def test_deliveries_that_a_restored_server_never_made_are_fenced() -> None:
    with RedisServer() as server:
        broker = broker_at(server.url)
        store = Store(broker)
        first = store.run("a")
        store.enqueue("b")
        broker._calls.ask([("SAVE",)])
        dump = server.folder / "dump.rdb"
        shutil.copy(dump, server.folder / "older.rdb")
        assert store.settle(first, OutcomeKind.RETRY) is State.PENDING
        stale = store.fetch(2)
        assert {delivery.id for delivery in stale} == {"a", "b"}
        server.kill()
        shutil.copy(server.folder / "older.rdb", dump)
        server.start()
        assert [store.settle(delivery) for delivery in stale] == [None, None]
        assert broker.settle("n1", [make_outcome(first, OutcomeKind.SUCCEEDED)]) == [
            State.SUCCEEDED
        ]
        assert store.state("b") is State.PENDING
        store.check_counts()
        broker.close()
