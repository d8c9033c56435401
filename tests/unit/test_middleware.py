from __future__ import annotations

import inspect
from typing import Any

from taskrunner.context import JobContext
from taskrunner.message import Header, Message
from taskrunner.middleware import Chain, Middleware, enqueue_hooks

CONTEXT = JobContext(id="me", task="t", queue="q", attempt=1)


class Loud(Middleware):
    def __init__(self, name: str, heard: list[str]) -> None:
        self.name = name
        self.heard = heard

    def on_start(self, context: JobContext) -> None:
        self.heard.append(f"{self.name} start")

    def on_finish(self, context: JobContext, result: Any) -> None:
        self.heard.append(f"{self.name} finish {result}")

    def on_retry(self, context: JobContext, error: BaseException, delay: float) -> None:
        self.heard.append(f"{self.name} retry {error} {delay}")

    def on_failure(self, context: JobContext, error: BaseException) -> None:
        self.heard.append(f"{self.name} failure {error}")

    def child_start(self) -> None:
        self.heard.append(f"{self.name} up")

    def child_stop(self) -> None:
        self.heard.append(f"{self.name} down")


class Broken(Middleware):
    def on_start(self, context: JobContext) -> None:
        raise RuntimeError("no")


def silent(*_: Any) -> None:
    raise AssertionError("no hook should have raised")


def test_hooks_are_called_in_order_and_in_reverse() -> None:
    heard: list[str] = []
    chain = Chain([Loud("a", heard), Middleware(), Loud("b", heard)], report=silent)
    chain.child_start()
    chain.start(CONTEXT)
    chain.finish(CONTEXT, 5)
    chain.retry(CONTEXT, ValueError("x"), 1.5)
    chain.failure(CONTEXT, ValueError("y"))
    chain.child_stop()
    assert heard == [
        "a up",
        "b up",
        "a start",
        "b start",
        "b finish 5",
        "a finish 5",
        "b retry x 1.5",
        "a retry x 1.5",
        "b failure y",
        "a failure y",
        "b down",
        "a down",
    ]


def test_a_hook_that_raises_is_reported_and_the_next_still_runs() -> None:
    heard: list[str] = []
    reported: list[tuple[str, str]] = []
    chain = Chain(
        [Broken(), Loud("a", heard)],
        report=lambda name, who, error: reported.append((name, f"{type(who).__name__} {error}")),
    )
    chain.start(CONTEXT)
    assert reported == [("on_start", "Broken no")]
    assert heard == ["a start"]


def test_hooks_that_nobody_overrides_are_not_there() -> None:
    assert enqueue_hooks([Middleware(), Broken()]) == []
    assert Chain([Middleware()], report=silent)._hooks["on_start"] == []


def test_the_base_class_changes_no_message() -> None:
    message = Message("id", "q", Header("t"), b"")
    assert Middleware().on_enqueue(message) is message


def test_every_hook_is_documented_and_does_nothing() -> None:
    hooks = {name for name in vars(Middleware) if name.startswith(("on_", "child_"))}
    assert hooks == {
        "on_enqueue",
        "on_start",
        "on_finish",
        "on_retry",
        "on_failure",
        "child_start",
        "child_stop",
    }
    assert all(inspect.getdoc(getattr(Middleware, name)) for name in hooks)
