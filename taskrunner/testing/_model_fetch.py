"""What a fetch may give, as the model of a store has it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import inf

from taskrunner.brokers.base import Delivery, JobKey, Take
from taskrunner.states import State
from taskrunner.testing._model_job import ModelJob
from taskrunner.testing._model_limits import ModelLimits

LIMITED = "limit:"
"""the key, here, of all that limits hold back"""
RETENTION = 45.0
"""of what the store ends itself"""


class ModelFetches(ABC):
    now: float
    jobs: dict[JobKey, ModelJob]
    limits: dict[str, ModelLimits]
    _highest: dict[tuple[str, str], int]

    @abstractmethod
    def records(self, *states: State) -> Iterator[ModelJob]: ...

    @abstractmethod
    def held(self, node: str) -> list[tuple[JobKey, int]]: ...

    @abstractmethod
    def _finish(self, job: ModelJob, state: State, retention: float) -> None: ...

    def take(
        self,
        node: str,
        plan: Sequence[Take],
        first: int,
        given: Sequence[Delivery],
        states: Mapping[JobKey, State | None],
        limited: Collection[JobKey],
    ) -> None:
        """Check what a fetch gave, and remember it. Which of several equally urgent jobs it took,
        and which overdue ones it met on the way, is its own affair: `states` says. So it is which
        ones it put behind a limit, out of a ready list or from under a key: `limited` says."""
        for take in plan:
            numbers = range(first, first + take.limit)
            mine = [d for d in given if d.queue == take.queue]
            if self._highest.get((node, take.queue), 0) >= first:
                self._check_repeat(node, take.queue, numbers, mine)
            else:
                self._check_overdue(take, mine, states)
                self._deliver(node, take, numbers, mine)
                self._hold_back(take, states, limited)
            first += take.limit
        assert sum(take.limit for take in plan) >= len(given)

    def _check_repeat(
        self, node: str, queue: str, numbers: range, given: Iterable[Delivery]
    ) -> None:
        held = {number: key.id for key, number in self.held(node) if key.queue == queue}
        expected = [(number, held[number]) for number in numbers if number in held]
        assert [(d.number, d.id) for d in given] == expected

    def _check_overdue(
        self, take: Take, given: Sequence[Delivery], states: Mapping[JobKey, State | None]
    ) -> None:
        limits = self.limits.setdefault(take.queue, ModelLimits())
        for job in [*self._parked(take), *self._held_back(take), *self.records(State.PENDING)]:
            if job.key.queue == take.queue and job.is_overdue(self.now):
                if states[job.key] is State.EXPIRED:
                    self._finish(job, State.EXPIRED, RETENTION)
                is_unseen = job.state is State.WAITING and job.park_key == LIMITED
                is_unseen = is_unseen or len(given) == take.limit or limits.of_queue
                assert job.state is State.EXPIRED or is_unseen

    def _deliver(self, node: str, take: Take, numbers: range, given: Sequence[Delivery]) -> None:
        limits = self.limits.setdefault(take.queue, ModelLimits())
        active = [j for j in self.records(State.ACTIVE) if j.key.queue == take.queue]
        placed = sum(job.has_place for job in active)
        most = min(take.limit, limits.permitted(placed, len(active), self.now))
        ready = {
            job.key: job
            for job in [*self._held_back(take), *self.records(State.PENDING)]
            if job.key.queue == take.queue and not job.is_overdue(self.now)
        }
        waiting = [job for job in self._parked(take) if not job.is_overdue(self.now)]
        waiting = sorted(waiting, key=lambda job: job.parked_as)[:most]
        priorities = sorted((job.priority for job in ready.values()), reverse=True)
        jobs = [self.jobs[JobKey(d.queue, d.id)] for d in given]
        assert jobs[: len(waiting)] == waiting
        rest = jobs[len(waiting) :]
        assert all(job.key in ready for job in rest)
        assert [job.priority for job in rest] == priorities[: most - len(waiting)]
        assert [d.number for d in given] == list(numbers)[: len(given)]
        for job, delivery in zip(jobs, given, strict=True):
            counts = (job.attempts, job.failures, job.crashes, job.losses)
            assert delivery[5:9] == counts
            assert delivery.suspect == job.suspect
            job.to(State.ACTIVE)
            job.node, job.number, job.settled_as, job.alone = node, delivery.number, None, 0
            job.has_place = limits.max_running is not None
            limits.start(self.now)
            self._highest[node, take.queue] = delivery.number

    def _hold_back(
        self, take: Take, states: Mapping[JobKey, State | None], limited: Collection[JobKey]
    ) -> None:
        limits = self.limits[take.queue]
        are_limited = limits.max_running is not None or limits.rate is not None or limits.is_paused
        for job in [*self.records(State.PENDING), *self._parked(take)]:
            if job.key.queue != take.queue or states[job.key] is not State.WAITING:
                continue
            if job.state is State.PENDING:
                job.to(State.WAITING)
            elif job.key not in limited:
                continue
            assert are_limited, job.key
            job.park_key, job.park_ends = LIMITED, inf

    def _held_back(self, take: Take) -> list[ModelJob]:
        """What waits because of a limit."""
        waiting = self.records(State.WAITING)
        return [job for job in waiting if job.key.queue == take.queue and job.park_key == LIMITED]

    def _parked(self, take: Take) -> list[ModelJob]:
        """What this entry of a plan may take although it is not ready."""
        return [
            job
            for job in self.records(State.WAITING)
            if job.key.queue == take.queue and job.park_key in take.parked
        ]
