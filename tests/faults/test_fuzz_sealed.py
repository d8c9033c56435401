"""What is encrypted, signed or keeps a digest, with something else in its place: refused with an error
that says so, whoever holds which keys, and never anything worse."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.access.keys import Shown, StoredKey
from taskrunner.access.scopes import Scope
from taskrunner.config import Config
from taskrunner.crypto import Key
from taskrunner.errors import CryptoError, MessageError
from taskrunner.message import Header, Message, unpack
from taskrunner.seals import RESULT, Seals
from tests.faults.test_fuzz_frames import plain
from tests.faults.test_fuzz_records import ODD

EXAMPLES = settings(max_examples=120, deadline=None)
ONE, TWO = (Key(name, bytes([n]) * 32).text for n, name in enumerate(("one", "two"), 1))
HOLDERS = [
    {},
    {"encryption_keys": (ONE,)},
    {"signing_keys": (ONE,)},
    {"encryption_keys": (TWO, ONE), "require_encryption": True},
    {"signing_keys": (TWO, ONE), "require_signing": True},
]
SEALERS = HOLDERS[:3]
MARKS = [
    b"",
    b"\xc1",
    b"\xc1\x01",
    b"\xc1\x02",
    b"\xc1\x01\x03one",
    b"\xc1\x02\x03one",
    b"\xc1\x01\xff",
]
garbage = st.builds(bytes.__add__, st.sampled_from(MARKS), st.binary(max_size=80))


def holder(keys: dict[str, Any]) -> Seals:
    return Seals(Config(**keys))


def message() -> Message:
    return Message("j1", "q", Header("t", headers={"tenant": "7"}), b"\x92\x01\x80")


@EXAMPLES
@given(st.sampled_from(HOLDERS), garbage)
def test_any_value_is_opened_or_refused(keys: dict[str, Any], value: bytes) -> None:
    try:
        found = holder(keys).plain(RESULT, message(), value)
    except CryptoError as error:
        assert 0 < len(str(error)) < 1000  # noqa: PT017  it is no test of who raises
    else:
        assert isinstance(found, bytes)


@EXAMPLES
@given(
    st.sampled_from(HOLDERS),
    garbage,
    st.none() | st.sampled_from(["one", "two", "x" * 200, "\x00"]),
    st.none() | garbage,
)
def test_any_body_under_any_header_is_opened_or_refused(
    keys: dict[str, Any], body: bytes, key_id: str | None, signature: bytes | None
) -> None:
    header = Header("t", headers={"tenant": "7"}, key_id=key_id, signature=signature)
    try:
        headers, _ = holder(keys).opened(header, body, "q", "j1")
    except CryptoError as error:
        assert 0 < len(str(error)) < 1000  # noqa: PT017
    else:
        assert all(isinstance(name, str) for name in headers)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEALERS[1:]), st.integers(0, 10_000), st.booleans())
def test_a_flipped_bit_or_a_cut_is_noticed(keys: dict[str, Any], at: int, cut: bool) -> None:
    seals = holder(keys)
    wire = seals.message(message()).wire
    if cut:
        hostile = wire[: at % len(wire)]
    else:
        flipped = bytearray(wire)
        flipped[at // 8 % len(wire)] ^= 1 << at % 8
        hostile = bytes(flipped)
    try:
        header, body = unpack(hostile)
        headers, arguments = seals.opened(header, body, "q", "j1")
    except MessageError:
        return
    # What is not sealed may have been flipped: options, and whether there is a seal at all.
    assert header.key_id is None or (dict(headers), arguments) == ({"tenant": "7"}, b"\x92\x01\x80")


# -- keys of the service

SHOWN = Shown("0123456789", "s" * 40)
KEY = StoredKey(
    SHOWN.id, "ci", frozenset({Scope.READ}), created_at=1.0, expires_at=2.0, retires_at=3.0
).sealed(SHOWN, None)


@EXAMPLES
@given(st.binary(max_size=60) | plain.map(msgpack.packb))
def test_any_bytes_are_no_key(packed: bytes) -> None:
    with pytest.raises(MessageError):
        StoredKey.unpack(SHOWN.id, packed)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(msgpack.unpackb(KEY.pack()))), st.sampled_from(ODD) | plain)
def test_a_key_with_a_wrong_field_cannot_be_read_or_opens_nothing_more(
    field: str, value: Any
) -> None:
    found = {**msgpack.unpackb(KEY.pack()), field: value}
    try:
        key = StoredKey.unpack(SHOWN.id, bytes(msgpack.packb(found)))
    except MessageError:
        return
    assert not key.opens(Shown(SHOWN.id, "t" * 40), None)
    assert isinstance(key.is_valid(1.5), bool)
    assert isinstance(key.standing(1.5), str)
    assert key.identity.scopes <= set(Scope)
