"""`app.limits`: what can be said, and what is answered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from taskrunner import App
from taskrunner.errors import DeclarationError, OptionError
from taskrunner.limits import NONE, Limit, Rate, Scope, ScopeKind


@pytest.fixture
def app() -> Iterator[App]:
    app = App("memory://")
    app.enqueue("t", job_id="a")
    yield app
    app.close()


def test_what_is_set_is_answered_and_listed_until_it_is_removed(app: App) -> None:
    assert not app.limits.set("default", task="t", rate="5/m", max_running=2)
    assert app.limits.set("default", task="t", rate="6/m", max_running=NONE)
    state = app.limits.get("default", task="t")
    assert state.set == Limit(Rate.parse("6/m"), NONE)
    assert state.holds == Limit(Rate.parse("6/m"), None)
    assert app.limits.list() == app.limits.list("default") == [state]
    assert app.limits.remove("default", task="t")
    assert not app.limits.remove("default", task="t")
    assert app.limits.get("default", task="t").holds == Limit()
    assert list(app.limits.list()) == []


def test_a_queue_a_task_and_a_key_are_different_scopes(app: App) -> None:
    scopes: list[dict[str, Any]] = [{}, {"task": "x"}, {"key": "x"}, {"key": 7}]
    for scope in scopes:
        app.limits.set("default", max_running=1, **scope)
    assert [state.scope for state in app.limits.list()] == sorted(
        [
            Scope(ScopeKind.QUEUE),
            Scope(ScopeKind.TASK, "x"),
            Scope(ScopeKind.KEY, "x"),
            Scope(ScopeKind.KEY, "7"),
        ]
    )


def test_a_pause_is_told_with_its_time(app: App) -> None:
    app.limits.pause("default", seconds=timedelta(minutes=1))
    state = app.limits.get("default")
    assert state.is_paused
    assert 59 < (state.paused_for or 0) <= 60
    app.limits.pause("default")
    assert app.limits.get("default").paused_for is None
    assert app.limits.resume("default")
    assert not app.limits.resume("default")


def test_each_has_a_twin_for_asyncio(app: App) -> None:
    async def use() -> None:
        await app.limits.aset("default", key="k", rate="1/s")
        assert (await app.limits.aget("default", key="k")).holds.rate == Rate.parse("1/s")
        assert len(await app.limits.alist()) == 1
        await app.limits.apause("default", key="k", seconds=60)
        assert await app.limits.aresume("default", key="k")
        assert await app.limits.aremove("default", key="k")

    asyncio.run(use())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "a rate, a max_running or both"),
        ({"rate": "0/s"}, "rate='0/s'"),
        ({"rate": "fast"}, "rate='fast'"),
        ({"max_running": 0}, "max_running=0"),
        ({"max_running": "2"}, "max_running='2'"),
        ({"rate": "1/s", "task": "t", "key": "k"}, "task and key were both given"),
        ({"rate": "1/s", "key": b"k"}, "key=b'k'"),
    ],
)
def test_bad_limits_change_nothing(app: App, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        app.limits.set("default", **options)
    assert list(app.limits.list()) == []


@pytest.mark.parametrize("seconds", [0, -1, math.inf, "60", True])
def test_bad_pauses_change_nothing(app: App, seconds: Any) -> None:
    with pytest.raises(OptionError, match="seconds="):
        app.limits.pause("default", seconds=seconds)
    assert list(app.limits.list()) == []


def test_what_cannot_be_a_queue_or_a_task_is_refused(app: App) -> None:
    with pytest.raises(OptionError, match="queue="):
        app.limits.pause("a b")
    with pytest.raises(DeclarationError, match="name="):
        app.limits.pause("default", task="a b")
