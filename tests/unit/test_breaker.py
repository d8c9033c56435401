"""A circuit that opens, tries and closes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskrunner import (
    App,
    Backoff,
    CircuitBreaker,
    Middleware,
    OptionError,
    Reject,
    Retry,
    State,
    TaskTimeout,
    breaker,
    current_job,
)
from taskrunner.testing.clock import FakeClock
from taskrunner.testing.waiting import eventually

BROKEN = ConnectionError("refused")


class Runs:
    """A breaker and the runs it sees."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        wanted = {"failures": 3, "within": 60.0, "open_for": 30.0, **options}
        self.breaker = CircuitBreaker(clock=self.clock, **wanted)
        self._tokens = 0

    def context(self, task: str = "t") -> Any:
        self._tokens += 1
        return SimpleNamespace(task=task, token=f"{self._tokens}:n", queue="q")

    def start(self, task: str = "t") -> Any:
        """A run that may start; raises Retry where it may not."""
        context = self.context(task)
        self.breaker.on_start(context)
        return context

    def fail(self, error: BaseException = BROKEN, task: str = "t") -> None:
        self.breaker.on_retry(self.start(task), error, 1.0)

    def delay(self, task: str = "t") -> float:
        with pytest.raises(Retry) as caught:
            self.start(task)
        assert not caught.value.count
        return caught.value.delay or 0.0

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)


def opened(**options: Any) -> Runs:
    runs = Runs(**options)
    for _ in range(3):
        runs.fail()
    return runs


def test_it_opens_after_so_many_errors_in_a_row() -> None:
    runs = Runs()
    for _ in range(2):
        runs.fail()
    runs.breaker.on_finish(runs.start(), None)
    for _ in range(2):
        runs.fail()
    runs.start()
    runs.fail()
    assert 30 <= runs.delay() <= 36
    runs.start("another task")


def test_old_errors_do_not_count() -> None:
    runs = Runs(open_for=3600.0)
    for _ in range(5):
        runs.fail()
        runs.later(31)
    runs.start()


def test_one_run_tries_whether_it_is_over_and_closes_it() -> None:
    runs = opened()
    runs.later(30)
    trial = runs.start()
    assert runs.delay() > 0
    runs.breaker.on_finish(trial, None)
    runs.start()
    runs.fail()
    runs.start()


def test_a_trial_that_fails_opens_it_again() -> None:
    runs = opened(within=10.0)
    runs.later(30)
    trial = runs.start()
    runs.later(20)
    runs.breaker.on_failure(trial, BROKEN)
    assert 30 <= runs.delay() <= 36


def test_a_trial_that_tells_nothing_is_followed_by_another() -> None:
    runs = opened()
    runs.later(30)
    runs.start()
    runs.later(29)
    runs.delay()
    runs.later(1)
    runs.start()


def test_a_run_from_before_does_not_close_it() -> None:
    runs = Runs()
    before = runs.start()
    for _ in range(3):
        runs.fail()
    runs.breaker.on_finish(before, None)
    runs.delay()


@pytest.mark.parametrize("error", [ValueError(), Retry(), Reject("no"), KeyboardInterrupt()])
def test_other_errors_do_not_count(error: BaseException) -> None:
    runs = Runs(errors=ConnectionError, failures=1)
    runs.fail(error)
    runs.start()


def test_timeouts_count_and_what_tasks_ask_for_does_not() -> None:
    runs = Runs(failures=1)
    runs.fail(Retry())
    runs.fail(Reject("no"))
    runs.fail(TaskTimeout())
    runs.delay()


def test_only_the_tasks_that_are_named_and_by_a_key() -> None:
    runs = opened(tasks=["other"])
    runs.start()
    runs = opened(key=lambda context: context.queue)
    runs.delay("any task of the queue")
    runs = opened(key=lambda _context: None)
    runs.start()


def test_circuits_are_not_remembered_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MOST_CIRCUITS", 2)
    runs = Runs(failures=1)
    for task in "abc":
        runs.fail(task=task)
    runs.start("a")
    runs.delay("b")
    runs.delay("c")


@pytest.mark.parametrize(
    "options",
    [
        {"failures": 0},
        {"failures": True},
        {"within": 0},
        {"open_for": -1},
        {"open_for": float("nan")},
        {"errors": "ConnectionError"},
        {"errors": (int,)},
        {"tasks": "shop.charge"},
    ],
)
def test_what_makes_no_sense(options: Any) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        CircuitBreaker(**options)


def test_jobs_wait_while_it_is_open_and_no_retry_is_used_up() -> None:
    app = App("memory://", middleware=[CircuitBreaker(failures=3, open_for=0.2)])
    up: list[str] = []
    calls: list[str] = []

    @app.task(name="t", retries=3, backoff=Backoff(initial=0.01, jitter=False))
    def call() -> str:
        calls.append(current_job().id)
        if not up:
            raise BROKEN
        return "there"

    with app.running(threads=1):
        jobs = [call.enqueue() for _ in range(10)]
        eventually(lambda: len(calls) >= 3, timeout=20)
        eventually(lambda: all(job.state() is State.RETRYING for job in jobs), timeout=20)
        assert len(calls) < 10  # else each of them would have failed by itself
        up.append("now")
        assert [job.result(timeout=30) for job in jobs] == ["there"] * 10
        assert sum(job.info().failures for job in jobs) <= 5


def test_any_on_start_may_put_a_run_off_or_end_it() -> None:
    class Doorman(Middleware):
        def on_start(self, context: Any) -> None:
            if context.attempt == 1:
                raise Retry(delay=0, count=False)
            if "bad" in context.headers:
                raise Reject("not here")

    app = App("memory://", middleware=[Doorman()])

    @app.task(name="t")
    def call() -> int:
        return current_job().attempt

    with app.running(threads=1):
        assert call.enqueue().result(timeout=20) == 2
        job = call.options(headers={"bad": ""}).enqueue()
        eventually(lambda: job.state() is State.FAILED, timeout=20)
        assert job.info().reason == "rejected"
