"""What the conformance tests of limits are written with."""

from __future__ import annotations

from typing import Any

from taskrunner.brokers.base import LimitState
from taskrunner.limits import OwnLimits, Rate, Scope, ScopeKind
from taskrunner.message import Header
from taskrunner.testing._conformance_kit import Store

TASK = Scope(ScopeKind.TASK, "t")
"""the task of all jobs of these tests, unless they say another"""
HOURLY = Rate.parse("1/h")


def of_key(name: str) -> Scope:
    return Scope(ScopeKind.KEY, name)


def own(
    rate: str | None = None,
    rate_key: str | None = None,
    max_running: int | None = None,
    running_key: str | None = None,
    task: str = "t",
) -> Header:
    """The header of a job that says this of its limits."""
    parsed = None if rate is None else Rate.parse(rate)
    said = OwnLimits(parsed, rate_key, max_running, running_key)
    return Header(task=task, limit_keys=said.texts())


def ids(store: Store, limit: int = 10, **fields: Any) -> list[str]:
    return [delivery.id for delivery in store.fetch(limit, **fields)]


def state_of(store: Store, scope: Scope, job_id: str | None = None) -> LimitState:
    (found,) = [s for s in store.broker.limits("q", job_id) if s.scope == scope]
    return found
