"""What lazily cleaned ready lists leave behind, and what a hand that goes around the scripts does."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from taskrunner.brokers.base import (
    COMMAND_KEPT,
    GONE_FOR,
    Command,
    JobKey,
    Limits,
    OutcomeKind,
    Tick,
)
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store, make_message


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    broker = RedisBroker.from_url(redis_url, namespace=uuid4().hex, limits=Limits())
    yield broker
    broker.close()


@pytest.fixture
def store(broker: RedisBroker) -> Iterator[Store]:
    store = Store(broker)
    yield store
    store.check_counts()


def entries(store: Store, priority: int = 5) -> int:
    """How long a ready list is."""
    assert isinstance(store.broker, RedisBroker)
    (length,) = store.broker._calls.ask([("LLEN", key(store, f"ready:{priority}"))])
    return int(length)


def key(store: Store, rest: str) -> str:
    assert isinstance(store.broker, RedisBroker)
    return store.broker._keys.of_queue("q", rest)


def test_an_old_entry_is_not_the_new_jobs(store: Store) -> None:
    store.join()
    store.enqueue("a", "b", call="1")
    store.cancel("a")
    store.enqueue("a", call="2")
    assert entries(store) == 3
    assert [d.id for d in store.fetch(3)] == ["b", "a"]


def test_a_job_that_was_settled_late_leaves_an_entry_that_counts_for_nothing(
    store: Store,
) -> None:
    late = store.run("a")
    store.enqueue("b")
    assert store.reap(dead=["n1"]) == 1
    assert store.settle(late, OutcomeKind.RETRY, delay=5.0) is State.RETRYING
    store.later(6.0)
    store.promote()
    store.join()
    assert [d.id for d in store.fetch(5)] == ["b", "a"]


def test_fetch_gets_past_any_number_of_leftovers(store: Store) -> None:
    gone = [f"gone-{n}" for n in range(12_000)]
    store.join()
    store.enqueue(*gone)
    store.enqueue("here")
    store.broker.cancel([JobKey("q", job_id) for job_id in gone])
    with_bell = store.broker.open_mailbox("n1")
    calls = 0
    while not (found := store.fetch(1)):
        calls += 1
        assert calls < 5
        assert with_bell.wait(5.0) != []  # told to come again
    assert [delivery.id for delivery in found] == ["here"]
    assert calls > 0
    with_bell.close()


@pytest.mark.parametrize("keep_every", [2, 7, 1000])
def test_sweep_drops_leftovers_in_slices(store: Store, keep_every: int) -> None:
    sent = [f"job-{n}" for n in range(1500)]
    kept = sent[::keep_every]
    store.join()
    store.enqueue(*sent)
    store.broker.cancel([JobKey("q", job_id) for job_id in sent if job_id not in set(kept)])
    assert store.sweep(limit=100) >= len(sent) - len(kept)
    assert entries(store) == len(kept)
    assert [d.id for d in store.fetch(1500)] == kept


def test_an_idle_fetch_drops_a_list_of_nothing_but_leftovers(store: Store) -> None:
    sent = [f"job-{n}" for n in range(1500)]
    store.join()
    store.enqueue(*sent)
    store.broker.cancel([JobKey("q", job_id) for job_id in sent])
    assert store.fetch(1) == []
    assert entries(store) == 0


def test_jobs_of_a_node_that_was_struck_out_are_found(store: Store, broker: RedisBroker) -> None:
    delivery = store.run("a")
    broker._calls.ask([("DEL", key(store, "holders"), key(store, "leases"))])
    assert store.sweep() > 0
    record = store.record("a")
    assert (record.state, record.losses) == (State.PENDING, 1)
    assert store.settle(delivery) is State.SUCCEEDED


def test_a_wrong_counter_of_active_jobs_is_corrected(store: Store, broker: RedisBroker) -> None:
    store.run("a")
    broker._calls.ask([("HINCRBY", key(store, "stats"), "active", 3)])
    assert store.sweep() > 0
    assert store.stats().counts[State.ACTIVE] == 1


def directory(store: Store) -> dict[bytes, int]:
    """The keys of the namespace itself, and the ms after which each goes by itself (-1: never)."""
    assert isinstance(store.broker, RedisBroker)
    ask, pattern = store.broker._calls.ask, store.broker._keys.skew.replace("skew", "*")
    (found,) = ask([("KEYS", pattern)])
    return dict(zip(found, ask(("PTTL", name) for name in found), strict=True))


def test_what_was_sent_to_a_node_goes_by_itself_and_with_the_node(store: Store) -> None:
    before = set(directory(store))
    store.join()
    for _ in range(2):
        store.broker.send("n1", Command.new("grow"))
    sent = {name: ttl for name, ttl in directory(store).items() if b":n1" in name}
    assert len(sent) == 2
    assert all(0 < ttl <= 1000 * COMMAND_KEPT for ttl in sent.values())
    store.broker.leave("n1", ["q"])
    assert set(directory(store)) == before


def test_records_that_all_lapse_take_their_keys_with_them(store: Store) -> None:
    def times() -> list[int]:
        return [ttl for name, ttl in directory(store).items() if name.endswith(b":k")]

    store.broker.put_record("k", "short", b"1", ttl=10.0)
    store.broker.put_record("k", "long", b"1", ttl=100.0)
    assert len(times()) == 3
    assert all(90_000 < ttl <= 100_000 for ttl in times())
    store.broker.put_record("k", "ever", b"1")
    assert times() == [-1, -1, -1]
    store.broker.remove_record("k", "ever")
    assert all(0 < ttl <= 100_000 for ttl in times())
    store.later(1000.0)
    store.broker.put_record("k", "late", b"1", ttl=5.0)
    store.broker.remove_record("k", "late")
    assert times() == []


def test_slots_are_kept_for_ever_unless_their_schedule_is_gone(store: Store) -> None:
    def times() -> set[int]:
        assert isinstance(store.broker, RedisBroker)
        names = [key(store, f"{kind}:s") for kind in ("slot", "fired", "firing")]
        return set(store.broker._calls.ask(("PTTL", name) for name in names))

    def tick(slot: float) -> None:
        store.given["q"].add(f"job-{slot}")
        message = make_message(f"job-{slot}")
        store.broker.tick([Tick("s", message, slot, 0.0, 1, store.broker.now())])

    tick(1.0)
    assert times() == {-1}
    store.broker.close_slots("q", "s", 1, gone=True)
    assert all(0 < ttl <= 1000 * GONE_FOR for ttl in times())
    store.broker.close_slots("q", "s", 1)
    assert times() == {-1}
    store.broker.close_slots("q", "s", 1, gone=True)
    tick(2.0)
    assert times() == {-1}
