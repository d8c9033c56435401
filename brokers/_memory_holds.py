"""What others may ask of limits and pauses, in the memory broker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taskrunner.brokers._memory_directory import Directory
from taskrunner.brokers._memory_limits import NEVER
from taskrunner.brokers.limits import LIMIT_PREFIX, LimitState
from taskrunner.limits import WHOLE_QUEUE, Limit, Scope, ScopeKind
from taskrunner.states import State

if TYPE_CHECKING:
    from taskrunner.brokers._memory_queue import Queue


class Holds(Directory):
    """`KeepsLimits` and `DeclaresLimits`, over the limits that each queue keeps."""

    @abstractmethod
    def _queue(self, name: str) -> Queue: ...

    def set_limit(self, queue: str, scope: Scope, limit: Limit | None) -> bool:
        with self._lock:
            found = self._queue(queue)
            was_set = scope in found.limits.set
            if limit is None:
                found.limits.set.pop(scope, None)
            else:
                found.limits.check_room(queue, scope)
                found.limits.set[scope] = limit
            self._let_try(found)
            return was_set

    def pause(self, queue: str, scope: Scope, seconds: float | None = None) -> None:
        with self._lock:
            limits = self._queue(queue).limits
            limits.check_room(queue, scope)
            limits.paused[scope] = NEVER if seconds is None else self.now() + seconds

    def resume(self, queue: str, scope: Scope) -> bool:
        with self._lock:
            found = self._queue(queue)
            ends = found.limits.paused.pop(scope, 0.0)
            self._let_try(found)
            return ends > self.now()

    def declare_limits(self, queues: Sequence[str], limits: Mapping[str, Limit | None]) -> None:
        with self._lock:
            for found in map(self._queue, queues):
                for task, limit in limits.items():
                    scope = Scope(ScopeKind.TASK, task)
                    if limit is None:
                        found.limits.declared.pop(scope, None)
                    else:
                        found.limits.declared[scope] = limit
                self._let_try(found)

    def _let_try(self, queue: Queue) -> None:
        queue.parking.open_gates()
        queue.ring_idle(self.now())

    def limits(self, queue: str, job_id: str | None = None) -> list[LimitState]:
        with self._lock:
            found = self._queue(queue)
            if job_id is None:
                scopes = found.limits.scopes()
                states = [found.limits.state(queue, scope, self.now()) for scope in scopes]
            else:
                states = self._states_of(found, job_id)
            return [self._counted(found, state) for state in states]

    def _states_of(self, queue: Queue, job_id: str) -> list[LimitState]:
        job = queue.jobs.get(job_id)
        if job is None:
            return []
        scopes = {WHOLE_QUEUE, *queue.limits.concern(job).scopes}
        return [
            queue.limits.state_of(queue.name, scope, job, self.now()) for scope in sorted(scopes)
        ]

    def _counted(self, queue: Queue, state: LimitState) -> LimitState:
        if state.scope.kind is ScopeKind.QUEUE:
            state = state._replace(running=queue.counts[State.ACTIVE])
        keys = [f"{LIMIT_PREFIX}{kind}:{state.scope}" for kind in ("rate", "running", "paused")]
        return state._replace(waiting=sum(len(queue.parked.get(key, ())) for key in keys))
