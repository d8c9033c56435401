"""What `model` keeps of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from taskrunner.brokers.base import JobKey
from taskrunner.message import UNTIL_STARTED, Lock
from taskrunner.states import FINISHED, IDLE, State, check_transition
from taskrunner.testing._model_slots import ModelFired


@dataclass
class ModelJob:
    key: JobKey
    call: str
    priority: int
    state: State
    eta: float = 0.0
    expires_at: float | None = None
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    losses: int = 0
    errors: int = 0
    node: str | None = None
    number: int | None = None
    settled_as: State | None = None
    cancelling: bool = False
    suspect: bool = False
    alone: int = 0
    """its node runs nothing else: the number of the crash that ends it"""
    has_place: bool = False
    """counted by its task's limit while it is active"""
    park_key: str = ""
    park_ends: float = 0.0
    parked_as: int = 0
    """the number of its parking among all"""
    finished_at: float = 0.0
    keep_until: float = 0.0
    gone: bool = False
    """the record was removed; its call and token are remembered for a while"""
    fired: ModelFired | None = None
    """the firing whose job it is"""
    lock: Lock | None = None
    lock_ends: float = inf
    replaced: int = 0

    def to(self, state: State) -> None:
        check_transition(self.state, state)
        self.state = state

    def take_message(self, fields: Mapping[str, Any], now: float) -> None:
        """What a message says of its job; where it goes by that is for others to do."""
        self.priority, self.eta = fields["priority"], now + fields["delay"]
        expires_in, self.lock = fields["expires_in"], fields.get("lock")
        self.expires_at = None if expires_in is None else now + expires_in
        seconds = self.lock and self.lock.seconds
        self.lock_ends = inf if seconds is None else now + seconds

    def has_lock(self, key: str, now: float) -> bool:
        is_its = self.lock is not None and self.lock.key == key
        return is_its and not self.gone and self.state not in FINISHED and self.lock_ends > now

    def begins(self) -> None:
        if self.lock is not None and self.lock.until == UNTIL_STARTED:
            self.lock = None

    def is_overdue(self, now: float) -> bool:
        return self.state in IDLE and self.expires_at is not None and self.expires_at <= now
