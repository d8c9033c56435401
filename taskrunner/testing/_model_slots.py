"""What the model of a store remembers of schedules."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskrunner.brokers.base import TickKind
from taskrunner.states import State


@dataclass
class ModelFired:
    slot: float
    kind: TickKind
    job_id: str = ""
    state: State | None = None


@dataclass
class ModelSchedule:
    """What one queue remembers of a schedule."""

    last: float = 0.0
    revision: int = 0
    job_id: str = ""
    fired: list[ModelFired] = field(default_factory=list)
