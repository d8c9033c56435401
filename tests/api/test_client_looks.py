"""What the client is told of limits, schedules and jobs that wait is what the App beside the service says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from taskrunner import State
from taskrunner import errors as e
from taskrunner.brokers.base import LimitState
from taskrunner.client import HttpClient
from taskrunner.client.answers import why_of
from taskrunner.inspector import CauseKind
from taskrunner.limits import Limit, Rate, Scope, ScopeKind
from tests.api.conftest import Site

LATER = datetime(2030, 3, 30, tzinfo=UTC)


def visit(site: Site, plan: Callable[[HttpClient], Awaitable[None]]) -> None:
    """Do something from asyncio."""

    async def go() -> None:
        async with HttpClient(site.url, key="right") as client:
            await plan(client)

    asyncio.run(go())


def test_limits_are_set_seen_and_removed(client: HttpClient, site: Site) -> None:
    limits = client.limits
    assert limits.set("a/b", rate="10/30s burst 3", max_running=2) is False
    assert limits.set("a/b", task="mail.send", rate="none") is False
    assert limits.set("a/b", key=7, max_running=5) is False
    assert limits.set("a/b", key="7", max_running=6) is True
    assert site.app.limits.get("a/b", key=7).set == Limit(None, 6)
    client.enqueue("t", queue="a/b")
    client.enqueue("t", queue="c")
    limits.pause("c", task="t")
    assert len(limits.list("a/b")) == 3
    assert list(limits.list()) == list(site.app.limits.list())
    assert {state.queue for state in limits.list()} == {"a/b", "c"}
    whole = limits.get("a/b")
    assert whole == site.app.limits.get("a/b")
    assert whole.set == Limit(Rate(10, 30.0, 3), 2)
    assert limits.get("a/b", key="other") == LimitState("a/b", Scope(ScopeKind.KEY, "other"))
    assert limits.remove("a/b", task="mail.send") is True
    assert limits.remove("a/b", task="mail.send") is False
    assert site.app.limits.get("a/b", task="mail.send").set is None


def test_what_was_declared_is_told_apart_from_what_was_set(client: HttpClient, site: Site) -> None:
    scope, declared = Scope(ScopeKind.TASK, "t"), Limit(Rate.parse("7/s"), 3)
    site.broker.declare_limits(["q"], {"t": declared})
    client.limits.set("q", task="t", max_running="none")
    found = client.limits.get("q", task="t")
    assert (found.scope, found.declared, found.set) == (scope, declared, Limit(None, "none"))
    assert found == site.app.limits.get("q", task="t")


def test_pauses_by_task_and_for_a_time(client: HttpClient, site: Site) -> None:
    client.limits.pause("q", task="t", seconds=timedelta(minutes=1))
    found = client.limits.get("q", task="t")
    assert found.is_paused
    assert 0 < (found.paused_for or 0) <= 60
    assert not client.limits.get("q").is_paused
    assert client.limits.resume("q", task="t") is True
    assert client.limits.resume("q", task="t") is False
    assert not site.app.limits.get("q", task="t").is_paused


def test_limits_from_asyncio(site: Site) -> None:
    async def plan(client: HttpClient) -> None:
        limits = client.limits
        await client.aenqueue("t", queue="q")
        assert await limits.aset("q", task="t", max_running=2) is False
        assert await limits.aset("q", task="t", max_running=3) is True
        assert (await limits.aget("q", task="t")).set == Limit(None, 3)
        await limits.apause("q")
        assert await limits.alist() == list(site.app.limits.list())
        assert len(await limits.alist("q")) == 2
        assert await limits.aresume("q") is True
        assert await limits.aremove("q", task="t") is True

    visit(site, plan)


def test_limits_that_cannot_be_are_errors_at_the_call() -> None:
    limits = HttpClient("http://nowhere.invalid").limits
    with pytest.raises(e.OptionError, match="needs a rate"):
        limits.set("q")
    with pytest.raises(e.OptionError, match="both given"):
        limits.get("q", task="t", key="k")
    with pytest.raises(e.OptionError, match="queue"):
        limits.list("no queue")
    with pytest.raises(e.OptionError, match="seconds=0"):
        limits.pause("q", seconds=0)


@pytest.mark.parametrize("text", ["100/s", "5/m", "10/30s burst 7", "1000/2h", "1/d burst 2"])
def test_a_rate_is_read_from_its_text(text: str) -> None:
    assert Rate.read(str(Rate.parse(text))) == Rate.parse(text)


def test_a_rate_that_no_operator_would_write_is_read_too() -> None:
    found = Rate.read(str(Rate.of_interval(7 / 3, 2)))
    assert (found.count, found.burst) == (1, 2)
    assert found.interval == pytest.approx(7 / 3, rel=1e-5)
    for text in ("", "fast", "1/fortnight", "1/0s"):
        with pytest.raises(ValueError, match=r"is no rate|could not convert|invalid literal"):
            Rate.read(text)


def test_why_a_job_waits(client: HttpClient, site: Site) -> None:
    job = client.enqueue("t", queue="q")
    client.limits.pause("q")
    found = client.why(job.id)
    assert CauseKind.PAUSED in [cause.kind for cause in found.causes]
    assert (found.id, found.queue, found.task, found.state) == (job.id, "q", "t", State.PENDING)
    assert str(found) == str(site.app.why(job.id, "q"))
    assert found.causes == site.app.why(job.id).causes
    with pytest.raises(e.JobNotFound):
        client.why("nothing")
    with pytest.raises(e.JobNotFound):
        client.why(job.id, "other")


def test_what_a_schedule_did_and_will_do(client: HttpClient, site: Site) -> None:
    client.schedules.add("s", "t", cron="30 2 * * *", timezone="Europe/Berlin", jitter=60)
    assert client.schedules.history("s") == []
    first, second = client.schedules.trigger("s"), client.schedules.trigger("s")
    first.cancel()
    newest, oldest = client.schedules.history("s", count=1000)
    assert (newest.job_id, newest.state, newest.slot) == (second.id, State.PENDING, None)
    assert (oldest.job_id, oldest.outcome) == (first.id, "cancelled")
    assert [newest, oldest] == site.app.schedules.history("s")
    assert client.schedules.history("s", count=1) == [newest]
    slots = client.schedules.forecast("s", count=3, after=LATER)
    assert slots == site.app.schedules.forecast("s", count=3, after=LATER)
    assert [slot.at for slot in slots] == client.schedules.preview("s", count=3, after=LATER)
    for count in (-1, 1.5):
        with pytest.raises(e.OptionError, match="count"):
            client.schedules.history("s", count=count)  # type: ignore[arg-type]
    with pytest.raises(e.ScheduleNotFound):
        client.schedules.history("other")


def test_schedules_from_asyncio(site: Site) -> None:
    async def plan(client: HttpClient) -> None:
        schedules = client.schedules
        await schedules.aadd("s", "t", cron="0 3 * * *")
        made = await schedules.aadd("s", "t", every=timedelta(minutes=1), replace=True)
        assert made["every"] == 60.0
        await schedules.apause("s")
        assert ((await schedules.aget("s")) or {})["paused"] is True
        await schedules.aresume("s")
        assert [one["paused"] for one in await schedules.alist()] == [False]
        job = await schedules.atrigger("s")
        assert [one.job_id for one in await schedules.ahistory("s")] == [job.id]
        (slot,) = await schedules.apreview("s", count=1, after=LATER)
        assert [one.at for one in await schedules.aforecast("s", 1, LATER)] == [slot]
        assert await schedules.aremove("s") is True
        assert await schedules.aremove("s") is False
        assert await schedules.aget("s") is None

    visit(site, plan)


def test_looking_and_changing_many_from_asyncio(site: Site) -> None:
    async def plan(client: HttpClient) -> None:
        jobs = [await client.asubmit(client.message("t", (n,))) for n in range(3)]
        assert [one["queue"] for one in await client.aqueues()] == ["default"]
        assert await client.anodes() == []
        assert (await client.astats())["counts"]["pending"] == 3
        assert (await client.awhy(jobs[0].id)).causes == site.app.why(jobs[0].id).causes
        asked = await client.abulk("delete", {"state": ["pending"]}, dry_run=True)
        assert (asked["matched"], asked["done"]) == (3, 0)
        assert (await client.abulk("delete", {"state": ["pending"]}))["done"] == 3

    visit(site, plan)


def test_one_message_alone_and_another_time_for_it(client: HttpClient) -> None:
    job = client.submit(client.message("t", (1,), priority=9, delay=60))
    assert (job.info().args, job.info().priority) == ((1,), 9)
    with pytest.raises(e.OptionError, match="time zone"):
        client.bulk("reschedule", {"state": ["scheduled"]}, eta=datetime(2030, 1, 1))
    assert client.bulk("reschedule", {"state": ["scheduled"]}, eta=LATER)["done"] == 1
    assert job.info().eta == LATER


def test_a_cause_of_a_later_service_is_told_all_the_same() -> None:
    cause = {"kind": "weather", "text": "it rains", "details": {}}
    said = {"id": "j", "queue": "q", "task": "t", "state": "pending", "causes": [cause]}
    assert str(why_of(said)) == "it rains"
