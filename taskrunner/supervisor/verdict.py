"""What becomes of the deliveries of a child that died: decided here, done elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from taskrunner.brokers.base import Blame, Outcome, OutcomeKind
from taskrunner.events import RunFailed
from taskrunner.frames import Why
from taskrunner.message import ErrorInfo
from taskrunner.retry import Decision, after_crash, after_timeout
from taskrunner.seals import ERROR, Seals
from taskrunner.supervisor.child import Held


@dataclass(frozen=True, slots=True)
class Death:
    """What a run must know of the death that ended it."""

    how: str
    """what follows "the process that ran the job" """
    why: Why | None = None
    """taskrunner killed the child for this job"""
    by_us: bool = False
    """it killed the child for another job, or to stop: then this one is not charged"""
    is_last_call: bool = False
    """the node stopped, and this job would not"""
    alone: bool = True
    """nothing else ran in the child"""
    testimony: str = ""
    """stacks and last lines"""
    at: float = 0.0
    """seconds since the epoch"""

    def error(self, kind: str, message: str) -> ErrorInfo:
        return ErrorInfo(kind, message, self.testimony, at=self.at)


def after_death(
    held: Held, death: Death, *, max_crashes: int, random: Callable[[], float]
) -> Outcome:
    """The outcome of a run that its child's death ended. A death that is nobody's doing is a crash
    of the run that was alone; of several, each is suspected."""
    match death.why:
        case Why.CANCEL:
            text = "the job was cancelled and did not stop; its process was killed"
            error = death.error("taskrunner.errors.TaskCancelled", text)
            return outcome(held, OutcomeKind.CANCELLED, error=_pack(held, error))
        case Why.DEADLINE:
            text = "the job was still running at its deadline; its process was killed"
            return failed(held, "deadline", death.error("deadline", text))
        case Why.TIMEOUT:
            return _timed_out(held, death, random)
    if death.by_us:
        return _interrupted(held, death)
    return _crashed(held, death, max_crashes) if death.alone else _suspected(held, death)


def _timed_out(held: Held, death: Death, random: Callable[[], float]) -> Outcome:
    error = death.error(
        "taskrunner.errors.TaskTimeout",
        f"the run exceeded its timeout of {held.limit:g} s and did not stop; its process was killed",
    )
    decision = after_timeout(held.policy, held.delivery.failures, random)
    return _decided(held, decision, error, Blame.FAILURE)


def _interrupted(held: Held, death: Death) -> Outcome:
    if not death.is_last_call:
        return released(held, started=True)
    error = death.error("stopped", f"the process that ran the job {death.how}")
    return released(held, started=True)._replace(error=_pack(held, error))


def _crashed(held: Held, death: Death, max_crashes: int) -> Outcome:
    error = death.error("crashed", f"the process that ran the job {death.how}")
    decision = after_crash(held.delivery.crashes, max_crashes)
    return _decided(held, decision, error, Blame.CRASH)


def _suspected(held: Held, death: Death) -> Outcome:
    text = f"the process that ran the job, and others beside it, {death.how}"
    error = death.error("died", f"{text}; the job runs alone next")
    return _decided(held, Decision(True), error, Blame.SUSPICION)


def _decided(held: Held, decision: Decision, error: ErrorInfo, blame: Blame) -> Outcome:
    if decision.retry:
        return outcome(
            held, OutcomeKind.RETRY, error=_pack(held, error), delay=decision.delay, blame=blame
        )
    return failed(held, decision.reason or "error", error, blame=blame)


def failed(
    held: Held, reason: str, error: ErrorInfo, *, started: bool = True, blame: Blame = Blame.FAILURE
) -> Outcome:
    """To the dead letter."""
    return outcome(
        held,
        OutcomeKind.FAILED,
        started=started,
        error=_pack(held, error),
        reason=reason,
        blame=blame,
    )


def released(held: Held, *, started: bool = False) -> Outcome:
    """Back to the store, unpenalised."""
    return outcome(held, OutcomeKind.RELEASED, started=started)


def sealed(outcome: Outcome, held: Held, seals: Seals) -> Outcome:
    """The outcome as the store gets it."""
    if outcome.error is None or not seals.is_active:
        return outcome
    queue, job_id = held.delivery[:2]
    return outcome._replace(error=seals.value(ERROR, queue, held.task, job_id, outcome.error))


def run_failed(held: Held, row: Sequence[Any], seals: Seals | None = None) -> RunFailed:
    """What is told of an outcome, as the list of its fields, that has an error. `seals`: where a
    child has sealed that."""
    outcome = Outcome._make(row)
    packed = outcome.error or b""
    error = ErrorInfo.unpack(packed) if seals is None else seals.error(held.delivery, packed)
    return RunFailed(
        job_id=held.delivery.id,
        task=held.task,
        queue=held.delivery.queue,
        error=f"{error.type}: {error.message}",
        retry_in=outcome.delay if outcome.kind == OutcomeKind.RETRY else None,
    )


def outcome(held: Held, kind: OutcomeKind, **fields: object) -> Outcome:
    delivery = held.delivery
    base = Outcome(
        delivery.queue, delivery.id, delivery.number, kind, retention=held.policy.retention
    )
    return base._replace(**fields) if fields else base  # type: ignore[arg-type]


def _pack(held: Held, error: ErrorInfo) -> bytes:
    attempt = held.delivery.attempts + 1
    return ErrorInfo(error.type, error.message, error.traceback, attempt, error.at).pack()
