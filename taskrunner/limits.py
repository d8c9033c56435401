"""What a limit is, and its arithmetic. Pure.

    rate         so many starts in so much time: "100/s", "5/m", "1000/h", "10/30s", "100/s burst 20"
    max_running  so many runs at once
    scope        whom it holds: a queue, the jobs of a task in a queue, the jobs of a key in a queue

A rate is kept by the generic cell rate algorithm. Its only memory is one moment, the *theoretical
arrival time* (`tat`): each start moves it on by one interval, from now or from where it was, and a
start is allowed while it is no further ahead than the burst. So in no window of w seconds are there
more than burst + rate * w starts, and what was not used for a while is no debt of the store's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, isfinite
from typing import Final, NamedTuple

from taskrunner.errors import OptionError

RATE_ACCEPTS: Final = (
    'starts per time, such as "100/s", "5/m", "1000/h" or "10/30s", all above zero, with a burst'
    ' if it is not the usual one: "100/s burst 20"'
)
NONE: Final = "none"
"""Says at run time that what the code declares does not hold."""
LONGEST_KEY: Final = 200
MOST_RUNNING: Final = 10**6
MOST_BURST: Final = 10**6
SMOOTH_S: Final = 0.1
"""The usual burst: what is due in so long a time, and at least one start."""
TOLERANCE_S: Final = 1e-5
"""Far more than sums of moments are off, which have a resolution of a fraction of a microsecond."""
TOGETHER_S: Final = 0.02
"""Starts of so long a time are let go together, if the burst allows it: each wakes somebody."""

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_RATE: Final = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{0,6})\s*([smhd])(?:\s+burst\s+(\d{1,9}))?\s*")


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` starts in `per` seconds, and `burst` at once where there were none before."""

    count: int
    per: float
    burst: int

    @classmethod
    def parse(cls, value: object, option: str = "rate_limit") -> Rate:
        """Read one. Raises OptionError, naming the option."""
        if isinstance(value, Rate):
            return value
        found = _RATE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise _wrong(option, value, RATE_ACCEPTS)
        count, times, unit, burst = found.groups()
        per = int(times or 1) * _UNITS[unit]
        if not int(count) or not per or (burst is not None and not int(burst)):
            raise _wrong(option, value, RATE_ACCEPTS)
        if int(count) / per > 1e6 or int(burst or 1) > MOST_BURST:
            raise _wrong(option, value, "at most a million a second, and a burst of a million")
        return cls(int(count), per, int(burst) if burst else usual_burst(int(count), per))

    def __str__(self) -> str:
        times, unit = self.per, "s"
        for name, size in _UNITS.items():
            if self.per % size == 0:
                times, unit = self.per / size, name
        text = f"{self.count}/{'' if times == 1 else f'{times:g}'}{unit}"
        usual = self.burst == usual_burst(self.count, self.per)
        return text if usual else f"{text} burst {self.burst}"

    @classmethod
    def read(cls, text: str) -> Rate:
        """The rate that `str` made this text of; of a long time about that. Raises ValueError."""
        rate, _, burst = text.partition(" burst ")
        count, _, time = rate.partition("/")
        per = float(time[:-1] or 1) * _UNITS.get(time[-1:], 0.0)
        if per <= 0:
            raise ValueError(f"{text!r} is no rate")
        return cls(int(count), per, int(burst) if burst else usual_burst(int(count), per))

    @classmethod
    def of_interval(cls, interval: float, burst: int) -> Rate:
        """The rate of so many seconds from one start to the next."""
        for unit in (1.0, 60.0, 3600.0, 86_400.0):
            count = unit / interval
            if count >= 1 and abs(count - round(count)) < 1e-6 * count:
                return cls(round(count), unit, burst)
        return cls(1, interval, burst)

    @property
    def interval(self) -> float:
        """Seconds from one start to the next."""
        return self.per / self.count

    @property
    def together(self) -> int:
        """Starts that are let go together; see TOGETHER_S."""
        return max(1, min(self.burst // 2, int(TOGETHER_S / self.interval)))


def usual_burst(count: int, per: float) -> int:
    """The burst of a rate that says none."""
    return max(1, ceil(count / per * SMOOTH_S))


class Grant(NamedTuple):
    allowed: bool
    tat: float
    """the new theoretical arrival time, to be kept if it is allowed"""
    opens_in: float
    """seconds until the next start is allowed"""


def grant(rate: Rate, tat: float, now: float) -> Grant:
    """Whether a start is allowed. `tat` is what was kept (0: nothing)."""
    # Further ahead than any start can put it: the clock went back, or the rate was slower before.
    tat = max(now, min(tat, now + rate.burst * rate.interval))
    wait = tat - (rate.burst - 1) * rate.interval - now
    allowed = wait < TOLERANCE_S
    after = tat + rate.interval if allowed else tat
    return Grant(allowed, after, max(0.0, after - (rate.burst - 1) * rate.interval - now))


def available(rate: Rate, tat: float, now: float) -> int:
    """How many starts are allowed now."""
    left = now + rate.burst * rate.interval - max(now, min(tat, now + rate.burst * rate.interval))
    return int((left + TOLERANCE_S) / rate.interval)


def opens_in(rate: Rate, ahead: float) -> float:
    """Seconds until a start is allowed, where `tat` is so many seconds ahead."""
    ahead = min(ahead, rate.burst * rate.interval)
    return max(0.0, ahead - (rate.burst - 1) * rate.interval)


def opens_at(rate: Rate, tat: float, now: float) -> float:
    """When as many starts are allowed as are let go together."""
    tat = max(now, min(tat, now + rate.burst * rate.interval))
    return tat - (rate.burst - rate.together) * rate.interval


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds a scope. None: nothing is said; `"none"`: nothing holds, whatever the code says."""

    rate: Rate | str | None = None
    max_running: int | str | None = None

    @classmethod
    def parse(cls, *, rate: object = None, max_running: object = None) -> Limit:
        """Read one as an operator writes it. Raises OptionError, naming the option."""
        if rate is None and max_running is None:
            raise OptionError("a limit needs a rate, a max_running or both")
        return cls(
            NONE if rate == NONE else None if rate is None else Rate.parse(rate, "rate"),
            NONE if max_running == NONE else None if max_running is None else running(max_running),
        )


class ScopeKind(StrEnum):
    QUEUE = "queue"
    """all jobs of a queue"""
    TASK = "task"
    """the jobs of a task in a queue; those of each key of their own, where they have keys"""
    KEY = "key"
    """the jobs of a key in a queue"""


class Scope(NamedTuple):
    """Whom a limit or a pause holds, in one queue."""

    kind: ScopeKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)

    @classmethod
    def read(cls, text: str) -> Scope:
        """The scope that `str` made this text of. Raises ValueError."""
        kind, _, name = text.partition(":")
        return cls(ScopeKind(kind), name)


WHOLE_QUEUE: Final = Scope(ScopeKind.QUEUE)


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """What one job says of its limits. None: as its task declares it."""

    rate: Rate | None = None
    rate_key: str | None = None
    max_running: int | None = None
    running_key: str | None = None

    def texts(self) -> tuple[str, ...] | None:
        """As they travel in the message's header; None where nothing is said."""
        said = [
            ("rate=", self.rate),
            ("rate_key=", self.rate_key),
            ("max_running=", self.max_running),
            ("running_key=", self.running_key),
        ]
        return tuple(f"{name}{value}" for name, value in said if value is not None) or None

    @classmethod
    def read(cls, texts: tuple[str, ...] | None) -> OwnLimits | None:
        """What `texts` made. Raises OptionError for what makes no sense."""
        if not texts:
            return None
        found = dict(text.split("=", 1) for text in texts if "=" in text)
        return cls(
            Rate.parse(found["rate"]) if "rate" in found else None,
            found.get("rate_key"),
            running(int(found["max_running"])) if "max_running" in found else None,
            found.get("running_key"),
        )


def running(value: object, option: str = "max_running") -> int:
    """A number of runs. Raises OptionError, naming the option."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_RUNNING:
        return int(value)
    raise _wrong(option, value, f"a whole number from 1 to {MOST_RUNNING}")


def key(value: object, option: str) -> str:
    """A key as text. Raises OptionError, naming the option."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
        return str(value)
    if isinstance(value, str) and 1 <= len(value) <= LONGEST_KEY and value.isprintable():
        return str(value)
    raise _wrong(option, value, f"text of 1 to {LONGEST_KEY} printable characters, or a number")


def _wrong(option: str, value: object, accepts: str) -> OptionError:
    shown = repr(value)
    return OptionError(
        f"{option}={shown if len(shown) <= 80 else shown[:77] + '…'}: expected {accepts}"
    )
