"""What makes a job unique: `unique=True`, or `unique=Unique(…)` where more is to be said.

    task, arguments ─▶ key ─▶ Lock, which goes with the message ─▶ the store's step of submitting

A key is of one task in one queue. It is a short text: the task's name and what it was given, or a hash
where that would be long or where it stands for all arguments.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from taskrunner.errors import OptionError
from taskrunner.message import CONFLICTS, LONGEST, UNTIL, Lock

LONGEST_KEY: Final = 64
"""Bytes. A longer one is hashed."""
SHORTEST: Final = 0.001


@dataclass(frozen=True, slots=True)
class Unique:
    """No second job while there is one with the same key, in the same queue.

    `key`: text or a number, or a function that is called with the job's arguments and answers one;
    without it, the task and its arguments. `until`: the key is taken until the job is `finished`,
    however it ends, or only until it is `started`. `seconds`: after that time (a number or a
    timedelta) it is free whatever the job does. `on_conflict`: what a second submission comes to:
    `reject` raises DuplicateJob, `existing` answers the job that is there, `replace` puts the new
    arguments, options and times into it as long as it waits.

    Raises OptionError for values that it does not accept.
    """

    key: str | float | Callable[..., str | float] | None = None
    until: Literal["finished", "started"] = "finished"
    seconds: float | timedelta | None = None
    on_conflict: Literal["reject", "existing", "replace"] = "reject"

    def __post_init__(self) -> None:
        if self.key is not None and not callable(self.key):
            _text("unique key", self.key)
        _one_of("unique until", self.until, UNTIL)
        _one_of("unique on_conflict", self.on_conflict, CONFLICTS)
        if self.seconds is not None:
            _check_window(self.seconds)

    @property
    def window(self) -> float | None:
        """`seconds` as a number."""
        found = self.seconds
        return found.total_seconds() if isinstance(found, timedelta) else found

    def lock(
        self,
        task: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        pack: Callable[[Any], bytes],
    ) -> Lock:
        """What goes with a job that has these arguments. Raises OptionError for a key that a function
        answers and that is none, ArgumentError for arguments that cannot be carried."""
        key = self._key(task, args, kwargs, pack)
        return Lock(key, self.until, self.window, self.on_conflict)

    def _key(
        self,
        task: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        pack: Callable[[Any], bytes],
    ) -> str:
        # A task's name has no spaces: nobody's key can be that of another task.
        if self.key is None:
            return f"{_short(task)} #{_digest(_canonical([args, kwargs], pack))}"
        found = self.key(*args, **kwargs) if callable(self.key) else self.key
        key = f"{task} ={_text('unique key', found)}"
        return (
            key if len(key.encode()) <= LONGEST_KEY else f"{_short(task)} ~{_digest(key.encode())}"
        )


def accepted_unique(option: str, value: object) -> Unique | Literal[False]:
    """What users write for `unique`. Raises OptionError."""
    if isinstance(value, Unique):
        return value
    if isinstance(value, bool):
        return BY_ARGUMENTS if value else False
    raise OptionError(f"{option}={value!r}: expected True, False or a Unique, Unique(key=…)")


def hidden(key: str, fingerprint: Callable[[str], str]) -> str:
    """A key that betrays nothing: a plain hash of arguments could be found out by trying. One that is
    text of the user's own stays."""
    task, _, rest = key.partition(" ")
    return f"{task} *{fingerprint(rest)}" if rest.startswith("#") else key


def _short(task: str) -> str:
    """A task's name, or what can be shown of it: what comes after it tells keys apart."""
    name = task.encode()
    return task if len(name) <= 20 else f"…{name[-16:].decode(errors='ignore')}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _canonical(value: Any, pack: Callable[[Any], bytes]) -> bytes:
    """Bytes that are the same for equal arguments in every process. Plain packing would do, but for
    the order of sets, which differs from process to process, and that of maps."""
    if isinstance(value, Mapping):
        items = sorted(_canonical(key, pack) + _canonical(value[key], pack) for key in value)
    elif isinstance(value, (set, frozenset)):
        items = sorted(_canonical(item, pack) for item in value)
    elif type(value) in (list, tuple):
        items = [_canonical(item, pack) for item in value]
    else:
        return _framed(pack(value))
    kind = "map" if isinstance(value, Mapping) else type(value).__name__
    return _framed(kind.encode() + b"".join(items))


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(8) + data


def _text(option: str, value: object) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and math.isfinite(value):  # type: ignore[arg-type]
        return str(value)
    if isinstance(value, str) and value and _is_utf8(value):
        return value
    raise OptionError(f"{option}={value!r}: expected text that is not empty, or a number")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _one_of(option: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise OptionError(f"{option}={value!r}: expected {' or '.join(map(repr, known))}")


def _check_window(value: object) -> None:
    found: Any = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    if not is_number or not SHORTEST <= found <= LONGEST:
        accepts = f"seconds (fractions count) or a timedelta, {SHORTEST:g} or more"
        raise OptionError(f"unique seconds={value!r}: expected {accepts}")


BY_ARGUMENTS: Final = Unique()
"""What `unique=True` means."""
