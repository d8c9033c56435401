"""Whether and when a job runs again: attempt and error in, decision out. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from taskrunner.errors import OptionError
from taskrunner.limits import Limit, Rate
from taskrunner.message import LONGEST, Header
from taskrunner.naming import qualified_name

ANY_ERROR: Final = ("builtins.Exception",)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a retry: `initial` seconds, times `factor` for each failure more, at
    most `maximum` seconds; with `jitter`, a random part of that (full jitter).

    Raises OptionError for values that make no sense.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 600.0
    jitter: bool = True

    def __post_init__(self) -> None:
        _check("initial", self.initial, lowest=0)
        _check("factor", self.factor, lowest=1)
        _check("maximum", self.maximum, lowest=0)
        if not isinstance(self.jitter, bool):
            raise OptionError(f"backoff jitter={self.jitter!r}: expected True or False")

    def values(self) -> tuple[float, float, float, bool]:
        """Its four values in order, as a message header carries them."""
        return self.initial, self.factor, self.maximum, self.jitter

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """Seconds to wait after a run failed that `failures` failed runs came before.

        `random` answers a number from 0 up to 1, like `random.random`.
        """
        try:
            ceiling = min(self.maximum, self.initial * self.factor**failures)
        except OverflowError:
            ceiling = self.maximum if self.initial else 0.0
        return ceiling * random() if self.jitter else ceiling


def _check(name: str, value: Any, *, lowest: float) -> None:
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or not lowest <= value <= LONGEST:
        raise OptionError(f"backoff {name}={value!r}: expected a number of at least {lowest}")


_SAYS_NOTHING: Final = (None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a node must know of a task to judge its runs. Durations in seconds."""

    timeout: float | None = None
    retries: int = 3
    backoff: Backoff = Backoff()
    retry_on: tuple[str, ...] = ANY_ERROR
    """qualified names of exception classes"""
    retention: float = 3600.0
    limit: Limit | None = None
    """what holds the task's jobs, in each queue"""

    def overridden(self, header: Header) -> Policy:
        """This policy with what the job's own header says put over it."""
        said = (header.timeout, header.retries, header.retry_on, header.retention, header.backoff)
        if said == _SAYS_NOTHING:
            return self
        changes: dict[str, Any] = {}
        for name in ("timeout", "retries", "retry_on", "retention"):
            value = getattr(header, name)
            if value is not None:
                changes[name] = value
        if header.backoff is not None:
            changes["backoff"] = Backoff(*header.backoff)
        return replace(self, **changes)

    def pack(self) -> list[Any]:
        """As plain values, for the manifest of a fork server."""
        limit = self.limit
        return [
            self.timeout,
            self.retries,
            list(self.backoff.values()),
            list(self.retry_on),
            self.retention,
            limit and [limit.rate and str(limit.rate), limit.max_running],
        ]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Policy:
        """The policy that `pack` made these values of."""
        timeout, retries, backoff, retry_on, retention, said = packed
        limit = Limit(said[0] and Rate.parse(said[0]), said[1]) if said else None
        return cls(timeout, retries, Backoff(*backoff), tuple(retry_on), retention, limit)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a job after a bad run."""

    retry: bool
    delay: float = 0.0
    """seconds until the next run"""
    reason: str | None = None
    """why there is none"""


def after_failure(
    policy: Policy, failures_before: int, error_types: Sequence[str], random: Callable[[], float]
) -> Decision:
    """The task raised. `error_types`: qualified names of the exception's class and its bases."""
    if failures_before >= policy.retries or set(policy.retry_on).isdisjoint(error_types):
        return Decision(False, reason="error")
    return Decision(True, policy.backoff.delay(failures_before, random))


def after_timeout(policy: Policy, failures_before: int, random: Callable[[], float]) -> Decision:
    """The run exceeded its timeout: an error that is retried whatever `retry_on` says."""
    if failures_before >= policy.retries:
        return Decision(False, reason="timeout")
    return Decision(True, policy.backoff.delay(failures_before, random))


def after_crash(crashes_before: int, max_crashes: int) -> Decision:
    """The process died under the job. Not the user's error: again at once, `max_crashes` times
    at most."""
    if crashes_before + 1 >= max_crashes:
        return Decision(False, reason="crashed")
    return Decision(True)


def error_types(error: BaseException) -> tuple[str, ...]:
    """Qualified names of an exception's class and its bases, as `retry_on` names them."""
    return tuple(qualified_name(kind) for kind in type(error).__mro__)
