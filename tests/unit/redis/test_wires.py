"""How messages are divided among the fields and keys of a record: no byte is lost, none is left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskrunner import App
from taskrunner.brokers.base import Contents, FindingKind, Limits, OutcomeKind, Rewrite
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.wires import PIECE, REST, divided, whole
from taskrunner.crypto import Key
from taskrunner.inspector import Inspector
from taskrunner.message import REPLACE, Lock
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store
from taskrunner.testing._conformance_lengths import of_length

LARGEST = PIECE + REST


def of(size: int) -> bytes:
    return bytes(n * 7 % 256 for n in range(size))


def parts_of(wire: bytes) -> list[bytes]:
    found = divided(wire)
    return [found] if isinstance(found, bytes) else found


def allocated(size: int) -> int:
    """What an allocator with four sizes between powers of two takes for a string of so many bytes."""
    taken = size + (6 if size < 65_536 else 10)
    step = 1 << (taken - 1).bit_length() - 3
    return -(-taken // step) * step


@given(st.integers(0, 300_000))
@example(PIECE)
@example(PIECE + 1)
@example(LARGEST)
@example(LARGEST + 1)
@example(1018)
@example(1019)
@example(1_000_000)
def test_any_wire_is_the_sum_of_its_parts(size: int) -> None:
    wire = of(size)
    head, *pieces = parts_of(wire)
    assert head + b"".join(pieces) == wire
    assert len(pieces) <= REST // PIECE
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    assert (len(head) <= PIECE) == (size <= LARGEST)
    record = {b"%d" % n: piece for n, piece in enumerate(pieces, 1)}
    assert whole({**record, b"w": head}, None) == whole(record, head) == wire


@given(st.integers(LARGEST + 1, 300_000))
@example(887)
@example(1018)
@example(1019)
@example(1036)
@example(65_535)
@example(65_536)
def test_where_a_rest_is_left_it_saves_more_than_it_takes(size: int) -> None:
    head, *pieces = parts_of(of(size))
    if pieces:
        saved = allocated(size) - allocated(len(head)) - sum(map(len, pieces))
        assert saved >= 160
        assert 6 <= allocated(len(head)) - len(head) <= 10
    else:
        assert len(head) == size


def test_what_is_gone_is_empty_whatever_is_left_of_it() -> None:
    assert whole({}, None) == whole({b"1": b"rest"}, None) == b""


# -- in a store


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


def ask(store: Store, command: str, rest: str, *arguments: object) -> Any:
    broker = store.broker
    assert isinstance(broker, RedisBroker)
    return broker._calls.ask([(command, broker._keys.of_queue("q", rest), *arguments)])[0]


def keys_of(store: Store, job_id: str) -> set[bytes]:
    broker = store.broker
    assert isinstance(broker, RedisBroker)
    tag = broker._keys.of_queue("q", "*:" + job_id)
    found: list[bytes] = broker._calls.ask([("KEYS", tag)])[0]
    return {key.partition(b"}:")[2].partition(b":")[0] for key in found}


def encoding_of(store: Store, rest: str) -> Any:
    broker = store.broker
    assert isinstance(broker, RedisBroker)
    return broker._calls.ask([("OBJECT", "ENCODING", broker._keys.of_queue("q", rest))])[0]


def parts_held(store: Store, job_id: str) -> set[bytes]:
    return set(ask(store, "HKEYS", f"job:{job_id}")) & {b"w", b"1", b"2"}


def send(store: Store, job_id: str, size: int) -> bytes:
    message = of_length(job_id, size)
    store.given["q"].add(job_id)
    store.broker.enqueue([message])
    return message.wire


@pytest.mark.parametrize(
    ("size", "keys", "fields"),
    [
        (64, {b"job"}, {b"w"}),
        (65, {b"job"}, {b"w", b"1"}),
        (128, {b"job"}, {b"w", b"1"}),
        (129, {b"job"}, {b"w", b"1", b"2"}),
        (LARGEST, {b"job"}, {b"w", b"1", b"2"}),
        (LARGEST + 10, {b"job", b"body"}, set()),
        (1018, {b"job", b"body"}, set()),
        (1036, {b"job", b"body"}, {b"1"}),
        (600, {b"job", b"body"}, set()),
        (1100, {b"job", b"body"}, {b"1", b"2"}),
        (1130, {b"job", b"body"}, set()),
        (2300, {b"job", b"body"}, set()),
    ],
)
def test_a_record_stays_compact_and_nothing_is_left_of_it(
    store: Store, size: int, keys: set[bytes], fields: set[bytes]
) -> None:
    send(store, "a", size)
    assert keys_of(store, "a") == keys
    assert parts_held(store, "a") == fields
    assert encoding_of(store, "job:a") in (b"listpack", b"ziplist")
    store.join()
    store.settle(store.fetch_one(), OutcomeKind.SUCCEEDED, result=b"r", retention=0.0)
    assert keys_of(store, "a") == {b"job"}
    assert set(ask(store, "HKEYS", "job:a")) == {b"s", b"z", b"o", b"k"}


@pytest.mark.parametrize(
    ("before", "after"), list(permutations([50, 100, 180, 300, 1036, 1100], 2))
)
def test_another_message_takes_the_place_of_the_old_one(
    store: Store, before: int, after: int
) -> None:
    """A record looks like that of a job which had it from the beginning."""
    old, new = send(store, "rewritten", before), send(store, "new", after)
    change = Contents(old, None, None, ()), Contents(new, None, None, ())
    assert store.broker.rewrite([Rewrite("q", "rewritten", *change)]) == [True]
    lock = Lock("t =k", on_conflict=REPLACE)
    for message in (of_length("replaced", before), of_length("gone", after)):
        store.broker.enqueue([replace(message, lock=lock)])
    store.given["q"].add("replaced")
    for job_id in ("rewritten", "replaced"):
        assert keys_of(store, job_id) == keys_of(store, "new")
        assert parts_held(store, job_id) == parts_held(store, "new")


@pytest.mark.parametrize("size", [50, 100, 180, 300, 1036, 5000])
def test_what_the_version_before_has_stored_is_read_as_it_is(store: Store, size: int) -> None:
    """It kept what was longer than 64 bytes under a key of its own, all of it."""
    send(store, "a", 64)
    wire = of_length("a", size).wire
    ask(store, "HDEL", "job:a", "w", "1", "2")
    if size <= 64:
        ask(store, "HSET", "job:a", "w", wire)
    else:
        ask(store, "SET", "body:a", wire)
    assert store.record("a").wire == wire
    assert store.audit() == []
    store.join()
    assert store.fetch_one().wire == wire


def test_messages_of_every_length_are_sealed_anew(redis_url: str) -> None:
    old, new = (Key(name, os.urandom(32)).text for name in ("old", "new"))
    namespace = uuid4().hex
    sent = {n: os.urandom(n) for n in (0, 10, 20, 40, 60, 80, 100, 120, 180, 900, 950, 980, 1900)}

    def app_with(*keys: str) -> App:
        app = App(redis_url, namespace=namespace, encryption_keys=keys, require_encryption=True)
        app.task(name="take")(take)
        return app

    app, rotated, only = app_with(old), app_with(new, old), app_with(new)
    jobs = {n: app.enqueue("take", args=(data,)) for n, data in sent.items()}
    assert list(Inspector(rotated).rekey())[-1].changed == len(sent)
    shown = {n: only.job(job.id).info().args for n, job in jobs.items()}
    assert shown == {n: (data,) for n, data in sent.items()}
    with only.running(threads=1):
        results = {n: only.job(job.id).result(timeout=20) for n, job in jobs.items()}
    assert results == sent
    for one in (app, rotated, only):
        one.close()


def take(data: bytes) -> bytes:
    return data


# -- damaged


def test_of_a_message_whose_record_is_lost_the_bytes_that_are_left_are_shown(store: Store) -> None:
    wire = send(store, "a", 1036)
    ask(store, "DEL", "job:a")
    assert {f.kind for f in store.audit()} == {FindingKind.LOST, FindingKind.COUNTER}
    store.audit(repair=True)
    record = store.record("a")
    assert (record.state, record.reason) == (State.FAILED, "record lost")
    assert record.wire == wire[:1018]


@pytest.mark.parametrize(
    ("size", "command", "key", "fields"),
    [(1036, "DEL", "body:a", ()), (180, "HDEL", "job:a", ("w",)), (50, "HDEL", "job:a", ("w",))],
)
def test_a_message_without_its_head_is_gone(
    store: Store, size: int, command: str, key: str, fields: tuple[str, ...]
) -> None:
    send(store, "a", size)
    ask(store, command, key, *fields)
    assert store.record("a").wire == b""
    assert [f.kind for f in store.audit()] == [FindingKind.MESSAGE]
    store.audit(repair=True)
    assert (store.record("a").reason, store.record("a").wire) == ("message lost", b"")


def test_of_a_message_without_its_head_nothing_is_delivered(store: Store) -> None:
    send(store, "a", 1036)
    ask(store, "DEL", "body:a")
    store.join()
    assert store.fetch_one().wire == b""


def test_a_message_that_has_lost_its_rest_is_delivered_as_it_is(store: Store) -> None:
    wire = send(store, "a", 1036)
    ask(store, "HDEL", "job:a", "1")
    store.join()
    assert store.fetch_one().wire == store.record("a").wire == wire[:1018]


def test_an_empty_result_is_still_one_when_contents_were_rewritten(store: Store) -> None:
    store.settle(store.run("a"), result=b"")
    held = Contents.of(store.record("a"))._replace(result=b"")
    after = held._replace(wire=b"other")
    assert store.broker.rewrite([Rewrite("q", "a", held, after)]) == [True]
    assert (store.record("a").wire, store.record("a").result) == (b"other", b"")
