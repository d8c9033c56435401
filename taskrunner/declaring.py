"""What the App's decorators are, for type checkers; and what a call by the name of a task comes to."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from taskrunner.errors import ArgumentError, UnknownTask
from taskrunner.message import Message
from taskrunner.naming import nearest
from taskrunner.options import NOTHING, Options
from taskrunner.task import AsyncTask, Submission, Task, check_name

if TYPE_CHECKING:
    from taskrunner.app import App

P = ParamSpec("P")
R = TypeVar("R")


class Declare(Protocol):
    """What `@app.task(...)` gives: it takes the function."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


class DeclareSchedule(Protocol):
    """What `@app.cron(...)` gives: it takes the task, or a function to make one of."""

    @overload
    def __call__(self, task: AsyncTask[P, R], /) -> AsyncTask[P, R]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a Task is more than what it can be called as
        self, task: Task[P, R], /
    ) -> Task[P, R]: ...

    @overload
    def __call__(self, task: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, task: Callable[P, R], /) -> Task[P, R]: ...


class Call(NamedTuple):
    """A call of a task, by name or by the task itself, that was found to be possible."""

    submission: Submission
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def message(self, app: App) -> Message:
        """Raises PayloadTooLarge, ArgumentError."""
        return self.submission.message(app, self.args, self.kwargs)

    def template(self, app: App) -> Message:
        """The message that the jobs of a schedule are made from. Raises ArgumentError."""
        return self.submission.template(app, self.args, self.kwargs)


def call_of(
    app: App,
    task: str | Task[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Call:
    """What a call comes to. Raises OptionError, ArgumentError, and UnknownTask where tasks are
    declared here and none has that name."""
    args, named = checked_arguments(args, kwargs)
    chosen = Options.of(**options)
    if not isinstance(task, Task) and not app.tasks:
        # A client without the code of the tasks: the nodes know what there is.
        check_name(task)
        return Call(Submission(task, NOTHING, chosen), args, named)
    found = task if isinstance(task, Task) else _known(app, task)
    if chosen is not NOTHING:
        found = found.with_options(chosen)
    return Call(found.submission(args, named), args, named)


def _known(app: App, name: str) -> Task[..., Any]:
    try:
        return app.tasks[name]
    except (KeyError, TypeError):
        raise UnknownTask(
            f"no task {name!r} is declared here; {nearest(str(name), app.tasks)}"
        ) from None


def checked_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same as a tuple and a dict. Raises ArgumentError."""
    if not isinstance(args, (list, tuple)):
        raise ArgumentError(f"args={args!r}: expected a list or tuple of arguments")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ArgumentError(f"kwargs={kwargs!r}: expected a mapping of names to arguments")
    found = dict(kwargs or {})
    for name in found:
        if type(name) is not str:
            raise ArgumentError(f"kwargs has the key {name!r}: expected names as text")
    return tuple(args), found
