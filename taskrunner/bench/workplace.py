"""Where a task is tried: a namespace of its own on the user's own broker, erased at the end.

No other node serves a queue of it, and nothing that is waiting for real workers is touched.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskrunner.app import App
from taskrunner.brokers.base import Broker, QueueStats
from taskrunner.errors import OptionError, StartError
from taskrunner.message import Message
from taskrunner.naming import nearest
from taskrunner.states import State
from taskrunner.task import Task

QUEUE: Final = "bench"


def new_namespace() -> str:
    """One that nobody has."""
    return f"bench-{secrets.token_hex(6)}"


def chosen_task(app: App, name: str | None) -> Task[..., Any]:
    """The task of that name, or the only one there is. Raises OptionError."""
    tasks = app.tasks
    if name is not None:
        if name not in tasks:
            raise OptionError(f"--task {name!r}: {nearest(name, tasks)}")
        return tasks[name]
    if len(tasks) != 1:
        known = ", ".join(sorted(tasks)) or "none"
        raise OptionError(f"say which task to run with --task: the app declares {known}")
    return next(iter(tasks.values()))


class Workplace:
    """Jobs of one task, in a queue of the App's namespace, which is one of `new_namespace`. Raises
    ArgumentError, before anything runs, where the arguments do not fit the task."""

    def __init__(
        self, app: App, task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        if not isinstance(app.broker, Broker):
            raise StartError(f"{type(app.broker).__name__} is a client's view of a broker")
        self.app = app
        self._broker = app.broker
        # Successes go at once, so that the store does not fill up; a failure is shown, not repeated;
        # and there have to be many of what else may be there only once.
        self._task = task.options(queue=QUEUE, retention=0, retries=0, unique=False)
        self._args, self._kwargs = tuple(args), dict(kwargs)
        self.bytes_of_one = len(self._message().body)
        """of the arguments"""

    def submit(self, count: int) -> None:
        """So many jobs more. Raises BrokerError where one is refused."""
        jobs = self.app.enqueue_many([self._message() for _ in range(count)])
        for job in jobs:
            if job.rejection is not None:
                raise job.rejection

    def stats(self) -> QueueStats:
        """What has been done so far, and what waits."""
        return self._broker.stats([QUEUE])[0]

    def a_failure(self) -> str | None:
        """The last line of some job's error; None where none is found."""
        page = self._broker.jobs(QUEUE, State.FAILED, limit=1)
        for key in page.keys:
            found = self.app.job(key.id, key.queue).info()
            if found.error is not None:
                return f"{found.error.type}: {found.error.message}"
            return found.reason
        return None

    def erase(self) -> None:
        """Leave nothing behind."""
        self._broker.erase()

    def _message(self) -> Message:
        return self._task.message(*self._args, **self._kwargs)
