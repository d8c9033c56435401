"""Options of a task or of one job, validated where they are given.

The same set is accepted on `@app.task`, on `.options()` and on `app.enqueue`, the later one
winning. Every mistake is an OptionError that names the option, what it got and what it accepts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, TypedDict

from taskrunner.errorkinds import ERRORS, accepted_errors, check_errors
from taskrunner.errors import OptionError
from taskrunner.limitkeys import Keys, KeySource, Source, TakesArguments, source
from taskrunner.limits import Limit, Rate, running
from taskrunner.message import DURABILITIES, LONGEST, NOW, Header, Timing
from taskrunner.naming import nearest
from taskrunner.retry import Backoff, Predicate
from taskrunner.unique import Unique, accepted_unique

Seconds: TypeAlias = float | timedelta
"""A duration: a number of seconds, fractions included, or a timedelta."""

LONGEST_TEXT: Final = 255
HEADERS_LIMIT_BYTES: Final = 16 * 1024
_SHORTEST: Final = 0.001
_QUEUE: Final = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")


OneError: TypeAlias = type[Exception] | str | Predicate
"""Which errors: a class, its qualified name, or a function that judges one."""


class OptionArguments(TypedDict, total=False):
    """What the options are called and take, for type checkers."""

    queue: str
    priority: int
    delay: Seconds
    eta: datetime
    expires: Seconds | datetime
    timeout: Seconds
    deadline: datetime
    retries: int
    backoff: Backoff
    retry_on: OneError | Iterable[OneError]
    give_up_on: OneError | Iterable[OneError]
    retention: Seconds
    job_id: str
    headers: Mapping[str, str]
    durability: Literal["default", "replicated", "fsynced"]
    unique: bool | Unique
    rate_limit: str | Rate
    rate_key: KeySource
    max_running: int
    running_key: KeySource


@dataclass(frozen=True, slots=True)
class Options:
    """Validated options. None: not said. Durations in seconds; moments in seconds since the epoch."""

    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    eta: float | None = None
    expires: float | None = None
    expires_at: float | None = None
    """`expires` where it was given as a moment"""
    timeout: float | None = None
    deadline: float | None = None
    retries: int | None = None
    backoff: Backoff | None = None
    retry_on: tuple[str, ...] | None = None
    retry_if: tuple[Predicate, ...] | None = None
    """the functions that `retry_on` was given"""
    give_up_on: tuple[str, ...] | None = None
    give_up_if: tuple[Predicate, ...] | None = None
    retention: float | None = None
    job_id: str | None = None
    headers: Mapping[str, str] | None = None
    durability: str | None = None
    unique: Unique | Literal[False] | None = None
    rate_limit: Rate | None = None
    rate_key: Source | None = None
    max_running: int | None = None
    running_key: Source | None = None

    @classmethod
    def of(cls, **raw: Any) -> Options:
        """Validate options as users write them; None means that it was not given. Raises
        OptionError."""
        if not raw:
            return NOTHING
        found: dict[str, Any] = {}
        for name, value in raw.items():
            accept = _ACCEPT.get(name)
            if accept is None:
                raise OptionError(f"unknown option {name!r}: {nearest(name, _ACCEPT)}")
            if value is not None:
                found[name] = accept(name, value)
        if "delay" in found and "eta" in found:
            raise OptionError("delay and eta were both given: expected one of them")
        if isinstance(found.get("expires"), datetime):
            found["expires_at"] = found.pop("expires").timestamp()
        for names, functions in ERRORS:
            if names in found:
                found[names], found[functions] = found[names]
        check_errors(found.get("retry_on"), found.get("give_up_on"))
        return cls(**found)

    def merged(self, over: Options) -> Options:
        """These options with `over` put over them. Headers are merged key by key."""
        if over is NOTHING:
            return self
        if self is NOTHING:
            return over
        # By hand and not by `dataclasses.replace`: `.options()` is part of many a submission.
        said = {name: value for name in _FIELDS if (value := getattr(over, name)) is not None}
        for one, other in _EITHER:
            # The later one wins, also where it says the same in another way.
            if one in said or other in said:
                said.setdefault(one, None)
                said.setdefault(other, None)
        if self.headers and over.headers:
            said["headers"] = MappingProxyType({**self.headers, **over.headers})
        return Options(*[said[n] if n in said else getattr(self, n) for n in _FIELDS])

    def timing(self) -> Timing:
        """When a job with these options may start and when it must have."""
        if (self.delay, self.eta, self.expires, self.expires_at, self.deadline) == _NO_TIMES:
            return NOW
        return Timing(self.delay, self.eta, self.expires, self.expires_at, self.deadline)

    def limit(self) -> Limit | None:
        """What a declaration with these options holds its jobs by."""
        if self.rate_limit is None and self.max_running is None:
            return None
        return Limit(self.rate_limit, self.max_running)

    def keys(self, chosen: Options, takes: TakesArguments | None) -> Keys | None:
        """What jobs with these options, of which some were `chosen` for them, say of their limits.
        Of the numbers only those travel: the node knows what is declared. Raises OptionError."""
        said = (self.rate_key, self.running_key, chosen.rate_limit, chosen.max_running)
        if said == (None, None, None, None):
            return None
        for key, limit in (("rate_key", "rate_limit"), ("running_key", "max_running")):
            is_lone = getattr(self, key) is not None and getattr(self, limit) is None
            if is_lone and takes is not None:
                raise OptionError(f"{key} was given, and nothing to count by it: give {limit} too")
        return Keys(chosen.rate_limit, self.rate_key, chosen.max_running, self.running_key, takes)

    def header(self, task: str, *, headers: Mapping[str, str] | None = None) -> Header:
        """The message header that carries what a node needs of these options."""
        backoff = self.backoff
        return Header(
            task=task,
            timeout=self.timeout,
            retries=self.retries,
            backoff=backoff.values() if backoff else None,
            retry_on=self.retry_on,
            give_up_on=self.give_up_on,
            retention=self.retention,
            headers=headers or self.headers or MappingProxyType({}),
        )


_EITHER: Final = (("delay", "eta"), ("expires", "expires_at"), *ERRORS)
_NO_TIMES: Final = (None,) * 5
_FIELDS: Final = tuple(f.name for f in fields(Options))

NOTHING: Final = Options()
"""No option was said; what `Options.of()` answers."""


def validate_queue_name(name: object, option: str = "queue") -> str:
    """Answer the name, or raise OptionError saying what a queue may be called."""
    if isinstance(name, str) and _QUEUE.fullmatch(name):
        return str(name)
    raise wrong(option, name, "1 to 128 letters, digits and - _ . : / @, without spaces")


def seconds(option: str, value: object, *, lowest: float = 0.0) -> float:
    """A duration as seconds. Raises OptionError unless it is a finite number of seconds or a
    timedelta, of at least `lowest`."""
    found: Any = value.total_seconds() if isinstance(value, timedelta) else value
    if _is_number(found) and lowest <= found <= LONGEST:
        return float(found)
    least = f"{lowest:g} or more" if lowest else "0 or more"
    raise wrong(option, value, f"seconds (fractions count) or a timedelta, {least}, finite")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def wrong(option: str, value: object, accepts: str) -> OptionError:
    """The error for a value that an option does not accept."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    return OptionError(f"{option}={shown}: expected {accepts}")


def _priority(option: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9:
        return int(value)
    raise wrong(option, value, "a whole number from 0 to 9 (9 is the most urgent)")


def _retries(option: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return int(value)
    raise wrong(option, value, "a whole number, 0 or more")


def _limit(option: str, value: object) -> float:
    return seconds(option, value, lowest=_SHORTEST)


def moment(option: str, value: object) -> float:
    """A moment as seconds since the epoch. Raises OptionError unless it is an aware datetime."""
    return _aware(option, value, "a datetime with a time zone").timestamp()


def _aware(option: str, value: object, accepts: str) -> datetime:
    if not isinstance(value, datetime):
        raise wrong(option, value, accepts)
    if value.utcoffset() is None:
        raise wrong(option, value, f"{accepts}; this one has none: say which, for example UTC")
    return value


def _expires(option: str, value: object) -> float | datetime:
    if isinstance(value, datetime):
        return _aware(option, value, "seconds, a timedelta or a datetime with a time zone")
    try:
        return seconds(option, value)
    except OptionError:
        accepts = "seconds (0 or more), a timedelta or a datetime with a time zone"
        raise wrong(option, value, accepts) from None


def _backoff(option: str, value: object) -> Backoff:
    if isinstance(value, Backoff):
        return value
    raise wrong(option, value, "a Backoff, for example Backoff(initial=1.0, maximum=60.0)")


def _job_id(option: str, value: object) -> str:
    if (
        isinstance(value, str)
        and 1 <= len(value) <= LONGEST_TEXT
        and value.isprintable()
        and not any(letter.isspace() for letter in value)
    ):
        return str(value)
    raise wrong(option, value, f"1 to {LONGEST_TEXT} printable characters without spaces")


def _headers(option: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise wrong(option, value, "a mapping of text to text")
    for key, item in value.items():
        if not (isinstance(key, str) and key and isinstance(item, str)):
            raise wrong(f"{option}[{key!r}]", item, "text under a key that is text")
    try:
        size = sum(len(key.encode()) + len(item.encode()) for key, item in value.items())
    except UnicodeEncodeError as error:
        raise wrong(option, value, f"text that UTF-8 can carry ({error})") from error
    if size > HEADERS_LIMIT_BYTES:
        raise OptionError(f"{option}: {size} bytes; at most {HEADERS_LIMIT_BYTES} are accepted")
    return MappingProxyType({str(key): str(item) for key, item in value.items()})


def _durability(option: str, value: object) -> str:
    if isinstance(value, str) and value in DURABILITIES:
        return value
    raise wrong(option, value, f"one of {', '.join(map(repr, DURABILITIES))}")


_ACCEPT: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "queue": lambda option, value: validate_queue_name(value, option),
    "priority": _priority,
    "delay": seconds,
    "eta": moment,
    "expires": _expires,
    "timeout": _limit,
    "deadline": moment,
    "retries": _retries,
    "backoff": _backoff,
    "retry_on": accepted_errors,
    "give_up_on": accepted_errors,
    "retention": seconds,
    "job_id": _job_id,
    "headers": _headers,
    "durability": _durability,
    "unique": accepted_unique,
    "rate_limit": lambda option, value: Rate.parse(value, option),
    "rate_key": source,
    "max_running": lambda option, value: running(value, option),
    "running_key": source,
}

OPTION_NAMES: Final = tuple(_ACCEPT)
"""What options there are, in the order the docs list them."""
