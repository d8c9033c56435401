"""Limits and pauses over the pipe to a supervisor: both packings, as in `upcall`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskrunner.brokers.base import BrokerClient, KeepsLimits, LimitState
from taskrunner.limits import Limit, Rate, Scope
from taskrunner.worker.deskcalls import answer_of_desk


class UpcallLimits(KeepsLimits):
    _ask: Callable[[str, Any], Any]

    def set_limit(self, queue: str, scope: Scope, limit: Limit | None) -> bool:
        return bool(self._ask("set_limit", [queue, str(scope), _row(limit)]))

    def pause(self, queue: str, scope: Scope, seconds: float | None = None) -> None:
        self._ask("pause", [queue, str(scope), seconds])

    def resume(self, queue: str, scope: Scope) -> bool:
        return bool(self._ask("resume", [queue, str(scope)]))

    def limits(self, queue: str, job_id: str | None = None) -> list[LimitState]:
        return [_state(row) for row in self._ask("limits", [queue, job_id])]


def answer_of_limits(broker: BrokerClient, method: str, value: Any) -> Any:
    """Do what a task asked; the supervisor's side. Raises whatever the broker does."""
    match method, value:
        case "set_limit", [queue, scope, row]:
            return broker.set_limit(queue, Scope.read(scope), _limit(row))
        case "pause", [queue, scope, seconds]:
            return broker.pause(queue, Scope.read(scope), seconds)
        case "resume", [queue, scope]:
            return broker.resume(queue, Scope.read(scope))
        case "limits", [queue, job_id]:
            return [_state_row(state) for state in broker.limits(queue, job_id)]
        case _:
            return answer_of_desk(broker, method, value)


def _row(limit: Limit | None) -> list[Any] | None:
    if limit is None:
        return None
    rate = limit.rate
    packed = [rate.count, rate.per, rate.burst] if isinstance(rate, Rate) else rate
    return [packed, limit.max_running]


def _limit(row: Any) -> Limit | None:
    if row is None:
        return None
    rate, most = row
    return Limit(Rate(*rate) if isinstance(rate, list) else rate, most)


def _state_row(state: LimitState) -> list[Any]:
    queue, scope, declared, own, said, holds, *rest = state
    return [queue, str(scope), _row(declared), _row(own), _row(said), _row(holds), *rest]


def _state(row: list[Any]) -> LimitState:
    queue, scope, declared, own, said, holds, *rest = row
    limits = (_limit(declared), _limit(own), _limit(said), _limit(holds) or Limit())
    return LimitState(queue, Scope.read(scope), *limits, *rest)
