"""What was fetched, looked at before anybody runs it: what cannot be run here is settled at once.

Only the header is looked at; arguments pass through undecoded. A message that cannot be read fails
alone, and one of a task that nobody here knows is parked for a node that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskrunner.brokers.base import Delivery, Outcome, OutcomeKind
from taskrunner.config import Config
from taskrunner.errors import MessageError, OptionError
from taskrunner.events import Events, MessageUnreadable, UnknownTaskParked
from taskrunner.message import ErrorInfo, unpack
from taskrunner.retry import Policy
from taskrunner.supervisor import verdict
from taskrunner.supervisor.child import MOST_IN_FRAME, Held

PARKED_FOR_TASK = "task:"
"""What stands before a task's name in the key its jobs are parked under."""


class Intake:
    """Knows the tasks of the newest generation. Used under the dispatcher's lock."""

    def __init__(
        self, *, config: Config, events: Events, settle: Callable[[Held, Outcome], None]
    ) -> None:
        self._config = config
        self._events = events
        self._settle = settle
        self._fallback = Policy(retries=config.retries, retention=config.retention_s)
        self._sizes: dict[str, float] = {}
        self.tasks: Mapping[str, Policy] = {}

    def expected_size(self, queue: str) -> float:
        """Bytes that a job of this queue takes, by those that came before; 1 for the first."""
        return self._sizes.get(queue, 1.0)

    def can_run(self, park_key: str) -> bool:
        """Whether what other nodes parked under this key can run here."""
        is_task = park_key.startswith(PARKED_FOR_TASK)
        return is_task and park_key.removeprefix(PARKED_FOR_TASK) in self.tasks

    def examined(self, delivery: Delivery, now: float) -> Held | None:
        """The delivery as something to run; None where it has been settled instead."""
        try:
            if len(delivery.wire) > MOST_IN_FRAME:
                raise MessageError(f"a message of {len(delivery.wire)} bytes fits into no frame")
            header, _ = unpack(delivery.wire)
        except MessageError as error:
            self._unreadable(delivery, error)
            return None
        policy = self.tasks.get(header.task)
        if policy is None:
            self._park(delivery, header.task)
            return None
        self._weigh(delivery)
        try:
            policy = policy.overridden(header)
        except OptionError as error:  # well-formed, and makes no sense: this job's trouble alone
            self._unreadable(delivery, MessageError(str(error)))
            return None
        return Held(delivery, header.task, policy, now, policy.timeout)

    def refuse(self, delivery: Delivery, error: Exception) -> None:
        """Fail a delivery that cannot even be looked at."""
        self._unreadable(delivery, MessageError(f"{type(error).__name__}: {error}"))

    def is_known(self, held: Held) -> bool:
        """Whether somebody here can still run what was examined before; if not, it is parked."""
        if held.task in self.tasks:
            return True
        self._park(held.delivery, held.task)
        return False

    def _weigh(self, delivery: Delivery) -> None:
        size = len(delivery.wire)
        mean = self._sizes.get(delivery.queue, float(size))
        self._sizes[delivery.queue] = mean + 0.1 * (size - mean)

    def _unreadable(self, delivery: Delivery, error: MessageError) -> None:
        self._events.emit(MessageUnreadable(job_id=delivery.id, reason=str(error)))
        held = Held(delivery, "", self._fallback, 0.0, None)
        info = ErrorInfo("unreadable", str(error))
        self._settle(held, verdict.failed(held, "unreadable", info, started=False))

    def _park(self, delivery: Delivery, task: str) -> None:
        self._events.emit(UnknownTaskParked(task=task, job_id=delivery.id))
        held = Held(delivery, task, self._fallback, 0.0, None)
        outcome = verdict.outcome(
            held,
            OutcomeKind.PARKED,
            started=False,
            park_key=f"{PARKED_FOR_TASK}{task}",
            delay=self._config.unknown_task_ttl_s,
            reason="unknown task",
        )
        self._settle(held, outcome)
