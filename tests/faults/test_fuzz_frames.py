"""Whatever comes through a pipe: frames come out, or one FrameError, and nothing is kept for it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner import frames
from taskrunner.brokers.base import Blame, Outcome, OutcomeKind
from taskrunner.frames import FrameError, Kind
from taskrunner.supervisor.shapes import SHAPES, checked

EXAMPLES = settings(max_examples=150, deadline=None)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
outcomes = st.builds(
    Outcome,
    queue=st.text(max_size=8),
    id=st.text(max_size=8),
    number=st.integers(0, 2**63),
    kind=st.sampled_from(OutcomeKind).map(int),
    started=st.booleans(),
    ran=st.floats(0, 1e6),
    result=st.none() | st.binary(max_size=8),
    retention=st.floats(0, 1e9) | st.integers(0, 10**9),
    error=st.none() | st.binary(max_size=8),
    reason=st.none() | st.text(max_size=8),
    delay=st.floats(0, 1e9),
    blame=st.sampled_from(Blame).map(int),
    park_key=st.none() | st.text(max_size=8),
).map(list)
WRONG: dict[str, list[Any]] = {
    "queue": [None, 1, b"q", []],
    "id": [None, 1, b"id"],
    "number": [None, "1", 1.0, [], True],
    "kind": [None, -1, 7, "0", 0.0],
    "started": [None, 1, "yes"],
    "ran": [None, -1.0, math.nan, math.inf, "1", 10**18],
    "result": ["text", 1, []],
    "retention": [None, -1, math.nan, -math.inf, math.inf, "1"],
    "error": ["text", 1],
    "reason": [b"bytes", 1],
    "delay": [None, -0.5, math.nan, math.inf],
    "blame": [None, 4, -1, True],
    "park_key": [b"bytes", 1, []],
}


def good_row(**fields: Any) -> list[Any]:
    """An outcome as it comes out of the pipe, with these fields instead."""
    plain = Outcome("q", "id", 1, OutcomeKind.SUCCEEDED)
    return list(plain._replace(**{"kind": 0, "blame": 0, **fields}))


def fed(decoder: frames.Decoder, *chunks: bytes) -> list[list[Any]]:
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@EXAMPLES
@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), st.lists(plain, max_size=3)), max_size=5),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[tuple[Kind, list[Any]]], cuts: list[int]
) -> None:
    data = b"".join(frames.encode(kind, *values) for kind, values in sent)
    decoder = frames.Decoder()
    found = fed(decoder, *cut_up(data, cuts))
    assert repr(found) == repr([[int(kind), *values] for kind, values in sent])
    assert decoder.pending == 0


@EXAMPLES
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_frames_or_a_frame_error(chunks: list[bytes]) -> None:
    decoder = frames.Decoder()
    for chunk in chunks:
        try:
            for frame in decoder.feed(chunk):
                assert isinstance(frame[0], int)
        except FrameError:
            break
        assert decoder.pending <= sum(map(len, chunks))


@EXAMPLES
@given(st.lists(outcomes, min_size=1, max_size=3), st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_nothing_or_a_frame_error(
    rows: list[list[Any]], place: int, bit: int
) -> None:
    data = bytearray(frames.encode(Kind.DONE, rows))
    data[place % len(data)] ^= 1 << bit
    decoder = frames.Decoder()
    try:
        for frame in decoder.feed(bytes(data)):
            checked(frame)
    except FrameError:
        pass


@pytest.mark.parametrize("size", [frames.MAX_FRAME + 1, 2**32 - 1])
def test_a_length_beyond_the_limit_is_refused_before_anything_is_kept(size: int) -> None:
    decoder = frames.Decoder()
    with pytest.raises(FrameError, match="are accepted"):
        fed(decoder, size.to_bytes(4))
    decoder = frames.Decoder()
    assert fed(decoder, frames.MAX_FRAME.to_bytes(4)) == []
    assert decoder.pending == 4  # it waits for bytes, and has made no room for them


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of four milliards
        b"\xdf\xff\xff\xff\xff",  # a map of as many
        b"\xc6\xff\xff\xff\xff",  # bytes of as many
        b"\xdb\xff\xff\xff\xff",  # text of as many
        b"\xdd\x00\x01\x86\xa1" + b"\xc0" * 100_001,  # one more than any frame has
        b"\x91" * 100_000,  # deeper than anybody nests
        b"\x81" * 100_000,
        b"\x91\xc3",  # a kind that is True
        b"\x90",
        b"\xc0",
        b"\x81\x0c\x0c",
        b"\x92\x0c",
        b"\x91\x0c\x0c",
        b"\x92\x0c\xd9\x02\xff\xff",  # text that is not UTF-8
    ],
)
def test_hostile_payloads_are_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        fed(frames.Decoder(), len(payload).to_bytes(4) + payload)


# -- well-formed, and nonsense


@EXAMPLES
@given(st.integers(-5, 30) | st.sampled_from(list(SHAPES)), st.lists(plain, max_size=4))
def test_what_no_child_says_is_refused_and_nothing_else_happens(
    kind: int, values: list[Any]
) -> None:
    frame = [int(kind), *values]
    try:
        assert checked(frame) is frame
    except FrameError:
        pass
    else:
        assert kind in SHAPES


@EXAMPLES
@given(st.lists(outcomes, max_size=5))
def test_outcomes_pass(rows: list[list[Any]]) -> None:
    _, found = checked([Kind.DONE, rows])
    assert [Outcome._make(row) for row in found] == [Outcome._make(row) for row in rows]


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_one_wrong_field_makes_nonsense_of_a_report(field: str, value: Any) -> None:
    assert checked([Kind.DONE, [good_row()]])
    rows = [good_row(), good_row(**{field: value}), good_row()]
    with pytest.raises(FrameError, match="DONE"):
        checked([Kind.DONE, rows])
    with pytest.raises(FrameError, match="DONE"):
        checked([Kind.DONE, rows[1:2]])


def test_every_field_of_an_outcome_is_looked_at() -> None:
    assert WRONG.keys() == set(Outcome._fields)


@pytest.mark.parametrize(
    "frame",
    [
        [Kind.DONE],
        [Kind.DONE, None],
        [Kind.DONE, {}],
        [Kind.DONE, [None]],
        [Kind.DONE, [[]]],
        [Kind.DONE, [good_row()[:-1]]],
        [Kind.DONE, [[*good_row(), None]]],
        [Kind.DONE, [good_row(), good_row()[:-1]]],
        [Kind.DONE, [], []],
        [Kind.TAKEN, 0, None],
        [Kind.TAKEN, 0, [[]]],
        [Kind.TAKEN, 0, [1.5]],
        [Kind.CALL, 1, 2, b"get", []],
        [Kind.CALL, [], 2, "get", []],
        [Kind.PROGRESS, 1, "text"],
        [Kind.PROGRESS, [], b""],
        [Kind.PROGRESS, 1, bytes(1_000_000)],
        [Kind.BLOCKED, [], True],
        [Kind.BLOCKED, 1, 1],
        [Kind.READY, 1],
        [Kind.BEAT, "x"],
        [Kind.RUN, []],
        [Kind.STOP],
        [99],
    ],
    ids=repr,
)
def test_wrong_shapes_are_refused(frame: list[Any]) -> None:
    with pytest.raises(FrameError):
        checked(frame)
