"""Middleware around a run: it is told, and what it raises harms nobody."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner import App, Middleware
from taskrunner.brokers.base import OutcomeKind
from tests.unit.worker.one_child import one_child


class Told(Middleware):
    def __init__(self, error: BaseException | None = None) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._error = error

    def _hear(self, *told: Any) -> None:
        self.heard.append(told)
        if self._error is not None:
            raise self._error

    def on_start(self, context: Any) -> None:
        self._hear("start", context.id)

    def on_finish(self, context: Any, result: Any) -> None:
        self._hear("finish", result)

    def on_retry(self, context: Any, error: BaseException, delay: float) -> None:
        self._hear("retry", str(error), delay)

    def on_failure(self, context: Any, error: BaseException) -> None:
        self._hear("failure", str(error))


def app_with(middleware: Middleware) -> App:
    app = App("memory://", middleware=[middleware], retries=1)

    @app.task(name="flip")
    def flip(fails: bool) -> str:
        if fails:
            raise ValueError("no")
        return "yes"

    return app


@pytest.mark.parametrize("error", [None, RuntimeError("hook"), SystemExit(1)])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_hooks_hear_of_each_ending_and_change_none(
    error: BaseException | None, concurrency: int
) -> None:
    told = Told(error)
    app = app_with(told)
    flip = app.tasks["flip"]
    with one_child(app, concurrency) as child:
        kinds = [
            child.one(flip.message(False)).kind,
            child.one(flip.message(True)).kind,
            child.one(flip.message(True), failures=1).kind,
        ]
        raised = [name for name, _ in child.hook_errors]
    assert kinds == [OutcomeKind.SUCCEEDED, OutcomeKind.RETRY, OutcomeKind.FAILED]
    assert [what for what, *_ in told.heard] == [
        *("start", "finish"),
        *("start", "retry"),
        *("start", "failure"),
    ]
    assert told.heard[1] == ("finish", "yes")
    assert told.heard[5] == ("failure", "no")
    assert len(raised) == (0 if error is None else 6)
