"""An App whose schedules are in the memory of the test, and what nodes do with their slots."""

from __future__ import annotations

from typing import Any

from taskrunner import App
from taskrunner.brokers.base import Tick, TickKind
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.cron import Slot
from taskrunner.schedulestore import ScheduleStore


def make_app() -> App:
    app = App(MemoryBroker())

    @app.task(name="add", queue="sums", priority=7)
    def add(a: int, b: int = 0) -> int:
        return a + b

    return app


def stored(app: App, name: str = "s") -> Any:
    found = ScheduleStore(app.broker).find(name)
    assert found is not None
    return found.schedule


def fire(app: App, slot: float, name: str = "s", **fields: Any) -> TickKind:
    """What a node does with a slot."""
    schedule = stored(app, name)
    known = app.broker.now()
    message = schedule.job(Slot(slot))
    tick = Tick(name, message, slot, 0.0, schedule.revision, known, **fields)
    return app.broker.tick([tick])[0].kind
