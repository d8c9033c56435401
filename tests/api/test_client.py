"""The client, over a real connection."""

from __future__ import annotations

import asyncio
import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner import Backoff, ErrorInfo, State
from taskrunner import errors as e
from taskrunner.client import HttpClient
from taskrunner.client.answers import error_of
from tests.api.conftest import Site
from tests.unit.one_node import OneNode


def test_a_job_from_its_submission_to_its_result(client: HttpClient, site: Site) -> None:
    job = client.enqueue(
        "mail.send",
        args=(1, [2.5, None]),
        kwargs={"x": {"y": "z"}},
        priority=9,
        expires=timedelta(hours=1),
        backoff=Backoff(initial=2.0),
        retry_on=[OSError],
        headers={"h": "1"},
    )
    info = job.info()
    assert (info.task, info.args, info.kwargs) == ("mail.send", (1, [2.5, None]), {"x": {"y": "z"}})
    assert (info.priority, info.headers, info.state) == (9, {"h": "1"}, State.PENDING)
    assert info.expires_at is not None
    assert info.expires_at > datetime.now(UTC)
    assert site.app.job(job.id).info().record.priority == 9
    with pytest.raises(e.ResultTimeout):
        job.result(timeout=0.05)
    node = OneNode(site.app)
    timer = threading.Timer(0.2, lambda: node.succeed({"n": 1}))
    timer.start()
    assert job.result(timeout=25) == {"n": 1}
    timer.join()
    assert job.state() is State.SUCCEEDED
    assert job.cancel() is False


def test_the_same_from_asyncio(site: Site) -> None:
    async def visit(client: HttpClient) -> None:
        job = await client.aenqueue("t", args=(1,))
        assert await job.astate() is State.PENDING
        assert await job.acancel() is True
        with pytest.raises(e.JobCancelled):
            await job.aresult(timeout=5)
        assert await job.aretry() is True
        jobs = await client.aenqueue_many([client.message("t", (n,)) for n in range(3)])
        assert all(one.accepted for one in jobs)
        page = await client.ajobs(state=["pending"], limit=10)
        assert len(page.jobs) == 4
        await client.aclose()

    for _ in range(2):
        client = HttpClient(site.url, key="right")
        asyncio.run(visit(client))
        client.bulk("delete", {"state": ["pending"]})
        client.close()


def test_many_with_an_answer_for_each(client: HttpClient) -> None:
    client.enqueue("t", job_id="taken")
    messages = [client.message("t", job_id="taken"), client.message("t", delay=60)]
    first, second = client.enqueue_many(messages)
    assert isinstance(first.rejection, e.DuplicateJob)
    assert first.rejection.job_id == "taken"
    assert second.accepted
    assert second.info().eta is not None


def test_failures_carry_what_went_wrong(client: HttpClient, site: Site) -> None:
    job = client.enqueue("t")
    OneNode(site.app).fail(ErrorInfo("app.Oops", "bad", "Traceback: theirs", 1))
    with pytest.raises(e.JobFailed) as failed:
        job.result(timeout=5)
    assert (failed.value.error_type, failed.value.error_message) == ("app.Oops", "bad")
    assert failed.value.remote_traceback == "Traceback: theirs"


def test_errors_are_those_of_the_app(client: HttpClient, site: Site) -> None:
    client.enqueue("t", job_id="j", queue="a")
    client.enqueue("t", job_id="j", queue="b")
    with pytest.raises(e.AmbiguousJob) as ambiguous:
        client.job("j").info()
    assert list(ambiguous.value.queues) == ["a", "b"]
    assert client.job("j", "a").state() is State.PENDING
    with pytest.raises(e.JobNotFound):
        client.job("nothing").info()
    with pytest.raises(e.DuplicateJob):
        client.enqueue("t", job_id="j", queue="a")
    with pytest.raises(e.OptionError, match="cursor"):
        client.jobs(cursor="x")
    with HttpClient(site.url, key="wrong") as wrong, pytest.raises(e.NotAuthenticated):
        wrong.stats()


@pytest.mark.parametrize(
    ("args", "options", "kind", "text"),
    [
        (({1: 2},), {}, e.ArgumentError, r"args\[0\] has the key 1"),
        ((datetime.now(UTC),), {}, e.ArgumentError, r"args\[0\] is of type datetime"),
        (([float("nan")],), {}, e.ArgumentError, r"args\[0\]\[0\] is nan"),
        ((), {"priority": 10}, e.OptionError, "priority=10"),
        ((), {"nonsense": 1}, e.OptionError, "nonsense"),
    ],
)
def test_what_cannot_be_sent_is_an_error_at_the_call(
    args: Any, options: Any, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        HttpClient("http://nowhere.invalid").enqueue("t", args, **options)


def test_schedules(client: HttpClient) -> None:
    made = client.schedules.add("s", "t", args=(1,), cron="0 3 * * *", timezone="Europe/Berlin")
    assert made["cron"] == "0 3 * * *"
    after = datetime(2030, 1, 1, tzinfo=UTC)
    (slot,) = client.schedules.preview("s", count=1, after=after)
    assert slot == datetime(2030, 1, 1, 2, tzinfo=UTC)
    client.schedules.pause("s")
    assert client.schedules.get("s")["paused"]  # type: ignore[index]
    client.schedules.resume("s")
    assert client.schedules.trigger("s").state() is State.PENDING
    client.schedules.add("s", "t", every=timedelta(minutes=1), replace=True)
    assert [one["every"] for one in client.schedules.list()] == [60.0]
    assert client.schedules.remove("s") is True
    assert client.schedules.remove("s") is False
    assert client.schedules.get("s") is None
    with pytest.raises(e.ScheduleNotFound):
        client.schedules.pause("s")


def test_an_answer_that_was_lost_is_asked_for_again_where_that_is_safe(
    client: HttpClient, site: Site
) -> None:
    site.door.hang_up = 1
    job = client.enqueue("t", idempotency_key="k")
    assert [info.id for info in client.jobs().jobs] == [job.id]
    site.door.hang_up = 1
    assert client.stats()["queues"] == 1
    site.door.hang_up = 1
    with pytest.raises(e.BrokerUnavailable):
        client.enqueue("t")
    assert site.door.hang_up == 0


def test_a_service_that_is_away() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with HttpClient(url) as client, pytest.raises(e.BrokerUnavailable, match="not answer"):
            client.stats()


def test_answers_of_whatever_stands_in_front() -> None:
    assert isinstance(error_of(502, None, {}), e.BrokerUnavailable)
    flood = error_of(429, "no", {"retry-after": "7"})
    assert isinstance(flood, e.TooManyRequests)
    assert flood.retry_after == 7.0
    hostile = {"type": "urn:taskrunner:problem:TaskInterrupt", "detail": "x"}
    assert type(error_of(400, hostile, {})) is e.TaskrunnerError
