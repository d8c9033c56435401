"""Whether and when a job runs again: attempt and error in, decision out. Pure."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from taskrunner.errors import OptionError
from taskrunner.limits import Limit, Rate
from taskrunner.message import LONGEST, Header
from taskrunner.naming import qualified_name

logger = logging.getLogger(__name__)

Predicate: TypeAlias = Callable[[Exception], bool]
"""Judges an error that a task has raised."""

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


_SAYS_NOTHING: Final = (None, None, None, None, None, None)


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
    give_up_on: tuple[str, ...] = ()
    """the same: what they name is not retried, whatever `retry_on` says"""
    retry_if: tuple[Predicate, ...] = ()
    give_up_if: tuple[Predicate, ...] = ()
    """what the code of the task says besides; known only where that code is"""

    def overridden(self, header: Header) -> Policy:
        """This policy with what the job's own header says put over it."""
        names = (header.retry_on, header.give_up_on)
        said = (header.timeout, header.retries, header.retention, header.backoff, *names)
        if said == _SAYS_NOTHING:
            return self
        changes: dict[str, Any] = {}
        for name in ("timeout", "retries", "retry_on", "give_up_on", "retention"):
            value = getattr(header, name)
            if value is not None:
                changes[name] = value
        # What is said of one job stands instead of all that its task says.
        if header.retry_on is not None:
            changes["retry_if"] = ()
        if header.give_up_on is not None:
            changes["give_up_if"] = ()
        if header.backoff is not None:
            changes["backoff"] = Backoff(*header.backoff)
        return replace(self, **changes)

    def pack(self) -> list[Any]:
        """As plain values, for the manifest of a fork server; without the predicates, which are code."""
        limit = self.limit
        return [
            self.timeout,
            self.retries,
            list(self.backoff.values()),
            list(self.retry_on),
            self.retention,
            limit and [limit.rate and str(limit.rate), limit.max_running],
            list(self.give_up_on),
        ]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Policy:
        """The policy that `pack` made these values of."""
        timeout, retries, backoff, retry_on, retention, said, give_up_on = packed
        limit = Limit(said[0] and Rate.parse(said[0]), said[1]) if said else None
        names = tuple(retry_on), retention, limit, tuple(give_up_on)
        return cls(timeout, retries, Backoff(*backoff), *names)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a job after a bad run."""

    retry: bool
    delay: float = 0.0
    """seconds until the next run"""
    reason: str | None = None
    """why there is none"""


def after_failure(
    policy: Policy, failures_before: int, error: BaseException, random: Callable[[], float]
) -> Decision:
    """The task raised this."""
    if failures_before >= policy.retries or not helps(policy, error):
        return Decision(False, reason="error")
    return Decision(True, policy.backoff.delay(failures_before, random))


def helps(policy: Policy, error: BaseException) -> bool:
    """Whether another run may help against this error. What the user's own predicates raise is
    logged, and says that it may: no job is given up because of them."""
    types = error_types(error)
    if not set(policy.give_up_on).isdisjoint(types):
        return False
    if any(_says(predicate, error, otherwise=False) for predicate in policy.give_up_if):
        return False
    if not set(policy.retry_on).isdisjoint(types):
        return True
    return any(_says(predicate, error, otherwise=True) for predicate in policy.retry_if)


def _says(predicate: Predicate, error: BaseException, *, otherwise: bool) -> bool:
    if not isinstance(error, Exception):
        return False  # what ends a process, or a task from outside, is named or it is not
    try:
        return bool(predicate(error))
    except Exception:
        logger.exception("%s, which judges errors of a task, raised one", predicate)
        return otherwise


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
