"""A circuit breaker: while what the tasks need is broken, their jobs wait instead of failing one by one.

    closed ── `failures` errors in a row, within `within` s ──▶ open, for `open_for` s
       ▲                                                            │ then one run, the trial
       └──────────────── it succeeds ◀── half open ◀────────────────┘ (it fails: open again)

    app = App(middleware=[CircuitBreaker(failures=5, open_for=30, errors=(ConnectionError,))])

Each worker process keeps its own count: nothing is asked of the store for it. So a fleet of twenty
processes makes up to twenty times as many attempts until all of them know, and one trial each.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.context import JobContext
from taskrunner.errors import OptionError, Reject, Retry, TaskTimeout
from taskrunner.middleware import Middleware

MOST_CIRCUITS: Final = 1000
"""Beyond that the one that failed first is forgotten, and counts anew."""
SPREAD: Final = 0.2
"""The part by which jobs come back later than the circuit may close, so that not all do at once."""


@dataclass
class _Circuit:
    """Moments are monotonic."""

    failed_at: deque[float] = field(default_factory=deque)
    open_until: float | None = None
    trial: str | None = None
    """the token of the run that tries whether it is over"""
    trial_ends: float = 0.0


class CircuitBreaker(Middleware):
    """One circuit for each task; or for each answer of `key`, a function of the JobContext, which may
    put several tasks together, or say None for a job that none concerns.

    `failures` errors of these classes in a row, within `within` seconds, open it for `open_for`
    seconds. Then jobs that would start are put off (as by `Retry(count=False)`: no retry is used up) until one of
    them has shown that it works again. `tasks` names those it is for; without it, all.

    Raises OptionError for values that make no sense.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        within: float = 60.0,
        open_for: float = 30.0,
        errors: type[BaseException] | tuple[type[BaseException], ...] = (Exception, TaskTimeout),
        tasks: Collection[str] | None = None,
        key: Callable[[JobContext], str | None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if type(failures) is not int or failures < 1:
            raise OptionError(f"failures={failures!r}: expected a whole number, 1 or more")
        for name, value in (("within", within), ("open_for", open_for)):
            if not isinstance(value, (int, float)) or not 0.001 <= value <= 86_400:
                raise OptionError(f"{name}={value!r}: expected seconds, 0.001 to 86,400")
        kinds: Any = errors if isinstance(errors, tuple) else (errors,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise OptionError(f"errors={errors!r}: expected exception classes")
        if isinstance(tasks, str):
            raise OptionError(f"tasks={tasks!r}: expected several names, [{tasks!r}]")
        self._failures, self._within, self._open_for = failures, within, open_for
        self._errors, self._tasks, self._key, self._clock = kinds, tasks, key, clock
        self._circuits: dict[str, _Circuit] = {}
        self._lock = threading.Lock()

    def on_start(self, context: JobContext) -> None:
        """Raises Retry while the circuit is open."""
        name = self._name(context)
        circuit = self._circuits.get(name) if name is not None else None
        if circuit is None or circuit.open_until is None:
            return
        with self._lock:
            left = self._wait(circuit, context.token)
        if left > 0:
            delay = left * (1 + SPREAD * random.random())
            raise Retry(delay=delay, count=False, reason=f"the circuit {name!r} is open")

    def on_finish(self, context: JobContext, result: Any) -> None:
        """What succeeds closes it."""
        name = self._name(context)
        if name is None or name not in self._circuits:
            return
        with self._lock:
            circuit = self._circuits.get(name)
            if circuit and (circuit.open_until is None or circuit.trial == context.token):
                del self._circuits[name]

    def on_retry(self, context: JobContext, error: BaseException, delay: float) -> None:
        self._failed(context, error)

    def on_failure(self, context: JobContext, error: BaseException) -> None:
        self._failed(context, error)

    def _name(self, context: JobContext) -> str | None:
        if self._tasks is not None and context.task not in self._tasks:
            return None
        return context.task if self._key is None else self._key(context)

    def _wait(self, circuit: _Circuit, token: str) -> float:
        """Seconds for which a run is to be put off; 0: it may start, perhaps as the trial."""
        now = self._clock.monotonic()
        if circuit.open_until is None:
            return 0.0
        if now < circuit.open_until:
            return circuit.open_until - now
        if circuit.trial is not None and now < circuit.trial_ends:
            return circuit.trial_ends - now
        # One that is cancelled tells nobody: after a while another is the trial.
        circuit.trial, circuit.trial_ends = token, now + self._open_for
        return 0.0

    def _failed(self, context: JobContext, error: BaseException) -> None:
        if isinstance(error, (Retry, Reject)) or not isinstance(error, self._errors):
            return
        name = self._name(context)
        if name is None:
            return
        with self._lock:
            now, circuit = self._clock.monotonic(), self._circuits.setdefault(name, _Circuit())
            if len(self._circuits) > MOST_CIRCUITS:
                del self._circuits[next(iter(self._circuits))]
            failed = circuit.failed_at
            failed.append(now)
            while failed[0] < now - self._within or len(failed) > self._failures:
                failed.popleft()
            if circuit.trial == context.token or len(failed) >= self._failures:
                circuit.open_until, circuit.trial = now + self._open_for, None
