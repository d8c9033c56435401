"""A declared task: a plain function that can also be submitted as a job.

    send(42)                             calls it, here and now
    send.enqueue(42)                     submits it
    send.options(delay=10).enqueue(42)   a typed copy with options of its own
    send.message(42)                     what enqueue_many takes

Submitting runs often, so a Task works out once what its options come to: the header, whose bytes
all its messages share, the queue, the priority and the times.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, Unpack

from taskrunner.carried import hints_of, mentions_classes, shaped
from taskrunner.errors import ArgumentError, DeclarationError, OptionError, PayloadTooLarge
from taskrunner.ids import new_id
from taskrunner.limitkeys import Keys
from taskrunner.message import DEFAULT, LONGEST_NAME, REPLACE, Header, Message, Timing
from taskrunner.naming import public_module
from taskrunner.options import NOTHING, OptionArguments, Options
from taskrunner.redaction import Marks, marks_of, scrubber
from taskrunner.unique import Unique

if TYPE_CHECKING:
    from taskrunner.app import App
    from taskrunner.job import Job

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_QUEUE: Final = "default"
DEFAULT_PRIORITY: Final = 5
_SHAPES_KEPT: Final = 64


class Task(Generic[P, R]):
    """A function declared with `@app.task`. Made by the decorator, not by hand.

    For an `async def` the result type is what awaiting it gives.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        app: App,
        name: str,
        declared: Options,
        chosen: Options = NOTHING,
        redact: Iterable[str] = (),
    ) -> None:
        self.fn: Callable[..., Any] = fn
        self.app: App = app
        self.name: str = name
        self.declared: Options = declared
        """the options given at the declaration"""
        self.chosen: Options = chosen
        """the options of this copy, which `.options()` made"""
        self.is_async: bool = inspect.iscoroutinefunction(fn)
        self._signature = Signature(fn, name, redact)
        self.redact: Marks = self._signature.marks
        """arguments that are shown to nobody"""
        self._submission = Submission(name, declared, self.chosen, self._signature)
        functools.update_wrapper(self, fn, updated=())

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, here and now."""
        return self.fn(*args, **kwargs)  # type: ignore[no-any-return]

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Submit a job.

        Raises ArgumentError for arguments that do not fit the function or cannot be carried,
        PayloadTooLarge, DuplicateJob where an unfinished job has the given id, or the same `unique`
        key (where that says so, the job that has it is answered instead), BrokerFull,
        NotConfirmed where the store cannot confirm the `durability` that was asked for, and
        BrokerUnavailable where the broker stays away for about 10 seconds.
        """
        return self.app.submit(self.message(*args, **kwargs))

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """`enqueue`, from asyncio."""
        return await self.app.asubmit(self.message(*args, **kwargs))

    def options(self, **options: Unpack[OptionArguments]) -> Task[P, R]:
        """A copy of this task whose jobs have these options. Raises OptionError."""
        return self.with_options(Options.of(**options))

    def with_options(self, options: Options) -> Task[P, R]:
        """`options`, for those that were validated before."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.chosen = self.chosen.merged(options)
        copy._submission = Submission(self.name, self.declared, copy.chosen, self._signature)
        return copy

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """The job as a value, for `app.enqueue_many`: what `enqueue` would submit.

        Raises as `enqueue` does for bad arguments and payloads.
        """
        return self.submission(args, kwargs).message(self.app, args, kwargs)

    def submission(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Submission:
        """What this task's options come to. Raises ArgumentError for arguments that do not fit."""
        self._signature.check(args, kwargs)
        return self._submission

    def arguments(self, body: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments in a message's body, by this task's annotations: where a parameter is
        declared as a class and a plain map arrived, the map is made into it.

        Raises MessageError for bytes that are not arguments, ArgumentError where they do not fit.
        """
        args, kwargs = self.app.codec.unpack_call(body)
        self._signature.check(args, kwargs)
        if not self.redact:
            return self._signature.shaped(args, kwargs)
        try:
            return self._signature.shaped(args, kwargs)
        except ArgumentError as error:
            # It says what was found where something else was expected.
            raise ArgumentError(scrubber(self.redact, args, kwargs)(str(error))) from None


class AsyncTask(Task[P, R]):
    """A Task declared from an `async def`: calling it gives a coroutine, as ever."""

    def __call__(  # type: ignore[override]  # the one thing in which it is not a Task[P, R]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        return self.fn(*args, **kwargs)  # type: ignore[no-any-return]


class Submission:
    """What the options of a task, or of a call by name, come to in a message."""

    __slots__ = (
        "durability",
        "header",
        "header_size",
        "job_id",
        "keys",
        "priority",
        "queue",
        "timing",
        "unique",
    )

    def __init__(
        self, task: str, declared: Options, chosen: Options, takes: Signature | None = None
    ) -> None:
        said = declared.merged(chosen)
        self.queue: str = said.queue or DEFAULT_QUEUE
        self.priority: int = DEFAULT_PRIORITY if said.priority is None else said.priority
        self.timing: Timing = said.timing()
        self.job_id: str | None = said.job_id
        self.durability: str = said.durability or DEFAULT
        self.unique: Unique | None = said.unique or None
        if self.unique is not None and self.unique.on_conflict == REPLACE and self.job_id:
            raise OptionError(
                f"job_id={self.job_id!r}: not with unique on_conflict='replace', where the job that is "
                "there keeps its own id: expected one of the two"
            )
        if chosen.retry_if or chosen.give_up_if:
            named = "retry_on" if chosen.retry_if else "give_up_on"
            raise OptionError(
                f"{named} with a function: expected it where the task is declared; a job carries "
                "exception classes, or their names, and no code"
            )
        # Only what differs from the declaration travels: the node knows that. Headers are the
        # exception, since no node adds any.
        self.header: Header = chosen.header(task, headers=said.headers)
        if takes is not None and takes.marks:
            self.header = replace(self.header, redact=takes.marks)
        keys = said.keys(chosen, takes)
        if keys is not None and keys.are_fixed:
            self.header = replace(self.header, limit_keys=keys.texts((), {}))
            keys = None
        self.keys: Keys | None = keys
        """limits that differ from job to job"""
        self.header_size: int = len(self.header.packed)

    def message(self, app: App, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Message:
        """A message with these arguments. Raises ArgumentError and PayloadTooLarge."""
        body = app.codec.pack_call(args, kwargs)
        if len(body) > app.payload_limit_bytes:
            raise too_large(self.header.task, body, app.payload_limit_bytes)
        job_id, call = (new_id(), "") if self.job_id is None else (self.job_id, new_id())
        where = (self.queue, self._header(args, kwargs), body, self.priority, self.timing)
        made = Message(job_id, *where, call, self.durability)
        return made if self.unique is None else self._locked(made, app, args, kwargs)

    def template(self, app: App, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Message:
        """A message that others are made from: its id is empty unless one was chosen. Settings are
        not asked for, so its size is yet to be judged; and nobody will wait for a confirmation, so it
        asks for none. Raises ArgumentError."""
        body = app.codec.pack_call(args, kwargs)
        where = (self.queue, self._header(args, kwargs), body, self.priority, self.timing)
        made = Message(self.job_id or "", *where)
        return made if self.unique is None else self._locked(made, app, args, kwargs)

    def _locked(
        self, message: Message, app: App, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Message:
        """The same as a unique job. Raises OptionError for a key that is none."""
        assert self.unique is not None
        lock = self.unique.lock(self.header.task, args, kwargs, app.codec.pack)
        header = replace(message.header, unique_key=lock.key)
        return replace(message, header=header, lock=lock)

    def _header(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Header:
        if self.keys is None:
            return self.header
        return replace(self.header, limit_keys=self.keys.texts(args, kwargs))


def too_large(task: str, body: bytes, limit: int) -> PayloadTooLarge:
    """The error for arguments over the limit."""
    return PayloadTooLarge(
        f"the arguments of {task} take {len(body)} bytes; at most {limit} are accepted "
        f"(payload_limit_bytes): pass where the data is instead of the data"
    )


class Signature:
    """What arguments a function takes, checked once for each way of calling it."""

    def __init__(self, fn: Callable[..., Any], name: str, redact: Iterable[str] = ()) -> None:
        self._name = name
        self._fn = fn
        self.signature: inspect.Signature = inspect.signature(fn)
        self._signature = self.signature
        self.marks: Marks = marks_of(self._signature, redact)
        # Whether arguments fit depends only on how many are positional and which are named.
        self._fitting: set[tuple[int, tuple[str, ...]]] = set()

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise ArgumentError naming the argument that is missing or too many."""
        shape = (len(args), tuple(kwargs))
        if shape in self._fitting:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self._name}{self._signature}: {error}") from None
        if len(self._fitting) < _SHAPES_KEPT:
            self._fitting.add(shape)

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        """The annotations of parameters that mention classes of the user's."""
        hints = hints_of(self._fn)
        return {
            name: hints[name]
            for name in self._signature.parameters
            if name in hints and mentions_classes(hints[name])
        }

    def shaped(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with plain maps made into the classes that the annotations name."""
        if not self._hints:
            return args, kwargs
        bound = self._signature.bind(*args, **kwargs)
        for name, hint in self._hints.items():
            if name in bound.arguments:
                bound.arguments[name] = self._shaped(name, hint, bound.arguments[name])
        return bound.args, bound.kwargs

    def _shaped(self, name: str, hint: Any, value: Any) -> Any:
        kind = self._signature.parameters[name].kind
        try:
            if kind is inspect.Parameter.VAR_POSITIONAL:
                return tuple(shaped(hint, item) for item in value)
            if kind is inspect.Parameter.VAR_KEYWORD:
                return {key: shaped(hint, item) for key, item in value.items()}
            return shaped(hint, value)
        except ArgumentError as error:
            raise ArgumentError(f"argument {name!r}: {error}") from error


def check_function(fn: object, name: str | None) -> str:
    """The name under which this function is declared. Raises DeclarationError where it cannot be
    a task."""
    if isinstance(fn, Task):
        raise DeclarationError(f"{fn.name} is a task already")
    if isinstance(fn, (staticmethod, classmethod, type)) or not callable(fn):
        raise DeclarationError(f"expected a function to declare as a task, got {fn!r}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise DeclarationError(f"{_called(fn)} is a generator: a task returns one result")
    try:
        inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"{_called(fn)} cannot be a task: {error}") from error
    if name is not None:
        return check_name(name)
    return _default_name(fn)


def _default_name(fn: Any) -> str:
    qualname = getattr(fn, "__qualname__", None)
    if qualname is None:
        raise DeclarationError(f"{fn!r} has no name of its own: give it one, name=…")
    what = "a lambda" if "<lambda>" in qualname else "a nested function"
    if "<" in qualname:
        raise DeclarationError(
            f"{_called(fn)} is {what}, which a worker could not find under that name: give it one "
            f"with @app.task(name=…), and declare it where importing its module does"
        )
    return check_name(f"{public_module(fn.__module__)}.{qualname}")


def _called(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)


def check_name(name: object) -> str:
    """The name of a task, or DeclarationError saying what it may be called."""
    if not isinstance(name, str):
        raise DeclarationError(f"name={name!r}: expected text")
    if 1 <= len(name) <= LONGEST_NAME and name.isprintable() and " " not in name:
        return name
    raise DeclarationError(
        f"name={name!r}: expected 1 to {LONGEST_NAME} printable characters without spaces"
    )
