from __future__ import annotations

import collections
import contextlib
import enum
import math
import threading
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.codec import Codec, Encoder
from taskrunner.errors import ArgumentError, MessageError

BERLIN = ZoneInfo("Europe/Berlin")

offsets = st.integers(-86_000, 86_000).map(lambda seconds: timezone(timedelta(seconds=seconds)))
zones = st.none() | offsets | st.sampled_from([UTC, BERLIN, ZoneInfo("America/St_Johns")])

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**200), max_value=2**200)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times(timezones=st.none() | offsets)
    | st.datetimes(timezones=zones)
    | st.timedeltas()
)
hashable = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(hashable, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal and of the same type, all the way down, in the same order."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, (list, tuple)):
        return all(map(same, one, other))
    if isinstance(one, dict):
        return all(map(same, one.items(), other.items()))
    if isinstance(one, (set, frozenset)):
        kinds = {(value, type(value)) for value in one}
        return kinds == {(value, type(value)) for value in other}
    if isinstance(one, datetime):
        return (one.isoformat(), one.fold, type(one.tzinfo)) == (
            other.isoformat(),
            other.fold,
            type(other.tzinfo),
        )
    if isinstance(one, (float, Decimal)):
        return str(one) == str(other)  # -0.0 is not 0.0, 1.10 is not 1.1
    return True


@given(values)
def test_a_value_arrives_equal_and_of_the_same_type(value: Any) -> None:
    codec = Codec()
    assert same(codec.unpack(codec.pack(value)), value)


@given(st.lists(values, max_size=4), st.dictionaries(st.text(), values, max_size=3))
def test_the_arguments_of_a_call_arrive_as_they_were(
    args: list[Any], kwargs: dict[str, Any]
) -> None:
    codec = Codec()
    found = codec.unpack_call(codec.pack_call(tuple(args), kwargs))
    assert same(found, (tuple(args), kwargs))


def test_a_call_without_arguments_is_two_bytes() -> None:
    assert Codec().pack_call((), {}) == b"\x91\x80"
    assert Codec().unpack_call(b"\x91\x80") == ((), {})


def test_plain_arguments_are_plain_msgpack_for_any_language() -> None:
    assert msgpack.unpackb(Codec().pack_call((42, [1, "a"]), {"k": None})) == [
        42,
        [1, "a"],
        {"k": None},
    ]


@pytest.mark.parametrize("fold", [0, 1])
def test_of_two_equal_local_times_the_right_one_arrives(fold: int) -> None:
    moment = datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=BERLIN)
    found = Codec().unpack(Codec().pack(moment))
    assert found.utcoffset() == moment.utcoffset()
    assert found.tzinfo is BERLIN


def test_where_this_machines_zone_data_differ_the_instant_counts() -> None:
    ext = msgpack.ExtType(16, b"2024-07-01T12:00:00+05:00[Europe/Berlin]")
    found = Codec().unpack(msgpack.packb(ext))
    assert found == datetime(2024, 7, 1, 7, tzinfo=UTC)
    assert found.tzinfo == BERLIN


def test_nan_arrives_as_nan() -> None:
    assert math.isnan(Codec().unpack(Codec().pack(math.nan)))


class Text(str):
    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


class Zone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "Z"


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Text("a"), "would arrive as a plain str"),
        (collections.OrderedDict(a=1), "would arrive as a plain dict"),
        (collections.deque([1]), r"pass list\(value\)"),
        (bytearray(b"a"), r"pass bytes\(value\)"),
        (memoryview(b"a"), r"pass bytes\(value\)"),
        (msgpack.ExtType(1, b""), "extension types"),
        (msgpack.Timestamp(1), "pass a datetime"),
        (PurePosixPath("/a"), "PurePosixPath"),
        (range(3), r"pass list\(value\)"),
        (object(), "object"),
        (print, "builtin_function_or_method"),
        (ValueError("a"), "ValueError"),
        ("\ud800", "lone surrogate"),
        (datetime(2024, 1, 1, tzinfo=Zone()), "tzinfo"),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=1))), "with an offset of"),
        (CYCLE, "nested too deep, or contains itself"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"k": (1, v)}])
def test_what_cannot_be_carried_is_refused_by_position_or_key_and_type(
    value: Any, said: str, wrap: Any
) -> None:
    codec = Codec()
    with pytest.raises(ArgumentError, match=rf"^argument 1.*{said}") as caught:
        codec.pack_call((1, wrap(value)), {})
    with pytest.raises(ArgumentError, match=rf"^argument 'name'.*{said}"):
        codec.pack_call((1,), {"name": wrap(value)})
    with pytest.raises(ArgumentError, match=rf"^the value.*{said}"):
        codec.pack(wrap(value))
    assert isinstance(caught.value, TypeError)


def test_the_way_to_the_refused_part_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"argument 'k'\['a'\]\[1\]\[2\] \(object\)"):
        Codec().pack_call((), {"k": {"a": [1, (1, 2, object())]}})
    with pytest.raises(ArgumentError, match=r"argument 0 key \(1, <object"):
        Codec().pack_call(({(1, object()): 1},), {})


def test_a_packing_that_failed_leaves_nothing_behind_for_the_next() -> None:
    codec = Codec()
    with pytest.raises(ArgumentError):
        codec.pack([1, 2, object()])
    assert codec.unpack(codec.pack([3])) == [3]


@given(st.binary(max_size=60))
def test_hostile_bytes_are_an_error_of_ours_or_a_value(data: bytes) -> None:
    codec = Codec()
    for unpack in (codec.unpack, codec.unpack_call):
        with contextlib.suppress(MessageError, ArgumentError):
            unpack(data)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        msgpack.packb(5),
        msgpack.packb([]),
        msgpack.packb([1]),
        msgpack.packb([{1: 2}]),
        msgpack.packb(msgpack.ExtType(99, b"x")),
        msgpack.packb(msgpack.ExtType(1, b"")),
        msgpack.packb(msgpack.ExtType(20, b"short")),
        b"\x91" * 100_000,
        msgpack.packb([msgpack.ExtType(2, b""), [1]]),
    ],
)
def test_bytes_that_are_no_arguments_are_a_message_error(value: bytes) -> None:
    with pytest.raises(MessageError):
        Codec().unpack_call(value)


def test_a_users_encoder_carries_his_type() -> None:
    codec = Codec([Encoder(PurePosixPath, str, PurePosixPath)])
    value = {"a": [PurePosixPath("/x"), PurePosixPath("/y")]}
    assert same(codec.unpack(codec.pack(value)), value)


def test_an_encoder_may_be_a_plain_tuple_and_has_a_name_on_the_wire() -> None:
    codec = Codec([(PurePosixPath, str, PurePosixPath, "path")])
    assert codec.unpack(codec.pack(PurePosixPath("/x"))) == PurePosixPath("/x")
    with pytest.raises(ArgumentError, match="no encoder here goes by the name 'path'"):
        Codec().unpack(codec.pack(PurePosixPath("/x")))


def test_an_encoder_that_raises_is_an_argument_error_with_its_cause() -> None:
    def broken(_: Any) -> Any:
        raise KeyError("broken")

    with pytest.raises(ArgumentError, match=r"argument 0.*KeyError.*broken") as caught:
        Codec([Encoder(PurePosixPath, broken, broken)]).pack_call((PurePosixPath("/"),), {})
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_decoder_that_raises_is_an_argument_error() -> None:
    def broken(_: Any) -> Any:
        raise KeyError("broken")

    codec = Codec([Encoder(PurePosixPath, str, broken)])
    with pytest.raises(ArgumentError, match=r"PurePosixPath cannot be restored: KeyError"):
        codec.unpack(codec.pack(PurePosixPath("/")))


@pytest.mark.parametrize(
    "encoders",
    [
        [Encoder(tuple, list, tuple)],
        [Encoder(str, str, str)],
        [Encoder("no class", str, str)],  # type: ignore[arg-type]
        [Encoder(PurePosixPath, str, str), Encoder(Text, str, str, "pathlib.PurePosixPath")],
    ],
)
def test_encoders_that_cannot_work_are_refused(encoders: list[Encoder]) -> None:
    with pytest.raises(ArgumentError, match="encoder"):
        Codec(encoders)


def test_threads_share_one_codec() -> None:
    codec = Codec()
    wrong: list[Any] = []

    def pack_and_unpack(number: int) -> None:
        value = [(number, Decimal(number), {number})] * 5
        wrong.extend(
            found for _ in range(300) if (found := codec.unpack(codec.pack(value))) != value
        )

    threads = [threading.Thread(target=pack_and_unpack, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_types_of_the_documents_table_are_all_there() -> None:
    for value in (date(2024, 1, 1), time(1), UUID(int=1), Decimal("1.10"), 2**64, 1j, timedelta(1)):
        assert same(Codec().unpack(Codec().pack(value)), value)
