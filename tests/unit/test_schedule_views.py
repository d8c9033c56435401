"""`app.schedules`: what is asked, what is triggered, and the same from asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner import (
    App,
    DuplicateJob,
    OptionError,
    ScheduleNotFound,
    State,
)
from taskrunner.brokers.base import JobKey, OutcomeKind, TickKind
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.cron import Effect
from taskrunner.schedulestore import KIND
from tests.unit.one_node import OneNode
from tests.unit.some_schedules import fire, make_app


@pytest.fixture
def app() -> Iterator[App]:
    app = make_app()
    yield app
    app.close()


@pytest.fixture
def broker(app: App) -> MemoryBroker:
    assert isinstance(app.broker, MemoryBroker)
    return app.broker


# -- looking


def test_a_preview_is_of_aware_datetimes(app: App) -> None:
    app.schedules.add("s", "add", (1,), cron="30 2 * * *", timezone="America/New_York")
    after = datetime(2026, 3, 7, tzinfo=UTC)
    found = app.schedules.preview("s", count=3, after=after)
    assert [at.isoformat() for at in found] == [
        "2026-03-07T02:30:00-05:00",
        "2026-03-08T03:00:00-04:00",
        "2026-03-09T02:30:00-04:00",
    ]
    effects = [slot.effect for slot in app.schedules.forecast("s", 3, after)]
    assert effects == [Effect.NONE, Effect.MISSING, Effect.NONE]
    assert len(app.schedules.preview("s")) == 10
    assert app.schedules.preview("s")[0] > datetime.now(UTC)
    assert app.schedules.preview("s", 0) == []


def test_a_forecast_says_when_jitter_lets_it_start(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60, jitter=30)
    slots = app.schedules.forecast("s", 20)
    assert all(timedelta(0) <= slot.starts - slot.at <= timedelta(seconds=30) for slot in slots)
    assert len({slot.starts - slot.at for slot in slots}) > 10


def test_a_preview_ends_where_the_schedule_does(app: App) -> None:
    start = datetime.now(UTC) + timedelta(minutes=1)
    end = start + timedelta(minutes=3)
    app.schedules.add("s", "add", (1,), every=60, start=start, end=end)
    assert len(app.schedules.preview("s")) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"count": -1},
        {"count": "5"},
        {"count": 10**6},
        {"after": datetime(2026, 1, 1)},
        {"after": 5},
    ],
)
def test_a_bad_preview_is_refused(app: App, arguments: dict[str, Any]) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    with pytest.raises(OptionError, match=r"^(count|after)="):
        app.schedules.preview("s", **arguments)


@pytest.mark.parametrize("method", ["pause", "resume", "trigger", "preview", "history"])
def test_what_is_not_there_is_said_to_be_missing(app: App, method: str) -> None:
    app.schedules.add("cleaning", "add", (1,), every=60)
    with pytest.raises(ScheduleNotFound, match="no schedule 'cleanin': did you mean 'cleaning'"):
        getattr(app.schedules, method)("cleanin")
    assert app.schedules.get("cleanin") is None


def test_history_tells_of_firings_and_their_jobs(app: App) -> None:
    node = OneNode(app, "sums")
    app.schedules.add("s", "add", (1,), every=60, timezone="Asia/Tokyo", overlap="skip")
    slot = float(int(app.broker.now()))
    assert fire(app, slot) is TickKind.SUBMITTED
    assert fire(app, slot + 1, skip_overlap=True) is TickKind.OVERLAP
    assert [one.outcome for one in app.schedules.history("s")] == ["overlap", "pending"]
    node.succeed(5, retention=0)
    triggered = app.schedules.trigger("s")
    node.settle(node.take(), OutcomeKind.FAILED, reason="error")
    newest, skipped, first = app.schedules.history("s")
    assert (newest.outcome, newest.slot, newest.job_id) == ("failed", None, triggered.id)
    assert (skipped.outcome, skipped.job_id, skipped.state) == ("overlap", None, None)
    assert (first.outcome, first.state) == ("succeeded", State.SUCCEEDED)
    assert first.slot == datetime.fromtimestamp(slot, UTC)
    assert str(first.at.tzinfo) == "Asia/Tokyo"
    assert first.ended_at is not None
    assert app.schedules.history("s", 1) == [newest]
    info = app.schedules.get("s")
    assert info is not None
    assert info.last == newest


def test_a_job_whose_end_nobody_knows_is_unknown(app: App, broker: MemoryBroker) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    fire(app, 1000.0)
    broker._queues["sums"].jobs.clear()
    assert [one.outcome for one in app.schedules.history("s")] == ["unknown"]


def test_jobs_that_wait_for_a_node_that_knows_the_task_are_shown(app: App) -> None:
    node = OneNode(app, "sums")
    app.schedules.add("s", "add", (1,), every=60)
    for n in range(2):
        fire(app, 1000.0 + n)
    for delivery in node.fetch():
        node.settle(delivery, OutcomeKind.PARKED, started=False, park_key="task:add", delay=100.0)
    info = app.schedules.get("s")
    assert info is not None
    assert info.waiting == 2


def test_what_cannot_be_read_is_shown_as_such_and_can_be_removed(app: App) -> None:
    app.schedules.add("good", "add", (1,), every=60)
    app.broker.put_record(KIND, "bad", b"\xc1")
    bad, good = app.schedules.list()
    assert (bad.name, good.name, good.problem) == ("bad", "good", None)
    assert bad.problem
    assert bad.problem.startswith("not a schedule")
    with pytest.raises(OptionError, match="cannot be read"):
        app.schedules.preview("bad")
    with pytest.raises(Exception, match="cannot be read"):
        app.schedules.add("bad", "add", (1,), every=60, replace=True)
    assert app.schedules.remove("bad")
    assert app.schedules.get("bad") is None


# -- triggering


def test_a_trigger_submits_one_job_now(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60, overlap="skip")
    app.schedules.pause("s")
    jobs = [app.schedules.trigger("s") for _ in range(2)]
    assert [job.state() for job in jobs] == [State.PENDING] * 2
    assert [job.info().headers for job in jobs] == [{"taskrunner.schedule": "s"}] * 2
    assert app.broker.get([JobKey("sums", jobs[0].id)])[0] is not None


def test_where_all_jobs_share_an_id_there_is_one_at_a_time(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60, job_id="only")
    assert app.schedules.trigger("s").id == "only"
    with pytest.raises(DuplicateJob):
        app.schedules.trigger("s")


# -- from asyncio


def test_every_call_has_a_twin(app: App) -> None:
    async def story() -> None:
        schedules = app.schedules
        made = await schedules.aadd("s", "add", (1,), every=60)
        assert await schedules.aget("s") == made
        assert await schedules.alist() == [made]
        assert len(await schedules.apreview("s", 3)) == 3
        assert len(await schedules.aforecast("s", 3)) == 3
        await schedules.apause("s")
        await schedules.aresume("s")
        job = await schedules.atrigger("s")
        assert [one.job_id for one in await schedules.ahistory("s")] == [job.id]
        assert await schedules.aremove("s")

    asyncio.run(story())
