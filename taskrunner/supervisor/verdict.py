"""What becomes of the deliveries of a child that died: decided here, done elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from taskrunner.brokers.base import Blame, Outcome, OutcomeKind
from taskrunner.frames import Why
from taskrunner.message import ErrorInfo
from taskrunner.retry import Decision, after_crash, after_timeout
from taskrunner.supervisor.child import Held


def after_death(
    held: Held,
    *,
    why: Why | None,
    by_us: bool,
    alone: bool,
    how: str,
    max_crashes: int,
    random: Callable[[], float],
) -> Outcome:
    """The outcome of a run that its child's death ended.

    `why`: taskrunner killed the child for this job. `by_us`: it killed the child for another job or
    to stop; then this one is not charged. Else the child died by itself, `how` says in what way:
    a crash of the run that was `alone` in it, while each of several is suspected.
    """
    if why is Why.CANCEL:
        return outcome(held, OutcomeKind.CANCELLED)
    if why is Why.DEADLINE:
        error = ErrorInfo(
            "deadline", "the job was still running at its deadline; its process was killed"
        )
        return failed(held, "deadline", error)
    if why is Why.TIMEOUT:
        return _timed_out(held, random)
    if by_us:
        return released(held, started=True)
    return _crashed(held, how, max_crashes) if alone else _suspected(held, how)


def _timed_out(held: Held, random: Callable[[], float]) -> Outcome:
    error = ErrorInfo(
        "taskrunner.errors.TaskTimeout",
        f"the run exceeded its timeout of {held.limit:g} s and did not stop; its process was killed",
    )
    decision = after_timeout(held.policy, held.delivery.failures, random)
    return _decided(held, decision, error, Blame.FAILURE)


def _crashed(held: Held, how: str, max_crashes: int) -> Outcome:
    error = ErrorInfo("crashed", f"the process that ran the job died: {how}")
    decision = after_crash(held.delivery.crashes, max_crashes)
    return _decided(held, decision, error, Blame.CRASH)


def _suspected(held: Held, how: str) -> Outcome:
    error = ErrorInfo(
        "died",
        f"the process died while it ran this job and others: {how}; this one runs alone next",
    )
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


def all_released(helds: Iterable[Held]) -> list[Outcome]:
    return [released(held) for held in helds]


def outcome(held: Held, kind: OutcomeKind, **fields: object) -> Outcome:
    delivery = held.delivery
    base = Outcome(
        delivery.queue, delivery.id, delivery.number, kind, retention=held.policy.retention
    )
    return base._replace(**fields) if fields else base  # type: ignore[arg-type]


def _pack(held: Held, error: ErrorInfo) -> bytes:
    attempt = held.delivery.attempts + 1
    return ErrorInfo(error.type, error.message, error.traceback, attempt, error.at).pack()
