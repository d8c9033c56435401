"""A node in a process of its own: what `taskrunner run` is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from setproctitle import setproctitle

from taskrunner import registry
from taskrunner.app import App
from taskrunner.brokers.base import Broker
from taskrunner.config import Config
from taskrunner.errors import StartError
from taskrunner.events import Events
from taskrunner.probes import Fault
from taskrunner.supervisor.generation import ForkedGeneration, Target, check_backend
from taskrunner.supervisor.signals import Signals
from taskrunner.supervisor.supervisor import Supervisor
from taskrunner.supervisor.waits import run_loop

Beside: TypeAlias = Callable[[App, Callable[[], Fault | None]], AbstractContextManager[None]]
"""What goes on in this process while the node lives: it is given the App, and what says why the node
would not run a job now."""


def run(target: str, config: Config, events: Events, beside: Beside | None = None) -> None:
    """Be a node until a signal says to stop. Raises AppNotFound, StartError,
    BrokerUnavailable."""
    # Also takes the command line and the environment out of everybody's sight: there may be a
    # password in them.
    setproctitle(f"taskrunner: supervisor [{target}]")
    app = registry.load_app(target)
    app.adopt(config)
    check_backend(app)
    broker = app.broker
    if not isinstance(broker, Broker):
        raise StartError(f"{type(broker).__name__} is a client's view of a broker, not a broker")

    async def live() -> None:
        signals = Signals()
        supervisor = Supervisor(
            broker=broker,
            backend=app.backend,
            config=config,
            make_generation=lambda hears: ForkedGeneration(
                Target(target), config, hears=hears, logs=True
            ),
            events=events,
        )
        signals.install()
        obeying = asyncio.ensure_future(supervisor.control.obey(signals))
        try:
            with beside(app, supervisor.watch_itself()) if beside else nullcontext():
                await supervisor.run()
        finally:
            obeying.cancel()
            signals.remove()

    run_loop(live())
    app.close()
