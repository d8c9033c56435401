"""The App: what a program declares its tasks with and submits jobs through.

    declare   task, tasks, policy
    submit    enqueue, enqueue_many (and a-twins)
    repeat    cron, schedules
    hold      limits
    look      job, why (in `looks`)
    run       running
    wiring    config, broker, backend, codec, seals, adopt, close

Nothing is read, connected or started before it is needed: declaring tasks at import time costs
nothing, and settings are those of the process that uses the App.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from taskrunner import context, registry
from taskrunner.backends.base import ResultBackend
from taskrunner.brokers.base import BrokerClient, Receipt
from taskrunner.codec import Codec, Encoder
from taskrunner.config import Config, span
from taskrunner.declaring import Declare, DeclareSchedule, call_of
from taskrunner.errors import ArgumentError, DeclarationError, OptionError
from taskrunner.job import Job
from taskrunner.limitbook import LimitBook
from taskrunner.looks import Looks
from taskrunner.message import Message
from taskrunner.middleware import Middleware, enqueue_hooks
from taskrunner.options import NOTHING, OptionArguments, Options
from taskrunner.retry import ANY_ERROR, Backoff, Policy
from taskrunner.schedulebook import Schedules
from taskrunner.schedules import RuleArguments
from taskrunner.seals import Seals
from taskrunner.submission import (
    asubmit,
    asubmit_many,
    id_of,
    is_stored,
    rejection,
    submit,
    submit_many,
)
from taskrunner.task import AsyncTask, Task, check_function
from taskrunner.waiting import ResultWaiter
from taskrunner.wiring import Wiring

P = ParamSpec("P")
R = TypeVar("R")


class App(Looks):
    """A set of tasks and the broker their jobs go through.

    `broker` and `backend` are URLs, or objects of one's own; without them settings say, and at
    last `memory://` and the broker itself. `settings` are those of `Config`, by their names there.
    `encoders` carry values of further types; `middleware` hooks into the life of jobs. Raises
    OptionError for a setting that does not exist; ConfigError for values, when they are first
    needed.
    """

    def __init__(
        self,
        broker: str | BrokerClient | None = None,
        *,
        backend: str | ResultBackend | None = None,
        namespace: str | None = None,
        encoders: Iterable[Encoder | tuple[Any, ...]] = (),
        middleware: Sequence[Middleware] = (),
        **settings: Any,
    ) -> None:
        for one in middleware:
            if not isinstance(one, Middleware):
                raise OptionError(f"middleware={one!r}: expected instances of Middleware")
        self._wiring = Wiring(
            broker=broker, backend=backend, namespace=namespace, settings=settings
        )
        self.codec: Codec = Codec(encoders)
        self.middleware: tuple[Middleware, ...] = tuple(middleware)
        self._hooks = enqueue_hooks(self.middleware)
        self._tasks: dict[str, Task[..., Any]] = {}
        self._policies: dict[str, Policy] = {}
        self._payload_limit_bytes: int | None = None
        self._seals: Seals | None = None
        self._schedules = Schedules(self)
        self._limits = LimitBook(self)

    def __repr__(self) -> str:
        return f"<App with {len(self._tasks)} tasks>"

    # -- declare

    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...

    @overload
    def task(self, fn: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        redact: Iterable[str] = (),
        **options: Unpack[OptionArguments],
    ) -> Declare: ...

    def task(
        self, fn: Any = None, /, *, name: str | None = None, redact: Any = (), **options: Any
    ) -> Any:
        """Declare a function, `def` or `async def`, as a task; with or without options.

        The name is `module.function` unless given. `redact` names parameters whose values are shown
        to nobody. Raises DeclarationError for what cannot be a task and for a second task of the
        same name, OptionError for a bad option.
        """
        declared = Options.of(**options)
        if fn is not None:
            return self._declare(fn, name, declared, redact)
        if name is not None:
            check_function(_nothing, name)
        return lambda fn: self._declare(fn, name, declared, redact)

    def _declare(
        self, fn: Callable[..., Any], name: str | None, declared: Options, redact: Iterable[str]
    ) -> Any:
        name = check_function(fn, name)
        known = self._tasks.get(name)
        if known is not None:
            code = getattr(known.fn, "__code__", None)
            where = f" at {code.co_filename}:{code.co_firstlineno}" if code else ""
            raise DeclarationError(f"there is a task {name!r} already, declared{where}")
        kind = AsyncTask if inspect.iscoroutinefunction(fn) else Task
        made: Task[..., Any] = kind(fn, app=self, name=name, declared=declared, redact=redact)
        self.codec.declared.add(fn)
        self._tasks[name] = made
        return made

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """Every task declared, by name."""
        return MappingProxyType(self._tasks)

    def policy(self, task: str) -> Policy:
        """How runs of a task are judged: as declared, else as the settings say."""
        found = self._policies.get(task)
        if found is None:
            config = self.config
            declared = self._tasks[task].declared if task in self._tasks else NOTHING
            found = self._policies[task] = Policy(
                timeout=config.timeout_s if declared.timeout is None else declared.timeout,
                retries=config.retries if declared.retries is None else declared.retries,
                backoff=declared.backoff or Backoff(),
                retry_on=ANY_ERROR if declared.retry_on is None else declared.retry_on,
                retention=config.retention_s if declared.retention is None else declared.retention,
                limit=declared.limit(),
                give_up_on=declared.give_up_on or (),
                retry_if=declared.retry_if or (),
                give_up_if=declared.give_up_if or (),
            )
        return found

    # -- repeat

    def cron(
        self,
        expression: str | None = None,
        /,
        *,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **said: Unpack[RuleArguments],
    ) -> DeclareSchedule:
        """Declare, above a task, that it shall run again and again: by a cron expression or, with
        `every`, in intervals. `app.schedules.add` says what else there is to say.

        The schedule has the task's name unless it is given one. A plain function is declared as a
        task first. Raises OptionError for bad options, DeclarationError for a name that is taken,
        ArgumentError for arguments that do not fit.
        """
        found: dict[str, Any] = {**said}
        if expression is not None and found.setdefault("cron", expression) is not expression:
            raise OptionError(f"cron={found['cron']!r}: {expression!r} was given before it")

        def declare(task: Any) -> Any:
            if not isinstance(task, Task):
                task = self.task(task)
            self.schedules.declare(task, name, (args, kwargs), found)
            return task

        return declare

    @property
    def schedules(self) -> Schedules:
        """The schedules of this namespace: add, get, list, remove, pause, resume, trigger, preview,
        history."""
        return self._schedules

    @property
    def limits(self) -> LimitBook:
        """What holds jobs back at run time: set, remove, get, list, pause, resume."""
        return self._limits

    # -- submit

    def enqueue(
        self,
        task: str | Task[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[OptionArguments],
    ) -> Job[Any]:
        """Submit a job of a task by its name; the code of the task need not be here.

        Raises as `Task.enqueue`, and UnknownTask where tasks are declared here and none has that
        name.
        """
        return self.submit(call_of(self, task, args, kwargs, options).message(self))

    async def aenqueue(
        self,
        task: str | Task[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[OptionArguments],
    ) -> Job[Any]:
        """`enqueue`, from asyncio."""
        return await self.asubmit(call_of(self, task, args, kwargs, options).message(self))

    def enqueue_many(self, messages: Iterable[Message]) -> list[Job[Any]]:
        """Submit many jobs, each made by `task.message(...)`, hundreds in one round trip.

        Answers one Job for each, in order: `job.accepted`, and `job.rejection` where it was not.
        Where the broker fails on the way, what is not known to be accepted says so in its
        rejection. Raises BrokerUnavailable or BrokerFull only where nothing at all was accepted;
        the same messages may be submitted again: what was accepted is accepted once. A job that is
        stored without the confirmation it asked for has NotConfirmed as its rejection.
        """
        bulk = submit_many(self.broker, self._hooked_all(messages))
        return list(map(self._answered, bulk.ids, bulk.messages, bulk.answers))

    async def aenqueue_many(self, messages: Iterable[Message]) -> list[Job[Any]]:
        """`enqueue_many`, from asyncio."""
        bulk = await asubmit_many(self.broker, self._hooked_all(messages))
        return list(map(self._answered, bulk.ids, bulk.messages, bulk.answers))

    def submit(self, message: Message) -> Job[Any]:
        """Submit one message. Raises as `Task.enqueue`."""
        message = self.seals.message(self._hooked(message))
        return self._accepted(message, submit(self.broker, message))

    async def asubmit(self, message: Message) -> Job[Any]:
        """`submit`, from asyncio."""
        message = self.seals.message(self._hooked(message))
        return self._accepted(message, await asubmit(self.broker, message))

    def _hooked(self, message: Message) -> Message:
        for hook in self._hooks:
            message = hook(message)
        return message

    def _hooked_all(self, messages: Iterable[Message]) -> list[Message]:
        found = list(messages)
        for at, message in enumerate(found):
            if not isinstance(message, Message):
                raise ArgumentError(
                    f"message {at} is {message!r}: expected what task.message(...) answers"
                )
        if self._hooks:
            found = [self._hooked(message) for message in found]
        return list(map(self.seals.message, found)) if self.seals.is_active else found

    def _accepted(self, message: Message, receipt: Receipt) -> Job[Any]:
        refused = rejection(message, receipt)
        if refused is not None:
            raise refused
        return Job(self, id_of(message, receipt), message.queue, submitted=True)

    def _answered(self, job_id: str, message: Message, refused: Any) -> Job[Any]:
        stored = is_stored(refused)
        return Job(self, job_id, message.queue, submitted=stored, rejection=refused)

    # -- run

    def running(
        self, *, processes: int | str | None = None, threads: int | None = None, **settings: Any
    ) -> AbstractContextManager[None]:
        """A supervisor inside this program, for scripts and tests: jobs run while the block is
        open.

        `processes` worker processes (as many as there are CPUs; a range such as "2..16" moves with
        the load), which import the application: a script needs a main guard. Or `threads` of this very process, for tasks that no other
        process could import. `settings` go over those of the App. Raises StartError where it
        cannot start, DeclarationError where a worker's own import reaches this call.
        """
        if context.importing:
            raise DeclarationError(
                "app.running() was called while a worker process imported this module: put what "
                "starts the program under `if __name__ == '__main__':`"
            )
        if threads is not None and (type(threads) is not int or threads < 1):
            raise OptionError(f"threads={threads!r}: expected a whole number, 1 or more")
        span({"processes": processes})  # a mistake is an error of this call
        if processes is not None and threads is not None:
            raise OptionError("processes and threads were both given: expected one of them")
        config = self._wiring.config_with(settings)
        found: AbstractContextManager[None] = registry.supervisor_factory()(
            self, processes=processes, threads=threads, config=config
        )
        return found

    # -- wiring

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings given in code, as they were given."""
        return self._wiring.settings

    @property
    def config(self) -> Config:
        """The settings: those given in code over the environment over files. Raises ConfigError."""
        return self._wiring.config

    @property
    def payload_limit_bytes(self) -> int:
        """How large the arguments of a job may be."""
        if self._payload_limit_bytes is None:
            self._payload_limit_bytes = self.config.payload_limit_bytes
        return self._payload_limit_bytes

    @property
    def broker(self) -> BrokerClient:
        """The broker; made at the first call, connected when it is first asked something."""
        return self._wiring.broker

    @property
    def backend(self) -> ResultBackend | None:
        """Where results are kept; None: the broker keeps them itself."""
        return self._wiring.backend

    @property
    def waiter(self) -> ResultWaiter:
        """What waits for results; one for each process."""
        return self._wiring.waiter

    @property
    def seals(self) -> Seals:
        """What `encryption_keys` and `signing_keys` do. Raises ConfigError where a library is
        missing for that."""
        if self._seals is None:
            self._seals = self._wiring.seals
        return self._seals

    def adopt(self, config: Config, broker: BrokerClient | None = None) -> None:
        """Use settings, and perhaps a broker, that were decided elsewhere; drops connections.

        For whoever runs the App: the command line, a fork server, a worker process.
        """
        self._wiring.adopt(config, broker)
        self._policies.clear()
        self._payload_limit_bytes = None
        self._seals = None

    def close(self) -> None:
        """Let go of connections and threads. The App stays usable and opens new ones."""
        self._wiring.close()


def _nothing() -> None:
    """Stands for a function whose name alone is checked."""
