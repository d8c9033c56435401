"""What was fetched, looked at before anybody runs it: what cannot be run here is settled at once.

Only the header is looked at; arguments pass through undecoded. A message that cannot be read fails
alone. One of a task that nobody here knows is parked for a node that does, and so is one of a later
version, untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskrunner.brokers.base import Delivery, Outcome, OutcomeKind
from taskrunner.config import Config
from taskrunner.errors import LaterMessage, MessageError, OptionError
from taskrunner.events import Events, LaterMessageParked, MessageUnreadable, UnknownTaskParked
from taskrunner.message import PARKED_FOR_TASK, VERSION, ErrorInfo, unpack
from taskrunner.retry import Policy
from taskrunner.seals import task_in
from taskrunner.supervisor import verdict
from taskrunner.supervisor.child import MOST_IN_FRAME, Held

PARKED_FOR_VERSION = "version:"
"""What stands there before the version of a message."""


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
        if park_key.startswith(PARKED_FOR_TASK):
            return park_key.removeprefix(PARKED_FOR_TASK) in self.tasks
        version = park_key.removeprefix(PARKED_FOR_VERSION)
        return version != park_key and version.isdecimal() and int(version) <= VERSION

    def examined(self, delivery: Delivery, now: float) -> Held | None:
        """The delivery as something to run; None where it has been settled instead."""
        try:
            if len(delivery.wire) > MOST_IN_FRAME:
                raise MessageError(f"a message of {len(delivery.wire)} bytes fits into no frame")
            header, _ = unpack(delivery.wire)
        except LaterMessage as error:
            self._park_for_version(delivery, error.version)
            return None
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
        held = Held(delivery, task_in(delivery.wire), self._fallback, 0.0, None)
        info = ErrorInfo("unreadable", str(error))
        self._settle(held, verdict.failed(held, "unreadable", info, started=False))

    def _park(self, delivery: Delivery, task: str) -> None:
        self._events.emit(UnknownTaskParked(task=task, job_id=delivery.id))
        self._settle_parked(delivery, task, f"{PARKED_FOR_TASK}{task}", "unknown task")

    def _park_for_version(self, delivery: Delivery, version: int) -> None:
        self._events.emit(LaterMessageParked(version=version, job_id=delivery.id))
        self._settle_parked(delivery, "", f"{PARKED_FOR_VERSION}{version}", "unknown version")

    def _settle_parked(self, delivery: Delivery, task: str, key: str, reason: str) -> None:
        """`reason`: why it fails where nobody takes it in time."""
        held = Held(delivery, task, self._fallback, 0.0, None)
        outcome = verdict.outcome(
            held,
            OutcomeKind.PARKED,
            started=False,
            park_key=key,
            delay=self._config.unknown_task_ttl_s,
            reason=reason,
        )
        self._settle(held, outcome)
