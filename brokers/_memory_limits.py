"""What the memory broker keeps of one queue's limits, and what they permit.

ready job ──admit──▶ delivered, with all its grants       a gate for each key under which a limit
    └──── refused ─▶ parked behind a gate ──admit──▶ …    holds jobs back: its first job, and when
                                                          it is worth a try
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from taskrunner.brokers._memory_job import Job
from taskrunner.brokers.limits import (
    LIMIT_PREFIX,
    MOST_KEYS,
    LimitState,
    holding,
    rate_of,
)
from taskrunner.errors import OptionError
from taskrunner.limits import (
    WHOLE_QUEUE,
    Limit,
    Rate,
    Scope,
    ScopeKind,
    available,
    grant,
    opens_at,
    opens_in,
)

NEVER: Final = inf
OPEN: Final = -inf


class Refusal(NamedTuple):
    """A job must wait."""

    key: str
    """under which it is parked"""
    tries_at: float | None
    """when it is worth a try; None: when those are gone who wait there already"""


@dataclass(slots=True)
class Concern:
    """What a job is counted by."""

    rate: Rate | None
    rate_scope: Scope
    most: int | None
    running_scope: Scope
    scopes: list[Scope]
    """whose pauses hold it"""

    @property
    def is_limited(self) -> bool:
        return self.rate is not None or self.most is not None


@dataclass(slots=True)
class LimitBook:
    """Numbers, buckets and places; nothing of jobs but what they are counted by."""

    declared: dict[Scope, Limit] = field(default_factory=dict)
    set: dict[Scope, Limit] = field(default_factory=dict)
    paused: dict[Scope, float] = field(default_factory=dict)
    """when they end"""
    tats: dict[Scope, float] = field(default_factory=dict)
    places: dict[Scope, dict[str, None]] = field(default_factory=dict)
    """ids of active jobs"""
    gates: dict[str, float] = field(default_factory=dict)
    """by key: when a job that waits there is worth a try"""

    # -- what is said

    def check_room(self, queue: str, scope: Scope) -> None:
        """Raises OptionError where too many keys have something of their own."""
        said = self.set.keys() | self.paused.keys()
        keys = {known for known in said if known.kind is ScopeKind.KEY}
        if scope.kind is ScopeKind.KEY and scope not in keys and len(keys) >= MOST_KEYS:
            raise OptionError(
                f"{MOST_KEYS} keys of the queue {queue!r} have limits or pauses of their own"
            )

    def is_paused(self, scope: Scope, now: float) -> bool:
        return self.paused.get(scope, now) > now

    def concern(self, job: Job) -> Concern:
        own, task = job.own, Scope(ScopeKind.TASK, job.task)
        keys = (own.rate_key, own.running_key) if own else (None, None)
        rate_key, running_key = (None if k is None else Scope(ScopeKind.KEY, k) for k in keys)
        said = Limit(own.rate, own.max_running) if own else None
        rate = rate_of(self._holding(rate_key, task, said))
        most = self._holding(running_key, task, said).max_running
        return Concern(
            rate,
            rate_key or task,
            most if isinstance(most, int) else None,
            running_key or task,
            [scope for scope in (task, rate_key, running_key) if scope],
        )

    def _holding(self, key: Scope | None, task: Scope, own: Limit | None) -> Limit:
        of_key = self.set.get(key) if key else None
        return holding(of_key, self.set.get(task), own, self.declared.get(task))

    # -- what is permitted

    def permitted(self, wanted: int, active: int, now: float) -> tuple[int, float | None]:
        """How many deliveries the limits of the whole queue permit, and when there may be more
        (None: no such limit)."""
        if self.is_paused(WHOLE_QUEUE, now):
            return 0, self.paused[WHOLE_QUEUE]
        said, most, opens = self.set.get(WHOLE_QUEUE, Limit()), wanted, None
        if isinstance(said.max_running, int):
            most, opens = min(most, said.max_running - active), NEVER
        if isinstance(said.rate, Rate):
            tat = self._tat(WHOLE_QUEUE, said.rate, now)
            starts = available(said.rate, tat, now)
            if starts <= most:
                most, opens = starts, opens_at(said.rate, tat, now)
        return max(0, most), opens

    def use_up(self, starts: int, now: float) -> float | None:
        """Count deliveries against the rate of the whole queue; when there may be more."""
        rate = rate_of(self.set.get(WHOLE_QUEUE, Limit()))
        if rate is None:
            return None
        for _ in range(starts):
            self._start(WHOLE_QUEUE, rate, now)
        return opens_at(rate, self.tats.get(WHOLE_QUEUE, 0.0), now)

    def refusal(self, what: Concern, now: float) -> Refusal | None:
        """Why a job must wait; None: it may go."""
        for scope in what.scopes:
            if self.is_paused(scope, now):
                return Refusal(f"{LIMIT_PREFIX}paused:{scope}", self.paused[scope])
        if what.most is not None and self._running(what.running_scope) >= what.most:
            return Refusal(f"{LIMIT_PREFIX}running:{what.running_scope}", NEVER)
        if what.rate is not None:
            tat = self._tat(what.rate_scope, what.rate, now)
            if not grant(what.rate, tat, now).allowed:
                key = f"{LIMIT_PREFIX}rate:{what.rate_scope}"
                return Refusal(key, opens_at(what.rate, tat, now))
        return None

    def take(self, job: Job, what: Concern, now: float) -> None:
        """Take all that a job needs to be delivered."""
        if what.rate is not None:
            self._start(what.rate_scope, what.rate, now)
        if what.most is not None:
            job.place = what.running_scope
            self.places.setdefault(what.running_scope, {})[job.id] = None

    def release(self, job: Job) -> str | None:
        """Give back the place of a delivery that is over; the key of those who may wait for it."""
        scope, job.place = job.place, None
        if scope is None:
            return None
        held = self.places.get(scope, {})
        held.pop(job.id, None)
        if not held:
            self.places.pop(scope, None)
        return f"{LIMIT_PREFIX}running:{scope}"

    def _running(self, scope: Scope) -> int:
        return len(self.places.get(scope, ()))

    def _tat(self, scope: Scope, rate: Rate, now: float) -> float:
        """The moment up to which a bucket is used. Where it is further ahead than any start can put
        it, the clock went back, or the rate was slower before: then it is all used, from now on."""
        furthest = now + rate.burst * rate.interval
        if self.tats.get(scope, 0.0) > furthest:
            self.tats[scope] = furthest
        return self.tats.get(scope, 0.0)

    def _start(self, scope: Scope, rate: Rate, now: float) -> None:
        self.tats[scope] = grant(rate, self.tats.get(scope, 0.0), now).tat

    # -- upkeep and questions

    def tidy(self, now: float) -> None:
        """Forget buckets that are full again and pauses that are over."""
        self.tats = {scope: tat for scope, tat in self.tats.items() if tat > now}
        self.paused = {scope: ends for scope, ends in self.paused.items() if ends > now}

    def scopes(self) -> list[Scope]:
        return sorted(self.declared.keys() | self.set.keys() | self.paused.keys())

    def state(self, queue: str, scope: Scope, now: float) -> LimitState:
        """What holds a scope, without what is known of jobs."""
        ends = self.paused.get(scope, now)
        said, declared = self.set.get(scope), self.declared.get(scope)
        holds = holding(said, declared)
        state = LimitState(
            queue,
            scope,
            declared=declared,
            set=said,
            is_paused=ends > now,
            paused_for=ends - now if now < ends < NEVER else None,
            running=self._running(scope),
        )
        return self._with(state, holds, now)

    def state_of(self, queue: str, scope: Scope, job: Job, now: float) -> LimitState:
        """What holds a scope for a job that it concerns."""
        what = self.concern(job)
        state = self.state(queue, scope, now)
        if scope.kind is ScopeKind.QUEUE:
            return state
        if scope.kind is ScopeKind.TASK and job.own and (job.own.rate or job.own.max_running):
            state = state._replace(own=Limit(job.own.rate, job.own.max_running))
        rate = what.rate if scope == what.rate_scope else None
        most = what.most if scope == what.running_scope else None
        return self._with(state, Limit(rate, most), now)

    def _with(self, state: LimitState, holds: Limit, now: float) -> LimitState:
        rate = rate_of(holds)
        ahead = self.tats.get(state.scope, 0.0) - now
        opens = None if rate is None else opens_in(rate, max(0.0, ahead))
        return state._replace(holds=holds, opens_in=opens)
