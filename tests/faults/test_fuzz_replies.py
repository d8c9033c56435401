"""What Redis answers, with garbage in the places where scripts put something else."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import Any
from uuid import uuid4

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner import State
from taskrunner.brokers.base import Bell, BellKind, Command, JobRecord, Limits, NodeInfo
from taskrunner.brokers.redis import replies
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.mailbox import _bell
from taskrunner.testing._conformance_kit import LEASE
from taskrunner.testing.redis_server import RedisServer
from tests.faults.test_fuzz_frames import plain

EXAMPLES = settings(max_examples=150, deadline=None)
GOOD = NodeInfo("node-1", LEASE, host="here", pid=7, queues=("q",))

LONG = b"+" + b"9" * 5000 + b":n1"
garbage = st.binary(max_size=12) | st.sampled_from(
    [b"1", b"-1", b"9" * 30, b"nan", b"1e9", b"", LONG]
)
record_fields = st.dictionaries(
    st.sampled_from([name.encode() for name in "scpwktedngfxluyqobzirmvaA"]), garbage, max_size=12
)


@EXAMPLES
@given(
    record_fields,
    garbage,
    st.none() | garbage,
    st.none() | garbage,
    st.lists(garbage, max_size=2),
    record_fields,
)
def test_any_record_can_be_looked_at(
    found: dict[bytes, bytes],
    state: bytes,
    wire: bytes | None,
    result: bytes | None,
    errors: list[bytes],
    long: dict[bytes, bytes],
) -> None:
    record = replies.job_record(
        "q", "id", [flat({**found, b"s": state}), wire, result, errors, flat(long)]
    )
    assert record is not None
    assert isinstance(record.state, State)
    assert record.priority in range(10)
    for field in fields(JobRecord):
        value = getattr(record, field.name)
        if isinstance(value, int | float):
            assert 0 <= value < 10**15


def flat(found: dict[bytes, bytes]) -> list[bytes]:
    return [item for pair in found.items() for item in pair]


@EXAMPLES
@given(record_fields, record_fields)
def test_any_counters_are_counters(stats: dict[bytes, bytes], parked: dict[bytes, bytes]) -> None:
    found = replies.queue_stats("q", flat({**stats, b"p5": b"x", b"active": b"-3"}), flat(parked))
    assert min(found.counts.values()) >= 0
    assert found.counts[State.ACTIVE] == 0


@EXAMPLES
@given(plain.map(msgpack.packb) | st.binary(max_size=40))
def test_a_description_that_cannot_be_read_hides_no_other_node(packed: bytes) -> None:
    good = replies.pack_node(GOOD)
    answer = [1000, b"31000", good, b"31000", packed, b"31000", good]
    found = list(replies.node_infos(answer))
    assert [node.id for node in found].count(GOOD.id) == 2
    assert len(found) <= 3


@EXAMPLES
@given(st.sampled_from([f.name for f in fields(NodeInfo)][:-1]), plain)
def test_a_description_with_a_wrong_field_is_left_out_or_right(name: str, value: Any) -> None:
    found = msgpack.unpackb(replies.pack_node(GOOD))
    packed = msgpack.packb({**found, name: value})
    for node in replies.node_infos([1000, b"31000", packed]):
        for field in fields(NodeInfo):
            wanted = type(getattr(GOOD, field.name))
            assert isinstance(getattr(node, field.name), (wanted, int))


@EXAMPLES
@given(
    st.binary(max_size=40) | (st.binary(max_size=40) | plain.map(msgpack.packb)).map(b"8 ".__add__)
)
def test_any_message_is_a_bell_or_none(payload: bytes) -> None:
    bell = _bell([b"message", b"channel", payload], "n1")
    assert bell is None or isinstance(bell, Bell)
    assert _bell([b"pong", payload], "n1") is None
    assert _bell(payload, "n1") is None


@EXAMPLES
@given(st.lists(garbage, min_size=3, max_size=5))
def test_any_job_that_is_handed_over_is_a_delivery_or_none(found: list[bytes]) -> None:
    bell = _bell([b"message", b"channel", b"8 " + msgpack.packb(found)], "n1")
    if bell is not None:
        assert bell.delivery is not None
        assert bell.delivery.node == "n1"
        assert type(bell.delivery.number) is int


@EXAMPLES
@given(st.binary(max_size=40) | plain.map(msgpack.packb))
def test_any_bytes_are_a_command_that_may_mean_nothing(packed: bytes) -> None:
    command = Command.unpack("id", packed)
    assert isinstance(command.do, str)


def test_a_mailbox_hears_the_next_bell_after_any_garbage(redis_server: RedisServer) -> None:
    broker = RedisBroker.from_url(redis_server.unix_url, namespace=uuid4().hex, limits=Limits())
    mailbox = broker.open_mailbox("n1")
    channel = broker._keys.mailbox("n1")
    for payload in (b"", b"\xff\xfe", b"99 q", b"-1", b"0", b"x" * 100_000, b"9" * 5000):
        broker._calls.ask([("PUBLISH", channel, payload)])
    broker._calls.ask([("PUBLISH", channel, b"0 q")])
    heard: list[Bell] = []
    with contextlib.suppress(StopIteration):
        while Bell(BellKind.READY, "q") not in heard:
            news = mailbox.wait(5.0)
            assert news
            heard += news
    mailbox.close()
    broker.close()
