"""What a hand that goes around the scripts may do to Redis: found, mended, and found no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from taskrunner.brokers.base import BellKind, Finding, FindingKind, JobKey, Limits, OutcomeKind
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Ear, Store

LONG = b"x" * 300


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
    assert store.audit() == []


@pytest.fixture
def do(broker: RedisBroker) -> Callable[..., Any]:
    """One command on a key of the queue `q`."""

    def run(command: str, rest: str, *arguments: Any) -> Any:
        return broker._calls.ask([(command, broker._keys.of_queue("q", rest), *arguments)])[0]

    return run


def only(findings: list[Finding]) -> tuple[str, str]:
    (found,) = findings
    return str(found.kind), found.subject


# -- jobs


@pytest.mark.parametrize("state", ["nonsense", ""])
def test_a_record_in_no_known_state_goes_to_the_dead_letter(
    store: Store, do: Callable[..., Any], state: str
) -> None:
    store.enqueue("a", delay=50.0, expires_in=90.0)
    do("HSET", "job:a", "s", state)
    assert ("unreadable", "a") in [(f.kind, f.subject) for f in store.audit()]
    store.audit(repair=True)
    record = store.record("a")
    assert (record.state, record.reason) == (State.FAILED, "record unreadable")
    assert record.wire


@pytest.mark.parametrize("delay", [None, 50.0])
def test_a_job_without_its_message_goes_to_the_dead_letter(
    store: Store, do: Callable[..., Any], delay: float | None
) -> None:
    store.enqueue("a", body=LONG, delay=delay)
    do("DEL", "body:a")
    assert only(store.audit()) == ("message", "a")
    assert only(store.audit(repair=True)) == ("message", "a")
    record = store.record("a")
    assert (record.state, record.reason) == (State.FAILED, "message lost")


def test_a_result_that_is_gone_is_no_empty_result(store: Store, do: Callable[..., Any]) -> None:
    store.settle(store.run("a"), result=LONG)
    store.settle(store.run("b"), result=b"")
    do("DEL", "result:a")
    assert (store.record("a").result, store.record("b").result) == (None, b"")
    assert only(store.audit()) == ("result", "a")
    store.audit(repair=True)
    assert (store.record("a").result, store.record("b").result) == (None, b"")


def test_an_active_job_without_a_token_is_taken_back(store: Store, do: Callable[..., Any]) -> None:
    store.run("a")
    do("HDEL", "job:a", "o")
    found = [(f.kind, f.subject) for f in store.audit()]
    assert found == [("unheld", "a"), ("misplaced", "a")]
    store.audit(repair=True)
    assert store.state("a") is State.PENDING
    assert store.settle(store.fetch_one()) is State.SUCCEEDED


def test_a_node_is_told_again_whom_to_cancel(
    store: Store, do: Callable[..., Any], broker: RedisBroker
) -> None:
    delivery = store.run("a")
    store.cancel("a")
    do("DEL", "cancel:n1")
    ear = Ear(store, "n1", fences=["fences"])
    assert only(store.audit()) == ("mark", "a")
    assert store.beat() == []
    assert only(store.audit(repair=True)) == ("mark", "a")
    assert ear.hears(BellKind.CANCEL, job_id="a")
    assert store.beat() == [(JobKey("q", "a"), delivery.number)]
    ear.mailbox.close()


def test_a_mark_that_is_nobodys_goes(store: Store, do: Callable[..., Any]) -> None:
    delivery = store.run("a")
    do("HSET", "cancel:n1", delivery.number, "a", 99, "b")
    assert {(f.kind, f.subject) for f in store.audit()} == {("misplaced", "a"), ("lost", "b")}
    store.audit(repair=True)
    assert store.beat() == []


def test_what_a_job_leaves_behind_goes(store: Store, do: Callable[..., Any]) -> None:
    do("SET", "result:gone", LONG)
    do("LPUSH", "errors:gone", LONG)
    do("HSET", "more:gone", "g", LONG)
    assert only(store.audit()) == ("leftover", "gone")
    store.audit(repair=True)
    assert do("EXISTS", "result:gone") + do("EXISTS", "errors:gone") == 0


def test_a_message_without_a_record_is_a_failed_job(store: Store, do: Callable[..., Any]) -> None:
    delivery = store.run("a", body=LONG)
    store.settle(delivery, OutcomeKind.RETRY, error=b"error", delay=60.0)
    do("DEL", "job:a")
    kinds = [f.kind for f in store.audit()]
    assert kinds == [FindingKind.LOST, FindingKind.COUNTER]
    assert [f.kind for f in store.audit(repair=True)] == kinds
    record = store.record("a")
    assert (record.state, record.reason) == (State.FAILED, "record lost")
    assert record.wire == delivery.wire
    assert record.errors == (b"error",)


@pytest.mark.parametrize(("index", "words"), [("parked:k", "parked:k"), ("parking", "parking")])
def test_half_of_a_parking_place(
    store: Store, do: Callable[..., Any], index: str, words: str
) -> None:
    store.park("a")
    do("ZREM", index, "a")
    (found,) = store.audit()
    assert (found.kind, found.subject) == (FindingKind.UNINDEXED, "a")
    assert words in found.detail
    store.audit(repair=True)
    assert store.state("a") is State.PENDING


@pytest.mark.parametrize("key", ["k", "k" * 100])
def test_a_key_under_which_nobody_is_parked(store: Store, do: Callable[..., Any], key: str) -> None:
    store.park("a", key)
    do("ZADD", "parked:other", 1, "a")
    do("HINCRBY", "parked", key, 5)
    found = {(f.kind, f.subject) for f in store.audit()}
    assert found == {("misplaced", "a"), ("counter", f"parked:{key}")}
    store.audit(repair=True)
    assert store.stats().parked == {key: 1}


def test_an_end_that_was_forgotten(store: Store, do: Callable[..., Any]) -> None:
    do("ZADD", "expiring", 5e15, store.run("c").id)
    store.enqueue("a", "b", expires_in=50.0)
    do("ZREM", "expiring", "a")
    found = {(f.kind, f.subject) for f in store.audit()}
    assert found == {("unindexed", "a"), ("misplaced", "c")}
    store.audit(repair=True)
    store.later(60.0)
    store.sweep()
    assert store.state("a") is store.state("b") is State.EXPIRED


# -- nodes


def test_the_length_of_a_lease(store: Store, do: Callable[..., Any]) -> None:
    store.run("a")
    do("HDEL", "leases", "n1")
    do("HSET", "leases", "nobody", 15_000)
    do("SADD", "idle", "nobody")
    found = {(f.kind, f.subject) for f in store.audit()}
    assert found == {("lease", "n1"), ("lease", "nobody"), ("misplaced", "nobody")}
    store.audit(repair=True)
    assert 1000 <= int(do("HGET", "leases", "n1")) <= 15_000
    assert store.held() == {"a": 1}


def test_more_jobs_of_a_lost_node_than_one_script_takes_back(
    store: Store, do: Callable[..., Any]
) -> None:
    store.join()
    store.enqueue(*[f"job-{n}" for n in range(1200)])
    store.fetch(1200)
    do("ZREM", "holders", "n1")
    do("HDEL", "leases", "n1")
    assert {f.kind for f in store.audit(repair=True)} == {FindingKind.LEASE}
    assert store.stats().counts[State.PENDING] == 1200


# -- keys


def test_keys_that_are_not_ours_are_shown_and_left_alone(
    store: Store, do: Callable[..., Any], broker: RedisBroker
) -> None:
    store.enqueue("a")
    for n in range(7):
        do("SET", f"mine:{n}", "x" * 1000)
    broker._calls.ask([("SET", f"{{{broker._keys.namespace}}}:theirs", "x")])
    broker._calls.ask([("SET", f"{{{broker._keys.namespace}x:q}}:another", "x")])
    for repair in (False, True):
        of_all, of_queue = store.audit(repair=repair)
        assert of_all.kind is of_queue.kind is FindingKind.FOREIGN
        assert (of_all.queue, of_queue.queue) == ("", "q")
        assert of_all.subject.endswith("theirs")
        assert not of_all.repaired
        assert of_queue.detail.startswith("7 keys that are not ours, ")
        assert int(of_queue.detail.split(", ")[1].split()[0]) > 7000
    assert do("EXISTS", "mine:3") == 1
    do("DEL", *[f"mine:{n}" for n in range(1)])
    keys = [broker._keys.of_queue("q", f"mine:{n}") for n in range(7)]
    broker._calls.ask([("DEL", *keys), ("DEL", f"{{{broker._keys.namespace}}}:theirs")])


def test_keys_of_other_versions_are_known(store: Store, do: Callable[..., Any]) -> None:
    do("HSET", "slots", "a", 1)
    do("HSET", "stats:20300131", "processed", 1)
    assert store.audit(repair=True) == []
    assert do("EXISTS", "slots") == 1


@pytest.mark.parametrize("rest", ["scheduled", "job:b", "body:a", "stats", "ready:5"])
def test_a_key_that_holds_something_else(
    store: Store, do: Callable[..., Any], broker: RedisBroker, rest: str
) -> None:
    store.enqueue("a", body=LONG)
    do("RENAME" if do("EXISTS", rest) else "EXISTS", rest, broker._keys.of_queue("q", "kept:x"))
    do("SADD", rest, "something else")
    findings = store.audit(repair=True)
    assert any(f.kind is FindingKind.TYPE and rest in f.subject for f in findings)
    assert do("TYPE", rest) == b"set"
    do("DEL", rest)
    if do("EXISTS", "kept:x"):
        do("RENAME", "kept:x", broker._keys.of_queue("q", rest))
    store.audit(repair=True)


def test_a_queue_that_the_directory_has_lost(store: Store, broker: RedisBroker) -> None:
    store.enqueue("a")
    broker._calls.ask([("DEL", broker._keys.queues)])
    assert broker.queues() == []
    assert only(store.audit()) == ("directory", "q")
    ear = Ear(store, "n1", fences=["fences"])
    assert only(store.audit(repair=True)) == ("directory", "q")
    assert ear.hears(BellKind.QUEUE)
    assert broker.queues() == ["fences", "q"] or broker.queues() == ["q"]
    ear.mailbox.close()


def test_a_node_that_is_never_forgotten(store: Store, broker: RedisBroker) -> None:
    store.join()
    broker._calls.ask([("ZREM", broker._keys.seen, "n1")])
    assert only(store.audit()) == ("directory", "n1")
    store.audit(repair=True)
    store.beat()
    assert [node.id for node in broker.nodes()] == ["n1"]
