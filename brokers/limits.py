"""The part of the broker seam that holds jobs back: limits and pauses of a queue.

A fetch *admits*: it delivers a job only where every limit that concerns it permits that, and takes all
its grants in the same step, or none. A job that is held back is parked, once, under the limit that
holds it (a key that begins with LIMIT_PREFIX); a later fetch takes it from there, the most urgent and
then the oldest first, as soon as that limit permits. The limits of a whole queue park nothing: while
they hold, a fetch delivers nothing, and jobs stay pending where they are.

    rate         starts, stamped by the store's clock; see `taskrunner.limits`
    max_running  a delivery takes a place, and gives it back when its job is active no more: settled,
                 released or taken back, in that very step. A cancelled job keeps it until it settles.
    pause        nothing is delivered until it is resumed, or its time is over

For each scope (a queue, a task in it, a key in it) the first of these counts that says something: what
was set for the key, what was set for the task, what the job itself says, what a node declared for the
task. Those of the queue hold besides. A job with a key is counted with the others of that key; one
without with the others of its task that have none.

Keys under which jobs wait: `limit:rate:SCOPE`, `limit:running:SCOPE`, `limit:paused:SCOPE`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from taskrunner.limits import NONE, Limit, Rate, Scope

LIMIT_PREFIX: Final = "limit:"
MOST_KEYS: Final = 1000
"""Keys of one queue that may have limits of their own set, or be paused, at a time."""


class LimitState(NamedTuple):
    """A scope of a queue and what holds it now. Durations in seconds."""

    queue: str
    scope: Scope
    declared: Limit | None = None
    """by the code that a node runs"""
    own: Limit | None = None
    """by the job that was asked for"""
    set: Limit | None = None
    """at run time, by an operator; outranks both"""
    holds: Limit = Limit()
    """what counts of all these: never "none" """
    is_paused: bool = False
    paused_for: float | None = None
    """until it goes on by itself; None: until it is resumed"""
    running: int = 0
    """places taken; of a queue, its active jobs"""
    opens_in: float | None = None
    """until its rate permits the next start; 0: now; None: it has no rate"""
    waiting: int = 0
    """jobs that are parked because of it"""
    problem: str = ""
    """why what is stored cannot be read here: until that is set anew it holds everything"""


class KeepsLimits(ABC):
    """What everybody may ask of the limits of a queue. Every call may be repeated. Works in a full
    store."""

    @abstractmethod
    def set_limit(self, queue: str, scope: Scope, limit: Limit | None) -> bool:
        """Hold a scope by this limit, from now on and for jobs that wait already, whatever was
        declared or set before; None: by what was declared. Jobs of the scope that run already keep
        running; they are counted only where `max_running` held before, or the scope is the queue.

        Raises OptionError where MOST_KEYS have been set already. Whether anything was set before.
        """

    @abstractmethod
    def pause(self, queue: str, scope: Scope, seconds: float | None = None) -> None:
        """Deliver nothing of this scope for so long, or until it is resumed. What runs goes on.
        Raises OptionError where MOST_KEYS have been set already."""

    @abstractmethod
    def resume(self, queue: str, scope: Scope) -> bool:
        """Deliver again, and wake a node if jobs wait. Whether it was paused."""

    @abstractmethod
    def limits(self, queue: str, job_id: str | None = None) -> list[LimitState]:
        """Every scope of a queue for which something was declared, set or paused, sorted; or, with a
        job, those that concern it, also where nothing holds them. Empty where the job has no
        record."""


def holding(*sources: Limit | None) -> Limit:
    """What counts of some limits, the first that says something; never "none"."""
    said = [source for source in sources if source is not None]
    rate = next((one.rate for one in said if one.rate is not None), None)
    most = next((one.max_running for one in said if one.max_running is not None), None)
    return Limit(None if rate == NONE else rate, None if most == NONE else most)


def rate_of(limit: Limit) -> Rate | None:
    return limit.rate if isinstance(limit.rate, Rate) else None


class DeclaresLimits(ABC):
    """What a node does besides."""

    @abstractmethod
    def declare_limits(self, queues: Sequence[str], limits: Mapping[str, Limit | None]) -> None:
        """The limits that code declares, by task; None for a task that has none. Of tasks that are
        not named nothing changes."""
