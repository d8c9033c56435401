"""The single values that msgpack has no type for: each to bytes and back. See `codec`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from taskrunner.errors import ArgumentError
from taskrunner.naming import type_name


def _integer_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, signed=True)


def _integer(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


_MICROSECOND: Final = timedelta(microseconds=1)


def _clock_text(value: datetime | time) -> bytes:
    """ISO 8601, and what that cannot say: the zone's name, and which of two equal local times."""
    text, zone = value.isoformat(), value.tzinfo
    if zone is not None and type(zone) is not timezone:
        if type(zone) is not ZoneInfo or not zone.key:
            raise ArgumentError(
                f"a {type(value).__name__} whose tzinfo is a {type_name(zone)} cannot be carried: "
                f"use datetime.timezone or zoneinfo.ZoneInfo"
            )
        text += f"[{zone.key}]"
    offset = value.utcoffset()
    if offset is not None and offset.microseconds:
        # Python writes such an offset and does not always read it again.
        raise ArgumentError(
            f"a {type(value).__name__} with an offset of {offset} cannot be carried"
        )
    return (text + "[fold=1]" if value.fold else text).encode()


def _split(data: bytes) -> tuple[str, ZoneInfo | None, int]:
    text, *tags = data.decode().split("[")
    fold = 0
    zone = None
    for tag in tags:
        if tag == "fold=1]":
            fold = 1
        else:
            zone = ZoneInfo(tag.removesuffix("]"))
    return text, zone, fold


def _datetime(data: bytes) -> datetime:
    text, zone, fold = _split(data)
    found = datetime.fromisoformat(text)
    if zone is None:
        return found.replace(fold=fold) if fold else found
    local = found.replace(tzinfo=zone, fold=fold)
    # Where this machine's zone data says otherwise, the instant is what was meant.
    return local if local.utcoffset() == found.utcoffset() else found.astimezone(zone)


def _time(data: bytes) -> time:
    text, zone, fold = _split(data)
    found = time.fromisoformat(text).replace(fold=fold)
    return found if zone is None else found.replace(tzinfo=zone)


def _complex(data: bytes) -> complex:
    return complex(*struct.unpack(">dd", data))


SCALARS: Final[Mapping[type, tuple[int, Callable[[Any], bytes], Callable[[bytes], Any]]]] = {
    datetime: (16, _clock_text, _datetime),
    date: (17, lambda value: value.isoformat().encode(), lambda b: date.fromisoformat(b.decode())),
    time: (18, _clock_text, _time),
    timedelta: (
        19,
        lambda value: _integer_bytes(value // _MICROSECOND),
        lambda data: timedelta(microseconds=_integer(data)),
    ),
    UUID: (20, lambda value: value.bytes, lambda data: UUID(bytes=data)),
    Decimal: (21, lambda value: str(value).encode(), lambda data: Decimal(data.decode())),
    int: (22, _integer_bytes, _integer),
    complex: (23, lambda value: struct.pack(">dd", value.real, value.imag), _complex),
}

"""By type: the code of its extension, to bytes, and back."""
