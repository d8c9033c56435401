"""What is answered, as the OpenAPI document shows it: handlers do not make these, they answer what
fits them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Time = str | None


class FieldError(BaseModel):
    field: str
    detail: str


class Problem(BaseModel):
    """A problem document, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    job_id: str | None = None
    queues: list[str] = []
    request_id: str | None = None


class Submitted(BaseModel):
    """A job that was accepted; `state` is null where it was accepted long ago, and is gone."""

    id: str
    queue: str
    task: str
    state: str | None


class ItemAnswer(BaseModel):
    """One of a batch: what the same job submitted alone would have been answered."""

    status: int
    id: str | None = None
    queue: str | None = None
    task: str | None = None
    state: str | None = None
    problem: Problem | None = None


class BatchAnswer(BaseModel):
    accepted: int
    items: list[ItemAnswer]


class ErrorShape(BaseModel):
    type: str
    message: str
    traceback: str
    attempt: int
    at: float


class ProgressShape(BaseModel):
    done: float
    total: float | None = None
    text: str | None = None


class JobShape(BaseModel):
    """A job. The last six are there for those who may see what jobs carry."""

    id: str
    task: str
    queue: str
    state: str
    reason: str | None
    priority: int
    attempt: int
    failures: int
    crashes: int
    losses: int
    suspect: bool
    retries: int
    timeout: float | None
    retention: float
    created_at: str
    eta: Time
    started_at: Time
    finished_at: Time
    expires_at: Time
    deadline: Time
    node: str | None
    pid: int | None
    cancelling: bool
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    progress: ProgressShape | None = None
    errors: list[ErrorShape] = []
    unreadable: str | None = None


class JobsShape(BaseModel):
    jobs: list[JobShape]
    cursor: str


class ResultShape(BaseModel):
    """What became of a job: `result` where it succeeded, `error` where it failed."""

    id: str
    queue: str
    state: str
    result: Any = None
    error: ErrorShape | None = None
    reason: str | None = None


class Changed(BaseModel):
    id: str
    queue: str
    state: str
    action: str


class BulkShape(BaseModel):
    action: str
    dry_run: bool
    matched: int
    done: int
    cursor: str


class QueueShape(BaseModel):
    queue: str
    counts: dict[str, int]
    pending_by_priority: dict[str, int]
    parked: dict[str, int]
    processed: int
    failed: int


class QueuesShape(BaseModel):
    queues: list[QueueShape]


class StatsShape(BaseModel):
    queues: int
    nodes: int
    processes: int
    busy: int
    counts: dict[str, int]
    processed: int
    failed: int


class FiringShape(BaseModel):
    slot: Time
    at: str
    job_id: str | None
    state: str | None
    ended_at: Time
    outcome: str


class ScheduleShape(BaseModel):
    """A schedule, and how it stands. Of one that cannot be read only the name is known."""

    name: str
    task: str | None
    queue: str | None
    priority: int | None
    cron: str | None
    every: float | None
    timezone: str | None
    start: Time
    end: Time
    jitter: float
    catch_up: str | None
    max_catch_up: int | None
    overlap: str | None
    paused: bool
    declared_by: str | None
    created_at: Time
    next: Time
    last: FiringShape | None
    waiting: int
    stored: bool
    problem: str | None
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None


class SchedulesShape(BaseModel):
    schedules: list[ScheduleShape]


class SlotShape(BaseModel):
    at: str
    starts: str
    effect: str


class SlotsShape(BaseModel):
    slots: list[SlotShape]


class FiringsShape(BaseModel):
    firings: list[FiringShape]


class NodeShape(BaseModel):
    node: str
    host: str
    pid: int
    processes: int
    concurrency: int
    busy: int
    queues: list[str]
    version: str
    started_at: float
    lease: float
    last_beat_s: float


class NodesShape(BaseModel):
    nodes: list[NodeShape]


class FaultShape(BaseModel):
    hop: str
    text: str


class ChildShape(BaseModel):
    number: int
    pid: int
    state: str
    after: float
    running: float


class NodeHealthShape(BaseModel):
    node: str
    host: str
    pid: int
    healthy: bool
    fault: FaultShape | None
    round_trip_s: float | None
    last_beat_s: float
    children: list[ChildShape]


class HealthShape(BaseModel):
    nodes: list[NodeHealthShape]


class ToldShape(BaseModel):
    node: str
    action: str


class HoldShape(BaseModel):
    rate: str | None
    max_running: int | str | None


class LimitShape(BaseModel):
    queue: str
    scope: str
    name: str | None
    declared: HoldShape | None
    set: HoldShape | None
    holds: HoldShape | None
    paused: bool
    paused_for: float | None
    running: int
    opens_in: float | None
    waiting: int
    problem: str | None


class ChangedLimitShape(LimitShape):
    """The same after a change. `before`: whether something was set, or it was paused, before that."""

    before: bool


class LimitsShape(BaseModel):
    limits: list[LimitShape]


class CauseShape(BaseModel):
    kind: str
    text: str
    details: dict[str, Any]


class WhyShape(BaseModel):
    id: str
    queue: str
    task: str
    state: str
    causes: list[CauseShape]
