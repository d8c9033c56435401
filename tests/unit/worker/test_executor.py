"""What a run comes to: every ending has its outcome, and the next job never notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from taskrunner import App, Backoff, Reject, Retry, current_job
from taskrunner.brokers.base import Blame, OutcomeKind
from taskrunner.errors import TaskCancelled, TaskTimeout
from taskrunner.message import Message
from tests.unit.worker.one_child import OneChild, error_of, one_child

app = App("memory://", result_limit_bytes=1000, traceback_limit_bytes=2000)
LEAK: ContextVar[str] = ContextVar("LEAK", default="clean")


class HostileText(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class HostileParts(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


ENDINGS: dict[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("no"),
    "exit": lambda: SystemExit(2),
    "keyboard": lambda: KeyboardInterrupt(),
    "memory": lambda: MemoryError(),
    "generator": lambda: GeneratorExit(),
    "cancelled-error": lambda: asyncio.CancelledError(),
    "stop": lambda: StopIteration(3),
    "hostile-text": lambda: HostileText(),
    "hostile-parts": lambda: HostileParts(),
    "huge": lambda: ValueError("x" * 100_000),
    "surrogate": lambda: ValueError("\udc80"),
    "group": lambda: BaseExceptionGroup("several", [ValueError("a"), KeyboardInterrupt()]),
    "retry": lambda: Retry(delay=5, count=False),
    "retry-counted": lambda: Retry(),
    "reject": lambda: Reject("bad address"),
    "timeout": lambda: TaskTimeout(),
    "cancelled": lambda: TaskCancelled(),
}


@app.task(name="ok", backoff=Backoff(jitter=False))
def ok(value: Any = None) -> Any:
    return value


@app.task(name="aok")
async def aok(value: Any = None) -> Any:
    await asyncio.sleep(0)
    return value


@app.task(name="end", backoff=Backoff(initial=2, jitter=False))
def end(how: str) -> None:
    raise ENDINGS[how]()


@app.task(name="aend", backoff=Backoff(initial=2, jitter=False))
async def aend(how: str) -> None:
    await asyncio.sleep(0)
    raise ENDINGS[how]()


@app.task(name="recurse", retries=0)
def recurse() -> None:
    recurse()


@app.task(name="unpackable")
def unpackable(size: int = 0) -> object:
    return "x" * size if size else object()


@app.task(name="leak")
def leak() -> str:
    before = LEAK.get()
    LEAK.set("dirty")
    return before


@app.task(name="who")
def who() -> list[Any]:
    me = current_job()
    me.progress(1, 2)
    return [me.id, me.task, me.queue, me.attempt, me.token, dict(me.headers), me.deadline]


@pytest.fixture(params=[1, 2], ids=["serial", "concurrent"])
def child(request: pytest.FixtureRequest) -> Iterator[OneChild]:
    with one_child(app, request.param) as found:
        yield found


def value_of(packed: bytes | None) -> Any:
    assert packed is not None
    return app.codec.unpack(packed)


@pytest.mark.parametrize("task", [ok, aok])
def test_a_task_that_returns_succeeds_with_its_result(child: OneChild, task: Any) -> None:
    outcome = child.one(task.options(retention=7).message((1, "two")))
    assert (outcome.kind, outcome.started, outcome.retention) == (OutcomeKind.SUCCEEDED, True, 7)
    assert value_of(outcome.result) == (1, "two")
    assert 0 < outcome.ran < 5


@pytest.mark.parametrize("task", [end, aend])
@pytest.mark.parametrize("how", ENDINGS)
def test_no_ending_of_a_job_is_the_end_of_the_child(child: OneChild, task: Any, how: str) -> None:
    child.give(task.message(how))
    child.give(ok.message("after"))
    bad, after = sorted(child.run(), key=lambda outcome: outcome.number)
    assert bad.kind is not OutcomeKind.SUCCEEDED
    assert value_of(after.result) == "after"


@pytest.mark.parametrize("task", [end, aend])
def test_an_exception_is_retried_and_told_with_the_users_own_frames(
    child: OneChild, task: Any
) -> None:
    outcome = child.one(task.message("value"), failures=1, attempts=4)
    kind, blame = OutcomeKind.RETRY, Blame.FAILURE
    assert (outcome.kind, outcome.blame, outcome.delay, outcome.reason) == (kind, blame, 4.0, None)
    error = error_of(outcome)
    assert (error.type, error.message, error.attempt) == ("builtins.ValueError", "no", 5)
    assert f"in {task.name}" in error.traceback
    assert "taskrunner/worker" not in error.traceback


def test_the_last_retry_is_the_last(child: OneChild) -> None:
    outcome = child.one(end.message("value"), failures=3)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "error")


def test_only_what_retry_on_names_is_retried(child: OneChild) -> None:
    assert child.one(end.message("exit")).kind is OutcomeKind.FAILED
    fussy = end.options(retry_on=("builtins.SystemExit",))
    assert child.one(fussy.message("exit")).kind is OutcomeKind.RETRY
    assert child.one(fussy.message("value")).kind is OutcomeKind.FAILED


def test_retry_and_reject_are_the_tasks_own_decisions(child: OneChild) -> None:
    outcome = child.one(end.message("retry"), failures=99)
    assert (outcome.kind, outcome.delay, outcome.blame) == (OutcomeKind.RETRY, 5.0, Blame.NOBODY)
    assert outcome.error is None
    outcome = child.one(end.message("retry-counted"))
    assert (outcome.kind, outcome.delay, outcome.blame) == (OutcomeKind.RETRY, 2.0, Blame.FAILURE)
    outcome = child.one(end.message("retry-counted"), failures=3)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "error")
    outcome = child.one(end.message("reject"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "rejected")
    assert error_of(outcome).message == "bad address"


def test_a_timeout_is_retried_whatever_retry_on_says(child: OneChild) -> None:
    fussy = end.options(retry_on=(KeyError,))
    assert child.one(fussy.message("timeout")).kind is OutcomeKind.RETRY
    outcome = child.one(fussy.message("timeout"), failures=3)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "timeout")
    assert "timeout" in error_of(outcome).message
    assert child.one(end.message("cancelled")).kind is OutcomeKind.CANCELLED


@pytest.mark.parametrize("how", ["hostile-text", "hostile-parts", "huge", "surrogate"])
def test_an_error_that_cannot_be_shown_still_says_what_it_is(child: OneChild, how: str) -> None:
    error = error_of(child.one(end.message(how), failures=3))
    assert error.type.endswith(type(ENDINGS[how]()).__name__)
    assert len(error.message.encode()) <= 4100
    assert 0 < len(error.traceback.encode()) <= 2000


def test_a_long_traceback_keeps_both_ends(child: OneChild) -> None:
    outcome = child.one(recurse.message())
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "error")
    text = error_of(outcome).traceback
    assert text.startswith("Traceback")
    assert "RecursionError" in text[-200:]


def test_a_result_that_cannot_be_kept_fails_naming_type_or_size(child: OneChild) -> None:
    outcome = child.one(unpackable.message())
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "result")
    assert "object" in error_of(outcome).message
    outcome = child.one(unpackable.message(2000))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "result")
    assert "2003 bytes" in error_of(outcome).message


def hostile_header(**fields: Any) -> bytes:
    header: bytes = msgpack.packb({"t": "ok", **fields})
    body: bytes = msgpack.packb(ok.message().body)
    return b"\x93\x01" + header + body


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"", "unreadable"),
        (b"\xff\x00garbage", "unreadable"),
        (msgpack.packb([9, {"t": "ok"}, b""]), "unreadable"),
        (hostile_header(bo=[-5, 0, -1, True]), "unreadable"),
        (replace(ok.message(), body=b"\xc1").wire, "unreadable"),
        (replace(ok.message(), body=b"\x93\x01\x02\x80").wire, "arguments"),
        (replace(ok.message(), body=b"\x91\x81\xa1z\x01").wire, "arguments"),
    ],
)
def test_bad_bytes_fail_their_own_job(child: OneChild, wire: bytes, reason: str) -> None:
    outcome = child.one(wire)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, reason)
    assert not outcome.started
    assert error_of(outcome).message


def test_a_task_that_is_not_here_waits_under_its_name(child: OneChild) -> None:
    outcome = child.one(msgpack.packb([1, {"t": "later"}, b"\x91\x80"]))
    assert (outcome.kind, outcome.park_key) == (OutcomeKind.PARKED, "task:later")
    assert not outcome.started


def test_expires_and_deadline_hold_right_up_to_the_start(child: OneChild) -> None:
    message: Message = ok.message()
    outcome = child.one(message, arrived_ago=2.0, expires_in=1.9)
    assert (outcome.kind, outcome.started) == (OutcomeKind.EXPIRED, False)
    outcome = child.one(message, arrived_ago=2.0, deadline_in=1.9)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "deadline")
    assert not outcome.started
    outcome = child.one(message, arrived_ago=2.0, expires_in=60.0, deadline_in=1e12)
    assert outcome.kind is OutcomeKind.SUCCEEDED


def test_what_a_task_sets_in_its_context_does_not_reach_the_next(child: OneChild) -> None:
    assert [value_of(child.one(leak.message()).result) for _ in range(2)] == ["clean", "clean"]


def test_a_task_sees_itself_as_current_job(child: OneChild) -> None:
    number = child.give(who.options(headers={"k": "v"}).message(), attempts=2)
    (outcome,) = child.run()
    seen = value_of(outcome.result)
    assert seen == [f"job-{number}", "who", "q", 3, f"node:{number}", {"k": "v"}, None]
    assert [told for told, _ in child.progress] == [number]
