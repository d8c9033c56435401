"""Commands have a bounded size, whatever they carry."""

from __future__ import annotations

import msgpack
import pytest

from taskrunner.brokers.redis import batches
from taskrunner.brokers.redis.batches import BYTES, ROWS, WINDOW, Blob, blobs, message_row, windows
from taskrunner.message import Header, Message, Timing

HEADER = Header(task="t")


@pytest.mark.parametrize("count", [1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 7])
def test_rows_are_cut_by_their_number_and_keep_their_places(count: int) -> None:
    rows = [(n, b"x") for n in range(count)]
    found = list(blobs(rows))
    assert all(blob.size <= ROWS for blob in found)
    assert _unpacked(found) == [[n, b"x"] for n in range(count)]
    assert [blob.start for blob in found] == list(range(0, count, ROWS))


def test_rows_are_cut_by_their_bytes() -> None:
    rows = [(n, bytes(BYTES // 4)) for n in range(10)]
    found = list(blobs(rows))
    assert len(found) > 1
    assert all(len(blob.packed) <= BYTES for blob in found)
    assert [row[0] for row in _unpacked(found)] == list(range(10))
    assert [blob.start for blob in found] == [0, *_sums(found)[:-1]]


def test_one_row_that_is_larger_goes_alone() -> None:
    found = list(blobs([(0, b"a"), (1, bytes(2 * BYTES)), (2, b"b")]))
    assert [row[0] for row in _unpacked(found)] == [0, 1, 2]
    assert max(len(blob.packed) for blob in found) < 2 * BYTES + 100


def test_a_round_trip_has_a_bounded_size() -> None:
    packed = [("q", Blob(n, 1, bytes(WINDOW // 3))) for n in range(7)]
    found = list(windows(packed))
    assert [len(window) for window in found] == [3, 3, 1]
    assert [blob for window in found for blob in window] == packed
    assert list(windows([])) == []


def test_a_message_of_defaults_has_a_short_row() -> None:
    message = Message("a", "q", HEADER, b"body")
    assert message_row(message) == ("a", message.wire)


def test_options_are_milliseconds() -> None:
    timing = Timing(delay=0.5, eta=1.25, expires_in=2.0, expires_at=3.0, deadline=4.0)
    message = Message("a", "q", HEADER, b"body", 7, timing, "call")
    row = message_row(message)
    assert row == ("a", message.wire, 7, "call", 500.0, 1250.0, 2000.0, 3000.0, 4000.0)


def test_a_long_call_is_stored_short_and_distinct() -> None:
    calls = ["c" * 100, "c" * 101, "d" * 100]
    rows = [message_row(Message("a", "q", HEADER, b"", call=call)) for call in calls]
    assert len({row[3] for row in rows}) == len(calls)
    assert all(len(row[3]) <= batches.LONGEST_FIELD for row in rows)


def _unpacked(found: list[Blob]) -> list[list[object]]:
    return [row for blob in found for row in msgpack.unpackb(blob.packed, raw=True)]


def _sums(found: list[Blob]) -> list[int]:
    return [sum(blob.size for blob in found[: n + 1]) for n in range(len(found))]
