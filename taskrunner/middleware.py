"""Hooks around the life of a job and of a worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from taskrunner.context import JobContext
from taskrunner.errors import Reject, Retry
from taskrunner.message import Message


class Middleware:
    """The base class: every hook, empty. Override what you need and give an instance to
    `App(middleware=[…])`.

    `on_enqueue`, `on_start` and `child_start` are called in the order of that list, the others in
    the reverse order. A hook that raises never loses a job: `on_enqueue` fails the call, before
    anything is submitted; `child_start` ends its worker process, before that takes any job; `on_start`
    may raise Retry or Reject, which then is what the run comes to, without the task being called; any
    other error, and that of any other hook, is logged and the job goes on. Hooks are plain functions
    and run where the task runs: they should be quick.
    """

    def on_enqueue(self, message: Message) -> Message:
        """A job is about to be submitted, in the submitting process. Answers the message to
        submit: this one, or a changed copy (`dataclasses.replace`)."""
        return message

    def on_start(self, context: JobContext) -> None:
        """The task is about to be called, in its worker process."""

    def on_finish(self, context: JobContext, result: Any) -> None:
        """The task has returned `result`."""

    def on_retry(self, context: JobContext, error: BaseException, delay: float) -> None:
        """The run ended with `error`; the job runs again after `delay` seconds."""

    def on_failure(self, context: JobContext, error: BaseException) -> None:
        """The run ended with `error`, and the job has failed for good."""

    def child_start(self) -> None:
        """A worker process has started and imported the application: the place to open pools of
        connections. Raising ends the process; another is started, less and less soon."""

    def child_stop(self) -> None:
        """A worker process is about to end in good order: the place to close them. Not called
        where it is killed."""


Report: TypeAlias = Callable[[str, Middleware, BaseException], None]
"""Told of a hook that raised: its name, whose it is, and the error."""


class Chain:
    """The hooks of several middlewares as one. Hooks that nobody overrides cost nothing."""

    def __init__(self, middleware: Sequence[Middleware], *, report: Report) -> None:
        self._report = report
        self._hooks = {
            name: _overriding(middleware, name, reverse=name in _REVERSED) for name in _HOOKS
        }

    def start(self, context: JobContext) -> None:
        """Raises Retry or Reject where a hook does: the task is not to be called."""
        for middleware in self._hooks["on_start"]:
            try:
                middleware.on_start(context)
            except (Retry, Reject):
                raise
            except BaseException as error:  # noqa: BLE001  see _call
                self._report("on_start", middleware, error)

    def finish(self, context: JobContext, result: Any) -> None:
        self._call("on_finish", context, result)

    def retry(self, context: JobContext, error: BaseException, delay: float) -> None:
        self._call("on_retry", context, error, delay)

    def failure(self, context: JobContext, error: BaseException) -> None:
        self._call("on_failure", context, error)

    def child_start(self) -> None:
        """Raises whatever a hook does: without what it opens, every job would fail."""
        for middleware in self._hooks["child_start"]:
            middleware.child_start()

    def child_stop(self) -> None:
        self._call("child_stop")

    def _call(self, name: str, *arguments: Any) -> None:
        for middleware in self._hooks[name]:
            try:
                getattr(middleware, name)(*arguments)
            except BaseException as error:  # noqa: BLE001  even SystemExit; the job goes on
                self._report(name, middleware, error)


def enqueue_hooks(middleware: Sequence[Middleware]) -> list[Callable[[Message], Message]]:
    """The `on_enqueue` hooks that do something, in order."""
    return [found.on_enqueue for found in _overriding(middleware, "on_enqueue", reverse=False)]


_REVERSED = frozenset({"on_finish", "on_retry", "on_failure", "child_stop"})
_HOOKS = ("on_start", "on_finish", "on_retry", "on_failure", "child_start", "child_stop")


def _overriding(middleware: Sequence[Middleware], name: str, *, reverse: bool) -> list[Middleware]:
    found = [one for one in middleware if getattr(type(one), name) is not getattr(Middleware, name)]
    return found[::-1] if reverse else found
