from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest

from taskrunner import App, ErrorInfo, Job, Progress, State
from taskrunner.backends.base import ResultKey, StoredResult
from taskrunner.backends.memory import MemoryBackend
from taskrunner.brokers.base import JobKey, Note, OutcomeKind
from taskrunner.errors import (
    AmbiguousJob,
    BrokerUnavailable,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    OptionError,
    ResultExpired,
    ResultTimeout,
)
from taskrunner.testing.waiting import eventually
from tests.unit.one_node import OneNode


@pytest.fixture
def app() -> App:
    app = App("memory://")
    app.task(name="add", retries=7, timeout=30, headers={"h": "1"})(add)
    return app


def add(x: int, y: int = 0) -> Any: ...


# -- results


@pytest.mark.parametrize("value", [None, 5, (1, {2}), b"", False])
def test_a_result_is_what_the_task_returned(app: App, value: Any) -> None:
    job = app.enqueue("add", (1,))
    OneNode(app).succeed(value)
    assert job.result(timeout=0) == value
    assert asyncio.run(job.aresult(timeout=0)) == value


def test_a_result_is_waited_for_and_comes_by_notification(app: App) -> None:
    job = app.enqueue("add", (1,))
    node = OneNode(app)
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(job.result(timeout=20)))
    waiting.start()
    eventually(lambda: app.waiter._waits)
    node.succeed("done")
    waiting.join(4.0)  # well before the next look: only a bell can be so quick
    assert found == ["done"]
    app.close()


def test_aresult_waits_too_and_many_at_once(app: App) -> None:
    jobs = [app.enqueue("add", (n,)) for n in range(20)]
    node = OneNode(app)

    async def wait() -> list[Any]:
        waits = [asyncio.create_task(job.aresult(timeout=20)) for job in jobs]
        while len(app.waiter._waits) < 20:
            await asyncio.sleep(0.001)
        for delivery in [*node.fetch(), *node.fetch()]:
            packed = app.codec.pack(delivery.id)
            node.settle(delivery, OutcomeKind.SUCCEEDED, result=packed)
        return await asyncio.gather(*waits)

    assert asyncio.run(wait()) == [job.id for job in jobs]
    assert not app.waiter._waits
    app.close()


def test_a_wait_that_takes_too_long_says_so(app: App) -> None:
    job = app.enqueue("add", (1,))
    with pytest.raises(ResultTimeout, match=r"within 0.01 seconds; it is pending") as caught:
        job.result(timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.job_id == job.id
    with pytest.raises(ResultTimeout):
        job.result(timeout=timedelta(milliseconds=1))
    with pytest.raises(ResultTimeout):
        asyncio.run(job.aresult(timeout=0.01))
    app.close()


def test_a_job_that_ends_just_as_the_time_is_up_has_still_ended(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = app.enqueue("add", (1,))

    def too_late(*_: Any) -> bool:
        OneNode(app).succeed("in time")
        return False

    monkeypatch.setattr(app.waiter, "wait", too_late)
    assert job.result(timeout=1) == "in time"


def test_an_outage_at_the_end_of_the_wait_is_a_timeout_that_says_so(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = app.enqueue("add", (1,))

    def away(*_: Any) -> Any:
        raise BrokerUnavailable("nobody at home")

    def too_late(*_: Any) -> bool:
        monkeypatch.setattr(type(app.broker), "get", away)
        return False

    monkeypatch.setattr(app.waiter, "wait", too_late)
    with pytest.raises(ResultTimeout, match="nobody at home"):
        job.result(timeout=1)


@pytest.mark.parametrize("timeout", [-1, True, "1", float("nan")])
def test_a_timeout_that_is_none_is_refused(app: App, timeout: Any) -> None:
    with pytest.raises(OptionError, match="timeout="):
        app.enqueue("add", (1,)).result(timeout=timeout)


def test_a_failure_carries_the_remote_error(app: App) -> None:
    job = app.enqueue("add", (1,))
    OneNode(app).fail(ErrorInfo("shop.NoMoney", "only 5", "Traceback: here", 1, 2.0))
    with pytest.raises(JobFailed, match=r"shop.NoMoney: only 5") as caught:
        job.result(timeout=1)
    error = caught.value
    assert (error.error_type, error.error_message, error.remote_traceback, error.reason) == (
        "shop.NoMoney",
        "only 5",
        "Traceback: here",
        "error",
    )
    assert "Traceback: here" in str(error)
    assert error.job_id == job.id


def test_a_failure_without_an_exception_carries_its_reason(app: App) -> None:
    job = app.enqueue("add", (1,))
    OneNode(app).fail(None, reason="crashed")
    with pytest.raises(JobFailed, match="crashed") as caught:
        job.result(timeout=1)
    assert (caught.value.error_type, caught.value.reason) == ("crashed", "crashed")


def test_a_cancelled_and_an_expired_job_say_so(app: App) -> None:
    job = app.enqueue("add", (1,))
    assert job.cancel() is True
    with pytest.raises(JobCancelled):
        job.result(timeout=1)
    job = app.enqueue("add", (1,), expires=0)
    OneNode(app).fetch()
    with pytest.raises(JobExpired):
        job.result(timeout=1)


def test_a_result_that_was_not_kept_is_told_from_a_job_that_never_was(app: App) -> None:
    job = app.enqueue("add", (1,))
    OneNode(app).succeed(5, retention=0)
    with pytest.raises(ResultExpired):
        job.result(timeout=1)
    with pytest.raises(JobNotFound):
        app.job(job.id, queue="default").result(timeout=1)


def test_a_separate_backend_answers_for_the_winning_delivery_only() -> None:
    backend = MemoryBackend()
    app = App("memory://", backend=backend)
    job = app.enqueue("add", (1,))
    node = OneNode(app)
    delivery = node.take()
    won = ResultKey(delivery.queue, delivery.id, "node", delivery.number)
    fenced = won._replace(number=delivery.number + 1)
    backend.store(
        [
            StoredResult(won, app.codec.pack("won"), 60.0),
            StoredResult(fenced, app.codec.pack("fenced"), 60.0),
        ]
    )
    node.settle(delivery, OutcomeKind.SUCCEEDED)
    assert job.result(timeout=1) == "won"
    backend.remove([won])
    with pytest.raises(ResultExpired):
        job.result(timeout=1)


# -- cancel


def test_cancel_of_a_finished_job_is_false(app: App) -> None:
    job = app.enqueue("add", (1,))
    OneNode(app).succeed()
    assert job.cancel() is False
    assert asyncio.run(job.acancel()) is False


def test_cancel_of_an_active_job_marks_it(app: App) -> None:
    job = app.enqueue("add", (1,))
    OneNode(app).take()
    assert job.cancel() is True
    assert (job.state(), job.info().cancelling) == (State.ACTIVE, True)


# -- handles by id


def test_a_handle_by_id_finds_its_queue(app: App) -> None:
    made = app.enqueue("add", (1,), queue="somewhere")
    handle = app.job(made.id)
    assert repr(handle) == f"<Job {made.id}>"
    assert handle.queue == "somewhere"
    assert handle.state() is State.PENDING
    assert handle == made
    assert len({handle, made}) == 1


def test_an_id_in_two_queues_is_ambiguous_until_the_queue_is_named(app: App) -> None:
    for queue in ("a", "b"):
        app.enqueue("add", (1,), queue=queue, job_id="same")
    with pytest.raises(AmbiguousJob) as caught:
        app.job("same").state()
    assert caught.value.queues == ("a", "b")
    assert app.job("same", queue="b").queue == "b"
    assert app.job("same", queue="a").cancel()


def test_a_handle_is_made_without_asking_and_says_later_that_there_is_no_job(app: App) -> None:
    for handle in (app.job("nobody"), app.job("nobody", queue="default")):
        for ask in (handle.state, handle.info, handle.cancel, handle.result):
            with pytest.raises(JobNotFound, match="nobody"):
                ask()
    assert isinstance(app.job("nobody"), Job)


def test_a_handle_on_what_is_no_id_or_queue_is_refused(app: App) -> None:
    with pytest.raises(OptionError, match="id=5"):
        app.job(5)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="queue="):
        app.job("a", queue="{}")


# -- info


def test_info_of_a_job_that_waits(app: App) -> None:
    eta = datetime.now(UTC) + timedelta(hours=1)
    job = app.enqueue("add", (1,), {"y": 2}, eta=eta, expires=7200, priority=8, retries=2)
    info = job.info()
    assert (info.id, info.task, info.queue, info.priority) == (job.id, "add", "default", 8)
    assert (info.args, info.kwargs, info.unreadable) == ((1,), {"y": 2}, None)
    assert (info.state, info.attempt, info.crashes) == (State.SCHEDULED, 0, 0)
    assert (info.retries, info.timeout, info.headers) == (2, 30, {"h": "1"})
    assert info.eta is not None
    assert abs(info.eta - eta) < timedelta(milliseconds=2)
    assert info.created_at.tzinfo is UTC
    assert info.expires_at is not None
    assert abs(info.expires_at - info.created_at - timedelta(hours=2)) < timedelta(seconds=1)
    assert (info.started_at, info.finished_at, info.deadline) == (None, None, None)
    assert (info.progress, info.error, info.errors, info.reason) == (None, None, (), None)


def test_info_of_a_job_that_runs_and_of_one_that_failed(app: App) -> None:
    job = app.enqueue("add", (1,))
    node = OneNode(app)
    delivery = node.take()
    assert job.info().attempt == 0, "delivered, not begun"
    progress = msgpack.packb((3, 10, "resizing"))
    node.broker.note("node", [Note("default", job.id, delivery.number, 77, 1.0, progress)])
    info = job.info()
    assert (info.state, info.attempt, info.node, info.pid) == (State.ACTIVE, 1, "node", 77)
    assert info.progress == Progress(3, 10, "resizing")
    assert info.started_at is not None
    error = ErrorInfo("a.B", "text", "trace", 1, 5.0)
    node.settle(delivery, OutcomeKind.FAILED, error=error.pack(), reason="error")
    info = job.info()
    assert (info.state, info.attempt, info.reason) == (State.FAILED, 1, "error")
    assert info.error == error
    assert info.errors == (error,)
    assert info.finished_at is not None


def test_arguments_that_cannot_be_read_do_not_break_info(app: App) -> None:
    class Odd:
        pass

    other = App(app.broker, encoders=[(Odd, lambda _: 1, lambda _: Odd(), "odd")])
    job = other.enqueue("add", (Odd(),))
    info = app.job(job.id).info()
    assert (info.args, info.kwargs) == (None, None)
    assert info.unreadable is not None
    assert "odd" in info.unreadable
    assert (info.task, info.state) == ("add", State.PENDING)


def test_a_message_that_cannot_be_read_does_not_break_info(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = app.enqueue("add", (1,))
    (record,) = app.broker.get([JobKey(job.queue, job.id)])
    assert record is not None
    garbled = replace(record, wire=b"garbage", progress=b"\xc1", errors=(b"\xc1",))
    monkeypatch.setattr(type(app.broker), "get", lambda *_: [garbled])
    info = job.info()
    assert (info.task, info.args, info.progress, dict(info.headers)) == ("", None, None, {})
    assert info.unreadable
    assert info.error is not None
    assert info.error.type == "unreadable"
    assert (info.retries, info.timeout) == (3, None)
    assert job.id in repr(info)


def test_the_async_twins_say_the_same(app: App) -> None:
    job = app.enqueue("add", (1,))

    async def ask() -> tuple[State, str]:
        return await job.astate(), (await job.ainfo()).task

    assert asyncio.run(ask()) == (State.PENDING, "add")
