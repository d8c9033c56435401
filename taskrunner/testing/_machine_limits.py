"""The part of `machine` that sets limits, pauses and resumes."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from taskrunner.brokers.base import Broker
from taskrunner.limits import WHOLE_QUEUE, Limit, Rate, Scope, ScopeKind
from taskrunner.testing._machine_slots import QUEUES
from taskrunner.testing._model_limits import ModelLimits
from taskrunner.testing.model import Model

TASK = Scope(ScopeKind.TASK, "t")
RATE = Rate(1, 35.0, 2)
CHANGES = ["running", "running", "rate", "lift", "pause", "resume", "queue", "pause queue"]


class LimitRules(RuleBasedStateMachine):
    model: Model
    broker: Broker

    @rule(queue=st.sampled_from(QUEUES), what=st.sampled_from(CHANGES), most=st.integers(1, 2))
    def hold(self, queue: str, what: str, most: int) -> None:
        """Change what holds the jobs of a queue; `lift` and `resume` end what others began."""
        limits = self.model.limits.setdefault(queue, ModelLimits())
        if what in ("running", "rate", "lift"):
            limits.max_running = most if what == "running" else None
            limits.rate = (RATE.per, RATE.burst) if what == "rate" else None
            limit = Limit(RATE if limits.rate else None, limits.max_running)
            self.broker.set_limit(queue, TASK, limit if what != "lift" else None)
        elif what == "queue":
            limits.most_of_queue = most if limits.most_of_queue is None else None
            set_ = limits.most_of_queue is not None
            self.broker.set_limit(queue, WHOLE_QUEUE, Limit(None, most) if set_ else None)
        else:
            self._pause(queue, what, limits)

    def _pause(self, queue: str, what: str, limits: ModelLimits) -> None:
        if what == "pause":
            limits.is_paused = True
            self.broker.pause(queue, TASK)
        elif what == "pause queue":
            limits.is_queue_paused = True
            self.broker.pause(queue, WHOLE_QUEUE)
        else:
            assert self.broker.resume(queue, TASK) == limits.is_paused
            assert self.broker.resume(queue, WHOLE_QUEUE) == limits.is_queue_paused
            limits.is_paused = limits.is_queue_paused = False

    def compare_limits(self) -> None:
        for queue, limits in self.model.limits.items():
            found = {state.scope: state for state in self.broker.limits(queue)}
            task = found.get(TASK)
            is_held = (task.holds.max_running, task.is_paused) if task else (None, False)
            assert is_held == (limits.max_running, limits.is_paused)
            if task:
                active = [job for job in self.model.held_in(queue) if job.has_place]
                assert task.running == len(active)
