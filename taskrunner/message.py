"""A job on the wire.

    wire    = msgpack [version, header, body]
    header  = msgpack map, short keys, everything that equals its default left out
    body    = bytes: the packed arguments (one day encrypted); only the child looks inside

The id, the queue, the priority and the times are not in the wire: they belong to the job's record,
which the broker keeps beside it. Header keys of version 1, all optional but `t`:

    t   task name (text)                    h   the user's headers (map of text to text)
    to  timeout of a run, ms                u   unique key
    r   retries (int)                       l   limit keys            } places that later versions
    bo  backoff [initial ms, factor,        g   group key             } act on; this one carries
        maximum ms, jitter]                 f   fair key              } them unchanged
    ro  retry on (names of exceptions)      k   id of the encryption or signing key
    gu  give up on (the same)               s   signature (bytes)
    rt  retention, ms
    x   arguments to be shown to nobody (names, and places such as `1`)

A key that this version does not know is kept in `Header.extra` and passed on: a newer client's
message survives an older node. A newer `version` is refused with LaterMessage, and whoever holds
the message keeps its bytes for a node of that version (docs/decisions/0012-later-messages.md). All
that a later version must keep is an array that begins with its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgpack

from taskrunner.errors import LaterMessage, MessageError
from taskrunner.wireprefix import Prefixes

VERSION: Final = 1
PARKED_FOR_TASK: Final = "task:"
"""What stands before a task's name in the key under which its jobs are parked that no node knows."""
LATEST_IMAGINED: Final = 99
"""A number over that, where a version should be, is garbage and no version."""

DEFAULT: Final = "default"
REPLICATED: Final = "replicated"
FSYNCED: Final = "fsynced"
DURABILITIES: Final = (DEFAULT, REPLICATED, FSYNCED)
"""What the store must confirm of a job before its enqueue returns: that it has the job; that a
replica has it, too; that it is on the store's disk."""

REJECT, EXISTING, REPLACE = CONFLICTS = ("reject", "existing", "replace")
"""What becomes of a job whose unique key another has: it is refused; the other stands for it; the
other takes its message, as long as it waits."""
UNTIL_FINISHED, UNTIL_STARTED = UNTIL = ("finished", "started")
"""Up to when a unique job has its key."""

LONGEST: Final = 100 * 365 * 86_400.0
"""No duration is longer than a century, in seconds."""
LONGEST_NAME: Final = 255
"""Characters of a task's name."""
MOST_ITEMS: Final = 10_000
"""In any one array or map of a header."""
_MOST_SHOWN: Final = 200

_pack = msgpack.packb
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Header:
    """What a node must know of a job to run it, without looking at the arguments.

    Durations are in seconds. None means: as the task declares it, else the default.
    """

    task: str
    timeout: float | None = None
    retries: int | None = None
    backoff: tuple[float, float, float, bool] | None = None
    """initial (s), factor, maximum (s), jitter"""
    retry_on: tuple[str, ...] | None = None
    """qualified names of exception classes"""
    give_up_on: tuple[str, ...] | None = None
    """those of errors that no retry helps against, whatever `retry_on` says"""
    retention: float | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    unique_key: str | None = None
    limit_keys: tuple[str, ...] | None = None
    group: str | None = None
    fair_key: str | None = None
    redact: tuple[str, ...] | None = None
    """arguments to be shown to nobody: names, and places such as `1` or, from there on, `2+`"""
    key_id: str | None = None
    signature: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """header keys of a later version, carried unchanged"""

    @cached_property
    def packed(self) -> bytes:
        """The header's own bytes; made once, because many messages share one header."""
        found: dict[str, Any] = {"t": self.task}
        for name, (key, to_wire, _) in _KEYS.items():
            value = getattr(self, name)
            if value is not None and value != _NOTHING:
                found[key] = to_wire(value)
        return bytes(_pack({**found, **self.extra}))

    @classmethod
    def from_map(cls, found: Mapping[str, Any]) -> Header:
        """Read a header map. Raises MessageError where it is not one."""
        try:
            if len(found) == 1:
                return _plain(found["t"])
            values = {
                name: from_wire(found[key])
                for name, (key, _, from_wire) in _KEYS.items()
                if key in found
            }
            extra = {key: value for key, value in found.items() if key not in _KNOWN}
            return cls(task=_name(found["t"]), extra=extra, **values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MessageError(_cut(f"unreadable header: {error!r}")) from error


@dataclass(frozen=True, slots=True)
class Timing:
    """When a job may start and when it must have. Durations in seconds, moments since the epoch.

    Durations count from the moment the store accepts the job, by the store's clock.
    """

    delay: float | None = None
    eta: float | None = None
    expires_in: float | None = None
    expires_at: float | None = None
    deadline: float | None = None


NOW: Final = Timing()


class Lock(NamedTuple):
    """What makes a job unique in its queue: no other with this key is stored while it has the key."""

    key: str
    until: str = UNTIL_FINISHED
    """one of UNTIL"""
    seconds: float | None = None
    """after which the key is free, whatever the job does; None: for as long as that takes"""
    on_conflict: str = REJECT
    """one of CONFLICTS: what to do where another job has the key"""

    @classmethod
    def of(cls, found: Any) -> Lock:
        """One from plain values, wherever they come from. Raises MessageError."""
        try:
            key, until, seconds, on_conflict = found
            if until not in UNTIL or on_conflict not in CONFLICTS:
                raise ValueError(f"{until!r}, {on_conflict!r}")
            return cls(
                _text(key), until, None if seconds is None else _number(seconds), on_conflict
            )
        except (TypeError, ValueError) as error:
            raise MessageError(_cut(f"not what makes a job unique: {error}")) from error


@dataclass(frozen=True, slots=True)
class Message:
    """The frozen value that describes one job to a broker."""

    id: str
    queue: str
    header: Header
    body: bytes
    priority: int = 5
    timing: Timing = NOW
    call: str = ""
    """Names the enqueue call, the same in its repeats. Empty where the id itself does: one that
    taskrunner made, and that no other call can have."""
    durability: str = DEFAULT
    """one of DURABILITIES"""
    lock: Lock | None = None
    """for a job that is to be unique"""

    @property
    def task(self) -> str:
        return self.header.task

    @property
    def wire(self) -> bytes:
        """The message as it travels. Put together by hand (an array of three, then msgpack's two
        forms of bytes), since this runs for every job: the header's bytes are shared."""
        body = self.body
        size = len(body)
        lead = b"\xc4" + size.to_bytes(1) if size < 256 else b"\xc6" + size.to_bytes(4)
        return b"\x93\x01" + self.header.packed + lead + body


_before: Final = Prefixes[Header]()


def unpack(wire: bytes) -> tuple[Header, bytes]:
    """The header and the body of a wire. Raises MessageError for anything that is not one, and
    LaterMessage for one that a later version may be able to read."""
    return _before.find(wire) or _read(wire)


def _read(wire: bytes) -> tuple[Header, bytes]:
    try:
        version, header, body = msgpack.unpackb(
            wire, raw=False, strict_map_key=True, max_array_len=MOST_ITEMS, max_map_len=MOST_ITEMS
        )
    except Exception as error:  # msgpack raises a dozen kinds for hostile bytes
        if (later := _later_version(wire)) is not None:
            raise _later(later) from error
        raise MessageError(_cut(f"not a message: {type(error).__name__}: {error}")) from error
    if type(version) is not int:
        raise MessageError("not a message: it does not begin with a version")
    if VERSION < version <= LATEST_IMAGINED:
        raise _later(version)
    if version != VERSION:
        raise MessageError(f"message version {version}; this node reads version {VERSION}")
    if not isinstance(header, dict) or not isinstance(body, bytes):
        raise MessageError("not a message: the header is not a map or the body not bytes")
    found = Header.from_map(header)
    _before.learn(wire, found)
    return found, body


def _later(version: int) -> LaterMessage:
    text = f"message version {version}; this node reads version {VERSION}"
    return LaterMessage(text, version=version)


def _later_version(wire: bytes) -> int | None:
    """The version of a wire that is otherwise not understood: all that every version has in common
    is an array that begins with it. Both are one byte, as long as the array is short."""
    if len(wire) < 2 or not 0x91 <= wire[0] <= 0x9F:
        return None
    return wire[1] if VERSION < wire[1] <= LATEST_IMAGINED else None


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """One failed run, as it is kept with the job."""

    type: str
    """qualified name of the exception, or a reason such as `crashed`"""
    message: str
    traceback: str = ""
    attempt: int = 0
    at: float = 0.0
    """seconds since the epoch"""

    def pack(self) -> bytes:
        return bytes(_pack([self.type, self.message, self.traceback, self.attempt, self.at]))

    @classmethod
    def unpack(cls, packed: bytes) -> ErrorInfo:
        """Read one; what cannot be read becomes an ErrorInfo that says so."""
        try:
            kind, message, traceback, attempt, at = msgpack.unpackb(packed)
            return cls(str(kind), str(message), str(traceback), int(attempt), _moment(at))
        except Exception as error:  # noqa: BLE001  see unpack above
            return cls("unreadable", _cut(f"the stored error cannot be read: {error}"))


def _cut(text: str) -> str:
    """What hostile bytes hold may be long, and would stand in logs and records."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def _name(value: Any) -> str:
    if len(_text(value)) > LONGEST_NAME:
        raise ValueError(f"a task's name of {len(value)} characters")
    return str(value)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value


def _number(value: Any) -> float:
    """A finite one, not negative and not beyond all measure."""
    if type(value) not in (int, float) or not 0 <= value <= 1000 * LONGEST:
        raise ValueError(f"expected a number, 0 or more, got {type(value).__name__}")
    return float(value)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, got {type(value).__name__}")
    return value


def _moment(value: Any) -> float:
    # Through a datetime and back by whoever shows it, which goes up to the year 9999.
    return min(_number(value), 250_000_000_000.0)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _seconds(milliseconds: Any) -> float:
    return _number(milliseconds) / 1000


def _limit(milliseconds: Any) -> float:
    if milliseconds == 0:
        raise ValueError("expected more than 0 ms")
    return _seconds(milliseconds)


def _backoff_to_wire(value: tuple[float, float, float, bool]) -> list[Any]:
    initial, factor, maximum, jitter = value
    return [_milliseconds(initial), factor, _milliseconds(maximum), jitter]


def _backoff_from_wire(value: Any) -> tuple[float, float, float, bool]:
    initial, factor, maximum, jitter = value
    if _number(factor) < 1:
        raise ValueError("a backoff that shrinks")
    return _seconds(initial), float(factor), _seconds(maximum), bool(jitter)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return tuple(_text(item) for item in value)


def _header(value: Any) -> str:
    if not isinstance(value, (str, int, float)):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return str(value)


def _headers(value: Any) -> Mapping[str, str]:
    return MappingProxyType({_text(key): _header(item) for key, item in value.items()})


_KEYS: Final[Mapping[str, tuple[str, Any, Any]]] = {
    "timeout": ("to", _milliseconds, _limit),
    "retries": ("r", int, _whole),
    "backoff": ("bo", _backoff_to_wire, _backoff_from_wire),
    "retry_on": ("ro", list, _texts),
    "give_up_on": ("gu", list, _texts),
    "retention": ("rt", _milliseconds, _seconds),
    "headers": ("h", dict, _headers),
    "unique_key": ("u", str, _text),
    "limit_keys": ("l", list, _texts),
    "group": ("g", str, _text),
    "fair_key": ("f", str, _text),
    "redact": ("x", list, _texts),
    "key_id": ("k", str, _text),
    "signature": ("s", bytes, _bytes),
}
_KNOWN: Final = frozenset({"t", *(key for key, _, _ in _KEYS.values())})
assert {"task", "extra", *_KEYS} == {f.name for f in fields(Header)}


@lru_cache(maxsize=4096)
def _plain(task: Any) -> Header:
    """The header that says no more than its task's name: most of them."""
    return Header(task=_name(task))


__all__ = [
    "DEFAULT",
    "DURABILITIES",
    "FSYNCED",
    "LONGEST",
    "LONGEST_NAME",
    "NOW",
    "REPLICATED",
    "VERSION",
    "ErrorInfo",
    "Header",
    "Lock",
    "Message",
    "Timing",
    "unpack",
]
