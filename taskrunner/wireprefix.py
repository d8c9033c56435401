"""What stands in front of a message's body, remembered with what it means.

Most messages of a task begin with the same bytes: the version and a header that says the task's name
and no more, but for the key where it is encrypted. Equal bytes mean the same, so after the first of them only the body's length is looked at.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

H = TypeVar("H")

_PLAIN: Final = b"\x93\x01\x81\xa1t"
"""An array of three, version 1, a map of one, `t`."""
_WITH_KEY: Final = b"\x93\x01\x82\xa1t"
_KEY: Final = b"\xa1k"
_MOST: Final = 4096


class Prefixes(Generic[H]):
    """Thread-safe. H is what a header is read as."""

    def __init__(self) -> None:
        self._known: dict[bytes, H] = {}

    def learn(self, wire: bytes, header: H) -> None:
        """This message, which could be read, has this header."""
        end = _end_of_header(wire)
        if end and len(self._known) < _MOST:
            self._known[wire[:end]] = header

    def find(self, wire: bytes) -> tuple[H, bytes] | None:
        """The header and the body; None where this has to be read like any other."""
        end = _end_of_header(wire)
        header = self._known.get(wire[:end])
        if header is None:
            return None
        size = len(wire) - end - 2
        if 0 <= size < 256 and wire[end : end + 2] == b"\xc4" + size.to_bytes(1):
            return header, wire[end + 2 :]
        size -= 3
        if size >= 256 and wire[end : end + 5] == b"\xc6" + size.to_bytes(4):
            return header, wire[end + 5 :]
        return None


def _end_of_header(wire: bytes) -> int:
    """Where the body begins, if the header has nothing but a name, or that and the id of a key;
    else 0."""
    start = wire[:5]
    if start == _PLAIN:
        return _end_of_text(wire, 5)
    if start != _WITH_KEY:
        return 0
    end = _end_of_text(wire, 5)
    return _end_of_text(wire, end + 2) if end and wire[end : end + 2] == _KEY else 0


def _end_of_text(wire: bytes, at: int) -> int:
    """What follows a short text, in one of msgpack's two forms; else 0."""
    if len(wire) < at + 2:
        return 0
    lead = wire[at]
    if lead & 0xE0 == 0xA0:
        return at + 1 + (lead & 0x1F)
    return at + 2 + wire[at + 1] if lead == 0xD9 else 0
