"""Reading a message by what was read before: nothing is taken for what it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.errors import MessageError
from taskrunner.message import Header, Message, _read, unpack


@given(
    name=st.text(min_size=1, max_size=60).filter(str.strip),
    body=st.binary(max_size=600),
    cut=st.integers(0, 8),
    flipped=st.integers(0, 700),
    bit=st.integers(0, 7),
)
def test_a_header_that_was_read_before_is_taken_for_nothing_else(
    name: str, body: bytes, cut: int, flipped: int, bit: int
) -> None:
    wire = Message("", "q", Header(task=name), body).wire
    damaged = bytearray(wire[: len(wire) - cut])
    damaged[flipped % len(damaged)] ^= 1 << bit
    for one in (wire, wire, wire + b"\x00", wire[:-1], wire[: len(wire) - cut], bytes(damaged)):
        assert outcome(unpack, one) == outcome(_read, one)


def outcome(read: Callable[[bytes], object], wire: bytes) -> object:
    try:
        return read(wire)
    except MessageError as error:
        return str(error)


def test_a_task_that_was_seen_before_costs_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (0, 255, 256, 70_000)
    wires = [Message("", "q", Header(task="seen.before"), b"x" * size).wire for size in sizes]
    assert [len(unpack(wire)[1]) for wire in wires] == list(sizes)
    monkeypatch.setattr("msgpack.unpackb", lambda *_: pytest.fail("decoded"))
    assert [len(unpack(wire)[1]) for wire in wires] == list(sizes)
