"""A supervisor inside another program: `app.running()`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from taskrunner.app import App
from taskrunner.brokers.base import Broker
from taskrunner.config import Config, span
from taskrunner.errors import StartError
from taskrunner.events import Events
from taskrunner.naming import public_module
from taskrunner.supervisor.generation import (
    ForkedGeneration,
    Generation,
    Hears,
    Target,
    ThreadGeneration,
    check_backend,
)
from taskrunner.supervisor.supervisor import Supervisor
from taskrunner.supervisor.waits import run_loop


@contextmanager
def running(
    app: App, *, processes: int | str | None, threads: int | None, config: Config
) -> Iterator[None]:
    """Run a supervisor in a thread of its own until the block ends; touches no signal handler.

    With `threads`, jobs run in threads of this very process: for tasks that no other process could
    import. Raises StartError where the tasks cannot be imported and `threads` was not asked for.
    """
    if threads is not None:
        config = replace(config, processes=1, processes_max=None, concurrency=threads)
        target = None
    else:
        config = replace(config, **span({"processes": processes}))  # type: ignore[arg-type]
        check_backend(app)
        target = find_target(app)
    node = _Embedded(app, config, target)
    node.start()
    try:
        yield
    finally:
        node.stop()


class _Embedded:
    """The thread in which the supervisor's loop runs."""

    def __init__(self, app: App, config: Config, target: Target | None) -> None:
        self._app = app
        self._config = config
        self._target = target
        self._supervisor: Supervisor | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="taskrunner supervisor")

    def start(self) -> None:
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:
            self.stop(hurry=True)
            raise
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self, *, hurry: bool = False) -> None:
        if self._supervisor is not None:
            self._supervisor.request_stop(hurry=hurry)
        try:
            self._thread.join()
        except KeyboardInterrupt:
            # As with a second signal: what runs is killed and given back, nothing is lost.
            if self._supervisor is not None:
                self._supervisor.request_stop(hurry=True)
            self._thread.join()
            raise
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            run_loop(self._live())
        except BaseException as error:  # noqa: BLE001  handed to the thread that waits for us
            self._error = error
        finally:
            self._started.set()

    async def _live(self) -> None:
        broker = self._app.broker
        if not isinstance(broker, Broker):
            raise StartError("inside a task there is no supervisor to start: it has one already")
        self._supervisor = Supervisor(
            broker=broker,
            backend=self._app.backend,
            config=self._config,
            make_generation=self._generation,
            events=Events(),
            embedded=self._target is None,
        )
        await self._supervisor.run(self._started.set)

    def _generation(self, hears: Hears) -> Generation:
        if self._target is None:
            return ThreadGeneration(self._app, hears=hears, owner=owner_of(self._app))
        return ForkedGeneration(self._target, self._config, hears=hears)


def owner_of(app: App) -> str:
    """The name under which this application's schedules are its own: the same as in processes,
    where they could be started, else that of the program."""
    try:
        return find_target(app).owner
    except StartError:
        return public_module("__main__")


def find_target(app: App) -> Target:
    """Where other processes find this application. Raises StartError where they cannot."""
    declared = {task.fn.__module__ for task in app.tasks.values()}
    modules = list(sys.modules.items())
    modules.sort(key=lambda item: item[0] not in declared)
    for name, module in modules:
        attribute = _attribute(module, app)
        if attribute is None or name == "__mp_main__":
            continue
        if name != "__main__":
            return Target(f"{name}:{attribute}")
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.name:
            return Target(f"{spec.name}:{attribute}")
        path = getattr(module, "__file__", None)
        if path and Path(path).is_file():
            return Target(attribute, str(Path(path).resolve()))
    raise StartError(
        "other processes cannot import this App: it is not a module-level name of an importable "
        "module or of a script. Use app.running(threads=N) to run its tasks in threads of this "
        "process"
    )


def _attribute(module: ModuleType, app: App) -> str | None:
    try:
        names = list(vars(module).items())
    except TypeError:  # sys.modules may hold anything
        return None
    return next((name for name, value in names if value is app), None)


__all__ = ["find_target", "running"]
