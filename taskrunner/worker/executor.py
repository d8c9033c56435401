"""One job as named steps: open, check the time, decode, call, judge. Its outcome is one value.

What is wrong with a job is its own outcome and nobody else's trouble: whatever its bytes hold and
whatever its task does, short of ending the process, an Outcome comes out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from taskrunner import crashpoints
from taskrunner.app import App
from taskrunner.brokers.base import Blame, OutcomeKind
from taskrunner.clock import monotonic, wall
from taskrunner.context import CURRENT, JobContext
from taskrunner.errors import (
    ArgumentError,
    Reject,
    Retry,
    TaskCancelled,
    TaskInterrupt,
    TaskTimeout,
)
from taskrunner.frames import Why
from taskrunner.message import ErrorInfo, unpack
from taskrunner.middleware import Chain
from taskrunner.naming import qualified_name, type_name
from taskrunner.redaction import Scrub, scrubber
from taskrunner.retry import (
    Decision,
    Policy,
    after_failure,
    after_timeout,
)
from taskrunner.seals import ERROR, PROGRESS, RESULT, task_in
from taskrunner.task import Task
from taskrunner.worker.shown import cut, reason_of, text_of, traceback_of

Row = list[Any]
"""A Delivery as the frame carried it."""
OutcomeRow = tuple[Any, ...]
"""An Outcome, in the order of its fields."""

PLAIN = Policy()
MESSAGE_LIMIT = 4000
"""Bytes of an error's message that are kept."""
_LONGEST_CHAIN = 100

logger = logging.getLogger("taskrunner.worker")


@dataclass(slots=True)
class Run:
    """A delivery that is going to run."""

    row: Row
    number: int
    """of the delivery"""
    task: Task[Any, Any]
    policy: Policy
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: JobContext
    started: float = 0.0
    why: Why | None = None
    """why it was interrupted"""
    _is_cancelled: bool = False

    def aim(self, why: Why) -> bool:
        """Note why it is to stop; True the first time: a second interrupt would hit its cleaning
        up. A cancel counts whenever it comes."""
        first = self.why is None
        if first or why is Why.CANCEL:
            self.why = why
        if why is Why.CANCEL:
            self.context.cancelled = True
        return first

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel its coroutine, once. On the loop's thread."""
        if not self._is_cancelled:
            self._is_cancelled = True
            task.cancel()

    def call(self) -> Any:
        return self.task.fn(*self.args, **self.kwargs)


@dataclass(frozen=True, slots=True)
class Reports:
    """How a running job reaches whoever runs it."""

    progress: Callable[[int, bytes], None]
    blocked: Callable[[int, bool], None]


class Executor:
    """Turns rows into runs, and what a run came to into outcomes. Thread-safe."""

    def __init__(self, app: App, *, chain: Chain, reports: Reports) -> None:
        self._tasks = app.tasks
        self._policies = {name: app.policy(name) for name in app.tasks}
        self._codec = app.codec
        self._seals = app.seals
        self._chain = chain
        self._reports = reports
        self._result_limit = app.config.result_limit_bytes
        self._traceback_limit = app.config.traceback_limit_bytes

    # -- before

    def open(self, row: Row, arrived: float) -> Run | OutcomeRow:
        """Everything up to the call; an outcome where there will be none."""
        try:
            return self._opened(row, arrived)
        except Exception as error:  # noqa: BLE001  hostile bytes end their own job, nothing else
            return self._refused(row, "unreadable", error)

    def _opened(self, row: Row, arrived: float) -> Run | OutcomeRow:
        header, body = unpack(row[4])
        task = self._tasks.get(header.task)
        if task is None:
            return _row(row, OutcomeKind.PARKED, started=False, park_key=f"task:{header.task}")
        policy = self._policies[header.task].overridden(header)
        late = self._late(row, arrived, policy, header.task)
        if late is not None:
            return late
        try:
            headers, body = self._seals.opened(header, body, row[0], row[1])
            args, kwargs = task.arguments(body)
        except BaseException as error:  # noqa: BLE001  a user's decoder may raise anything
            return self._refused(row, reason_of(error), error, policy, task=header.task)
        context = self._context(row, header.task, headers)
        return Run(row, row[3], task, policy, args, kwargs, context)

    def _context(self, row: Row, task: str, headers: Any) -> JobContext:
        queue, job_id, node, number = row[0], row[1], row[2], row[3]
        deadline = None
        if row[10] is not None:
            deadline = _moment(row[10])
        reports, seals = self._reports, self._seals
        return JobContext(
            id=job_id,
            task=task,
            queue=queue,
            attempt=row[5] + 1,
            token=f"{node}:{number}",
            headers=headers,
            deadline=deadline,
            report_progress=lambda value: reports.progress(
                number, seals.value(PROGRESS, queue, task, job_id, value)
            ),
            blocked=lambda is_blocked: reports.blocked(number, is_blocked),
        )

    def _late(self, row: Row, arrived: float, policy: Policy, task: str) -> OutcomeRow | None:
        """`expires` and `deadline` hold up to the last moment before the start."""
        expires_in, deadline_in = row[9], row[10]
        if expires_in is None and deadline_in is None:
            return None
        waited = monotonic() - arrived
        if deadline_in is not None and waited >= deadline_in:
            error = TaskTimeout("the deadline passed before the job started")
            return self._refused(row, "deadline", error, policy, task=task)
        if expires_in is not None and waited >= expires_in:
            return _row(row, OutcomeKind.EXPIRED, started=False, retention=policy.retention)
        return None

    def _refused(
        self,
        row: Row,
        reason: str,
        error: BaseException,
        policy: Policy = PLAIN,
        *,
        task: str = "",
    ) -> OutcomeRow:
        info = self._info(error, row, with_traceback=False)
        return _row(
            row,
            OutcomeKind.FAILED,
            started=False,
            retention=policy.retention,
            error=self._error(row, task, info),
            reason=reason,
        )

    # -- the call

    def begin(self, run: Run) -> None:
        """The last thing before the user's code."""
        run.started = monotonic()
        if crashpoints.ARMED:
            crashpoints.reach("child.before_task")
        CURRENT.set(run.context)
        self._chain.start(run.context)

    # -- after

    def returned(self, run: Run, value: Any) -> OutcomeRow:
        """The task returned. A cancel that it swallowed counts all the same; a timeout that it
        swallowed does not: it has come to its end after all."""
        return self._judged(self._returned, run, value)

    def raised(self, run: Run, error: BaseException) -> OutcomeRow:
        """The task raised, or was interrupted."""
        return self._judged(self._raised, run, error)

    def _judged(self, judge: Callable[[Run, Any], OutcomeRow], run: Run, ending: Any) -> OutcomeRow:
        try:
            return judge(run, ending)
        except BaseException as error:
            # Whatever that was (no memory, an exception that is hostile to its reader), the job
            # needs an outcome, and the child goes on.
            logger.exception("what the job %s came to cannot be told", run.context.id)
            text = f"what the run came to cannot be told: {type(error).__name__}"
            info = ErrorInfo(qualified_name(type(error)), text, "", run.row[5] + 1, wall())
            return _row(
                run.row,
                OutcomeKind.FAILED,
                ran=monotonic() - run.started,
                retention=run.policy.retention,
                error=self._error(run.row, run.task.name, info),
                reason="error",
                blame=Blame.FAILURE,
            )

    def _returned(self, run: Run, value: Any) -> OutcomeRow:
        if crashpoints.ARMED:
            crashpoints.reach("child.after_task")
        ran = monotonic() - run.started
        if run.why is Why.CANCEL:
            return self._cancelled(run, ran)
        try:
            result = self._codec.pack(value)
        except BaseException as error:  # noqa: BLE001  a user's encoder may raise anything
            return self._bad_result(run, ran, f"the result cannot be carried: {text_of(error)}")
        if len(result) > self._result_limit:
            return self._bad_result(
                run,
                ran,
                f"the result, {type_name(value)}, takes {len(result)} bytes; at most "
                f"{self._result_limit} are kept (result_limit_bytes)",
            )
        self._chain.finish(run.context, value)
        row = run.row
        if self._seals.is_active:
            result = self._seals.value(RESULT, row[0], run.task.name, row[1], result)
        return (row[0], row[1], row[3], 0, True, ran, result, run.policy.retention, *_NO_FAULT)

    def _raised(self, run: Run, error: BaseException) -> OutcomeRow:
        if crashpoints.ARMED:
            crashpoints.reach("child.after_task")
        ran = monotonic() - run.started
        failures = run.row[6]
        match error:
            case _ if run.why is Why.CANCEL:
                return self._cancelled(run, ran)
            case TaskCancelled() if run.why is None:
                return self._cancelled(run, ran)
            case Retry():
                return self._again(run, ran, error)
            case Reject():
                return self._failed(run, ran, error, "rejected")
            # Whatever a task makes of its interrupt on the way out, that is why it ended.
            case _ if run.why is Why.DEADLINE and _from_interrupt(error):
                return self._failed(run, ran, error, "deadline")
            case _ if isinstance(error, TaskTimeout) or (run.why and _from_interrupt(error)):
                decision = after_timeout(run.policy, failures, random.random)
                return self._decided(run, ran, error, decision)
            case _:
                decision = after_failure(run.policy, failures, error, random.random)
                return self._decided(run, ran, error, decision)

    def _again(self, run: Run, ran: float, asked: Retry) -> OutcomeRow:
        if asked.count and run.row[6] >= run.policy.retries:
            return self._failed(run, ran, asked, "error")
        backoff = run.policy.backoff
        delay = asked.delay if asked.delay is not None else backoff.delay(run.row[6], random.random)
        decision = Decision(True, delay)
        blame = Blame.FAILURE if asked.count else Blame.NOBODY
        return self._decided(run, ran, asked, decision, blame=blame, keep_error=asked.count)

    def _decided(
        self,
        run: Run,
        ran: float,
        error: BaseException,
        decision: Decision,
        *,
        blame: Blame = Blame.FAILURE,
        keep_error: bool = True,
    ) -> OutcomeRow:
        if not decision.retry:
            return self._failed(run, ran, error, decision.reason or "error")
        self._chain.retry(run.context, error, decision.delay)
        return _row(
            run.row,
            OutcomeKind.RETRY,
            ran=ran,
            retention=run.policy.retention,
            error=self._told(run, error) if keep_error else None,
            delay=decision.delay,
            blame=blame,
        )

    def _failed(self, run: Run, ran: float, error: BaseException, reason: str) -> OutcomeRow:
        self._chain.failure(run.context, error)
        return _row(
            run.row,
            OutcomeKind.FAILED,
            ran=ran,
            retention=run.policy.retention,
            error=self._told(run, error),
            reason=reason,
            blame=Blame.FAILURE,
        )

    def _bad_result(self, run: Run, ran: float, text: str) -> OutcomeRow:
        return self._failed(run, ran, ArgumentError(text), "result")

    def _cancelled(self, run: Run, ran: float) -> OutcomeRow:
        return _row(run.row, OutcomeKind.CANCELLED, ran=ran, retention=run.policy.retention)

    def _told(self, run: Run, error: BaseException) -> bytes:
        scrub = scrubber(run.task.redact, run.args, run.kwargs)
        return self._error(run.row, run.task.name, self._info(error, run.row, scrub=scrub))

    def _error(self, row: Row, task: str, info: ErrorInfo) -> bytes:
        """As it is kept with the job."""
        return self._seals.value(ERROR, row[0], task or task_in(row[4]), row[1], info.pack())

    def _info(
        self, error: BaseException, row: Row, *, with_traceback: bool = True, scrub: Scrub = str
    ) -> ErrorInfo:
        text = traceback_of(error, self._traceback_limit, scrub) if with_traceback else ""
        message = cut(scrub(text_of(error)), MESSAGE_LIMIT)
        if not message and isinstance(error, TaskTimeout):
            message = "the run was interrupted: it exceeded its timeout, or the job its deadline"
        return ErrorInfo(qualified_name(type(error)), message, text, row[5] + 1, wall())


_NO_FAULT: OutcomeRow = (None, None, 0.0, 0, None)


def _row(  # noqa: PLR0913  the fields of an Outcome, by name
    row: Row,
    kind: OutcomeKind,
    *,
    started: bool = True,
    ran: float = 0.0,
    retention: float = 3600.0,
    error: bytes | None = None,
    reason: str | None = None,
    delay: float = 0.0,
    blame: Blame = Blame.NOBODY,
    park_key: str | None = None,
) -> OutcomeRow:
    return (
        *(row[0], row[1], row[3], int(kind), started, ran, None, retention),
        *(error, reason, delay, int(blame), park_key),
    )


def _moment(seconds: float) -> datetime:
    """The moment that many seconds from now."""
    try:
        return datetime.fromtimestamp(wall() + seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def cancelled_before_start(row: Row) -> OutcomeRow:
    """A cancel reached the job while it waited here."""
    return _row(row, OutcomeKind.CANCELLED, started=False)


def _from_interrupt(error: BaseException) -> bool:
    """Whether an interrupt is what this exception came of."""
    found: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if found is None or isinstance(found, (TaskInterrupt, asyncio.CancelledError)):
            break
        found = found.__cause__ or found.__context__
    return isinstance(found, (TaskInterrupt, asyncio.CancelledError))
