"""The one start/stop contract of everything that runs beside the main thread, and the thread that
keeps it.

    start ─▶ pass ─▶ pass ─▶ pass raises ─▶ logged, counted, a pause ─▶ pass ─▶ … ─▶ stop
                                         └─ so many in a row: the node is told to end

No pass can end its thread. A worker that looks alive and does nothing is the worst a queue can have,
so a service either goes on or takes its whole node with it, in good order and with a reason.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable, NodeFailed, NodeLost
from taskrunner.events import Events, ServiceFailed

FIRST_PAUSE_S = 0.1
MOST_PAUSE_S = 5.0
MOST_IN_A_ROW = 10
"""Failed passes after which nobody can expect the next one to go better: about 20 s."""
QUIET_S = 1.0
"""What goes wrong with each of a thousand things must not fill the log with tracebacks."""

_log = logging.getLogger("taskrunner.supervisor")

T = TypeVar("T")
R = TypeVar("R")


class Service(Protocol):
    """Something with a life of its own.

    `stop` before `start` is allowed, and so is `stop` twice. `run_once` is one pass of the
    service's loop, without waiting: unit tests call it, never the loop.
    """

    def start(self) -> None: ...

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        ...


class AfterFailure(NamedTuple):
    """What to do when a pass has failed."""

    pause: float
    """seconds until the next one"""
    give_up: bool


def after_failure(in_a_row: int) -> AfterFailure:
    """The decision after the `in_a_row`-th failed pass without a good one in between."""
    pause = min(MOST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(in_a_row - 1, 10))
    return AfterFailure(pause, give_up=in_a_row >= MOST_IN_A_ROW)


class Mishaps:
    """What went wrong in the services of one node. Thread-safe.

    `gave_up` is called, on the service's thread, when one has failed too often in a row; the
    service goes on trying until the node stops it.
    """

    def __init__(
        self, *, clock: Clock, events: Events, gave_up: Callable[[NodeFailed], None]
    ) -> None:
        self._clock = clock
        self._events = events
        self._gave_up = gave_up
        self._said_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._in_a_row: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        """all that ever went wrong, by service"""

    def failed(self, service: str, error: BaseException) -> float:
        """A pass raised; how many seconds to pause."""
        with self._lock:
            self._in_a_row[service] += 1
            decision = after_failure(self._in_a_row[service])
        self.noticed(service, error)
        if decision.give_up:
            self._gave_up(NodeFailed(_why(service, error)))
        return decision.pause

    def noticed(self, service: str, error: BaseException) -> None:
        """Something went wrong that the service itself has dealt with. All is counted, and told
        once in QUIET_S."""
        now = self._clock.monotonic()
        with self._lock:
            self.counts[service] += 1
            if now - self._said_at.get(service, -QUIET_S) < QUIET_S:
                return
            self._said_at[service] = now
        if not self._events.has_subscribers:
            # A node inside another program: nobody turns its events into lines, and this is one
            # that must not go unseen.
            _log.error("the %s thread failed and goes on", service, exc_info=error)
        text = "".join(traceback.format_exception(error))
        event = ServiceFailed(service=service, error=_shown(error), traceback=text)
        self._events.emit(event)

    def went_well(self, service: str) -> None:
        """A pass did not raise."""
        if service in self._in_a_row:
            with self._lock:
                self._in_a_row.pop(service, None)

    @property
    def failing(self) -> list[str]:
        """Services whose last pass failed."""
        with self._lock:
            return sorted(self._in_a_row)


class ServiceThread:
    """The thread of a service: one pass after the other until it is stopped."""

    def __init__(self, name: str, run_once: Callable[[], None], mishaps: Mishaps) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._run_once = run_once
        self._mishaps = mishaps
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"taskrunner {self.name}", daemon=True)
        thread.start()
        # Only now: whoever stops the service at this very moment could not join it before.
        self._thread = thread

    def join(self) -> None:
        """Wait until it has ended. Set `stopping` first, and wake it if it sleeps."""
        if self._thread is not None:
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def has_died(self) -> bool:
        """It was started, nobody stopped it, and it is not there."""
        return self._thread is not None and not self.is_alive and not self.stopping.is_set()

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._run_once()
            except BaseException as error:  # noqa: BLE001  whatever it is, the service goes on
                self.stopping.wait(self._pause_after(error))
            else:
                self._mishaps.went_well(self.name)

    def _pause_after(self, error: BaseException) -> float:
        try:
            return self._mishaps.failed(self.name, error)
        except BaseException:  # noqa: BLE001  not even memory enough to say so
            return MOST_PAUSE_S


def apart(
    items: Sequence[T], do: Callable[[Sequence[T]], R], noticed: Callable[[Exception], None]
) -> list[R]:
    """Do something with all items at once; where that fails, with each by itself, so that a bad
    one stops no other.

    Raises BrokerUnavailable and NodeLost, which are nobody's fault, and the last error where no
    item could be done; each other one is `noticed`.
    """
    try:
        return [do(items)]
    except (BrokerUnavailable, NodeLost):
        raise
    except Exception:
        if len(items) <= 1:
            raise
    answers: list[R] = []
    for at, item in enumerate(items):
        try:
            answers.append(do([item]))
        except (BrokerUnavailable, NodeLost):
            raise
        except Exception as error:
            if at == len(items) - 1 and not answers:
                raise
            noticed(error)
    return answers


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _why(service: str, error: BaseException) -> str:
    return (
        f"the {service} thread failed {MOST_IN_A_ROW} times in a row, at last with"
        f" {_shown(error)}; its tracebacks are in the log"
    )
