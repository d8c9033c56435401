"""Whatever stands in a record: a message, its arguments, an error, a progress, a description."""

from __future__ import annotations

import contextlib
import math
import tracemalloc
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner import App
from taskrunner.brokers.base import Delivery, JobRecord, Outcome, OutcomeKind
from taskrunner.codec import Codec
from taskrunner.config import Config
from taskrunner.context import Progress
from taskrunner.errors import ArgumentError, LaterMessage, MessageError
from taskrunner.events import Event, Events, LaterMessageParked
from taskrunner.jobinfo import JobInfo
from taskrunner.message import LONGEST, ErrorInfo, Header, Message, unpack
from taskrunner.retry import Policy
from taskrunner.states import State
from taskrunner.supervisor import intake as intake_module
from taskrunner.supervisor.child import Held
from taskrunner.supervisor.intake import Intake
from tests.faults.test_fuzz_frames import plain
from tests.unit.worker.one_child import one_child

EXAMPLES = settings(max_examples=120, deadline=None)
MEGABYTE = 1024 * 1024

headers = st.dictionaries(
    st.sampled_from(["t", "to", "r", "bo", "ro", "rt", "h", "u", "l", "g", "f", "k", "s", "zz"]),
    plain,
    max_size=5,
).map(lambda found: {"t": "t", **found})
wires = st.one_of(
    st.binary(max_size=80),
    plain.map(msgpack.packb),
    st.builds(lambda header, body: msgpack.packb([1, header, body]), headers, st.binary()),
)
HOSTILE = {
    "no bytes": b"",
    "no msgpack": b"\xc1",
    "more than it holds": b"\xdd\xff\xff\xff\xff",
    "deeper than anybody nests": b"\x91" * 5000,
    "four milliards of bytes": b"\x93\x01\x80\xc6\xff\xff\xff\xff",
    "a version of another kind": msgpack.packb([True, {"t": "t"}, b""]),
    "a later version": msgpack.packb([2, {"t": "t"}, b""]),
    "a long version": msgpack.packb(["v" * MEGABYTE, {"t": "t"}, b""]),
    "a header that is none": msgpack.packb([1, [], b""]),
    "no task": msgpack.packb([1, {}, b""]),
    "a task that is a list": msgpack.packb([1, {"t": ["t"]}, b""]),
    "a task of a megabyte": msgpack.packb([1, {"t": "t" * MEGABYTE}, b""]),
    "a key that is a number": msgpack.packb([1, {"t": "t", 1: 2}, b""]),
    "a body that is text": msgpack.packb([1, {"t": "t"}, "body"]),
}
BAD_FIELDS: dict[str, list[Any]] = {
    "to": [-1, 0, math.nan, math.inf, "1", 2**63, True, None, []],
    "r": [-1, 1.5, math.inf, "3", True, None],
    "rt": [-1, math.nan, math.inf, -math.inf, 2**63, "1", []],
    "bo": [[], [1], [1, 0.5, 1, True], [math.nan, 2, 1, True], [1, math.inf, 1, True], "abcd", 4],
    "ro": ["name", [1], {}],
    "h": [[], {"a": []}, {"a": {}}, {"": "b"}, "text"],
    "u": [1, "", b"bytes"],
    "l": ["text", [1], [""]],
    "s": [2**40, "text", [1]],
}


def wire_with(**header: Any) -> bytes:
    return bytes(msgpack.packb([1, {"t": "t", **header}, b""]))


def peak_of(work: Callable[[], object]) -> int:
    """The most bytes that Python's allocator held for it."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -- the message


@EXAMPLES
@given(wires)
def test_any_bytes_are_a_message_or_a_message_error(wire: bytes) -> None:
    try:
        header, body = unpack(wire)
    except MessageError:
        return
    assert isinstance(body, bytes)
    policy = Policy().overridden(header)
    assert policy.timeout is None or 0 < policy.timeout <= LONGEST
    assert 0 <= policy.retention <= LONGEST
    assert 0 <= policy.backoff.delay(policy.retries, lambda: 1.0) <= LONGEST
    again, _ = unpack(Message("", "q", header, body).wire)
    assert repr(again) == repr(header)


@pytest.mark.parametrize("wire", HOSTILE.values(), ids=HOSTILE)
def test_hostile_messages_are_refused_in_a_short_line(wire: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        unpack(wire)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in BAD_FIELDS.items() for value in values]
)
def test_options_that_make_no_sense_are_no_message(key: str, value: Any) -> None:
    with pytest.raises(MessageError, match="unreadable header"):
        unpack(wire_with(**{key: value}))


def test_a_header_of_a_few_bytes_gets_a_few_bytes() -> None:
    for header in ({"s": 2**33}, {"s": 2**62}, {"h": {"a": 2**62}}):

        def read(wire: bytes = wire_with(**header)) -> None:
            with contextlib.suppress(MessageError):
                unpack(wire)

        assert peak_of(read) < MEGABYTE


@EXAMPLES
@given(wires)
def test_an_intake_settles_what_it_cannot_run(wire: bytes) -> None:
    settled: list[tuple[Held, Outcome]] = []
    intake = Intake(
        config=Config(),
        events=Events(),
        settle=lambda held, outcome: settled.append((held, outcome)),
    )
    intake.tasks = {"t": Policy()}
    found = intake.examined(Delivery("q", "id", "n", 1, wire, 0, 0, 0, 0, None, None), 0.0)
    if found is None:
        ((_, outcome),) = settled
        assert outcome.kind in (OutcomeKind.FAILED, OutcomeKind.PARKED)
        assert len(outcome.error or b"") < 1000
    else:
        assert found.task == "t"


def test_a_later_version_is_parked_untouched_for_a_node_that_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled: list[Outcome] = []
    happened: list[Event] = []
    events = Events()
    events.subscribe(happened.append)
    intake = Intake(
        config=Config(unknown_task_ttl_s=60.0),
        events=events,
        settle=lambda _held, outcome: settled.append(outcome),
    )
    for wire in LATER.values():
        delivery = Delivery("q", "id", "n", 1, wire, 0, 0, 0, 0, None, None)
        assert intake.examined(delivery, 0.0) is None
        (outcome,) = settled
        assert (outcome.kind, outcome.started) == (OutcomeKind.PARKED, False)
        assert (outcome.park_key, outcome.delay) == (f"version:{wire[1]}", 60.0)
        assert outcome.reason == "unknown version"
        settled.clear()
    assert happened[0] == LaterMessageParked(version=2, job_id="id")
    keys = ["version:1", "version:2", "version:3", "version:", "version:x", "2", "other:2"]
    assert [key for key in keys if intake.can_run(key)] == ["version:1"]
    monkeypatch.setattr(intake_module, "VERSION", 2)
    assert [key for key in keys if intake.can_run(key)] == ["version:1", "version:2"]


# -- what a child makes of it

app = App("memory://")


@app.task(name="t")
def anything(*args: Any, **kwargs: Any) -> None:
    """Takes whatever the bytes hold."""


@EXAMPLES
@given(
    wires | st.builds(lambda body: msgpack.packb([1, {"t": "t"}, body]), plain.map(msgpack.packb))
)
def test_a_child_makes_one_outcome_of_any_bytes(wire: bytes) -> None:
    with one_child(app) as child:
        outcome = child.one(wire)
    assert outcome.id == "job-1"


# -- values


@EXAMPLES
@given(st.binary(max_size=100) | plain.map(msgpack.packb))
def test_any_bytes_are_a_value_or_an_error_that_says_so(packed: bytes) -> None:
    codec = Codec()
    for read in (codec.unpack, codec.unpack_call):
        with contextlib.suppress(MessageError, ArgumentError):
            read(packed)


EXTENSIONS = {
    "a mark alone": msgpack.ExtType(1, b""),
    "a declared class, unknown": [msgpack.ExtType(4, b""), "os.system", ["true"]],
    "a declared class without contents": [msgpack.ExtType(4, b"")],
    "an encoder nobody has": [msgpack.ExtType(5, b""), "x", 1],
    "an encoder named by a list": [msgpack.ExtType(5, b""), [], 1],
    "a set of lists": [msgpack.ExtType(2, b""), []],
    "a date of the year nought": msgpack.ExtType(17, b"0000-00-00"),
    "a zone from a path": msgpack.ExtType(16, b"2024-01-01T00:00:00+00:00[../../etc/passwd]"),
    "a zone that is a folder": msgpack.ExtType(16, b"2024-01-01T00:00:00+00:00[Europe]"),
    "a zone of a megabyte": msgpack.ExtType(16, b"2024-01-01T00:00[" + b"z" * MEGABYTE + b"]"),
    "an hour that is none": msgpack.ExtType(18, b"99:99"),
    "milliards of years": msgpack.ExtType(19, b"\x7f" * 40),
    "half a UUID": msgpack.ExtType(20, b"12345678"),
    "no number": msgpack.ExtType(21, b"many"),
    "half a complex": msgpack.ExtType(23, b"1234567"),
    "an unknown type": msgpack.ExtType(99, b""),
    "msgpack's own time, cut short": msgpack.ExtType(-1 % 128, b"1"),
}


@pytest.mark.parametrize("value", EXTENSIONS.values(), ids=EXTENSIONS)
def test_hostile_extensions_are_refused(value: Any) -> None:
    packed = msgpack.packb(value)
    with pytest.raises((MessageError, ArgumentError)):
        Codec().unpack(packed)


@pytest.mark.parametrize(
    "packed",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x16",  # an extension of four milliards of bytes
        b"\x91" * 100_000,
    ],
    ids=["array", "map", "extension", "depth"],
)
def test_hostile_values_get_no_more_memory_than_they_bring(packed: bytes) -> None:
    def read() -> None:
        with pytest.raises(MessageError):
            Codec().unpack(packed)

    assert peak_of(read) < MEGABYTE


def test_a_large_number_takes_its_own_size() -> None:
    packed = msgpack.packb(msgpack.ExtType(22, b"\x7f" * MEGABYTE))
    assert peak_of(lambda: Codec().unpack(packed)) < 20 * MEGABYTE


# -- what is kept with a job


@EXAMPLES
@given(st.binary(max_size=60) | plain.map(msgpack.packb) | st.lists(plain).map(msgpack.packb))
def test_any_bytes_are_an_error_and_a_progress_to_look_at(packed: bytes) -> None:
    error = ErrorInfo.unpack(packed)
    assert [type(getattr(error, f.name)).__name__ for f in fields(error)] == [
        "str", "str", "str", "int", "float",
    ]  # fmt: skip
    progress = Progress.unpack(packed)
    assert progress is None or math.isfinite(progress.done)


@EXAMPLES
@given(wires, st.binary(max_size=30), plain.map(msgpack.packb))
def test_everything_can_be_asked_of_a_job_whatever_its_record_holds(
    wire: bytes, garbage: bytes, packed: bytes
) -> None:
    record = JobRecord(
        queue="q",
        id="id",
        state=State.FAILED,
        wire=wire,
        priority=5,
        attempts=0,
        failures=0,
        crashes=0,
        losses=0,
        created_at=0.0,
        progress=garbage,
        result=packed,
        errors=(garbage, packed, ErrorInfo("a", "b").pack()),
    )
    info = JobInfo(record, app)
    for name in dir(info):
        if not name.startswith("_"):
            getattr(info, name)
    assert len(info.errors) == 3
    assert info.unreadable is None or info.args is None


LATER = {
    "the next one": msgpack.packb([2, {"t": "t"}, b""]),
    "one of another shape": msgpack.packb([2, "t", b"", 4, {"more": True}]),
    "one with nothing else": msgpack.packb([99]),
    "one that msgpack refuses here": msgpack.packb([3, {1: 2, (): 3}], use_bin_type=True),
    "one cut short": msgpack.packb([2, {"t": "t"}, b"body"])[:-3],
}
NO_VERSION = [
    msgpack.packb([0, {"t": "t"}, b""]),
    msgpack.packb([-2, {"t": "t"}, b""]),
    msgpack.packb([100, {"t": "t"}, b""]),
    msgpack.packb([2.0, {"t": "t"}, b""]),
    msgpack.packb(2),
    msgpack.packb({2: 2}),
    b"\x91",
    b"",
]


@pytest.mark.parametrize("wire", LATER.values(), ids=LATER)
def test_a_message_of_a_later_version_is_known_as_such_whatever_it_holds(wire: bytes) -> None:
    with pytest.raises(LaterMessage) as caught:
        unpack(wire)
    assert caught.value.version == wire[1]
    assert "this node reads version 1" in str(caught.value)


@pytest.mark.parametrize("wire", NO_VERSION)
def test_what_is_no_later_version_is_garbage(wire: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        unpack(wire)
    assert not isinstance(caught.value, LaterMessage)


def test_headers_of_a_later_version_are_carried_through() -> None:
    header, _ = unpack(wire_with(zz={"a": [1, 2]}, to=1500))
    assert header == Header(task="t", timeout=1.5, extra={"zz": {"a": [1, 2]}})
