"""Live events: who hears what, and from where."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from taskrunner import App
from taskrunner import events as e
from taskrunner.access import Scope
from taskrunner.api import feed as feeds
from taskrunner.api.feed import Ear, Feed
from tests.api.conftest import Client
from tests.api.test_jobs import problem


def told(text: str) -> list[tuple[str, str, Any]]:
    """Id, kind and data of each event."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines.get("id", ""), lines["event"], json.loads(lines["data"])))
    return found


def hear(client: Client, last_id: str = "") -> list[tuple[str, str, Any]]:
    """What is told to somebody who comes back."""
    headers = {"last-event-id": last_id} if last_id else {}
    answer = client("GET", "/v1/events", params={"seconds": 0.2}, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return told(answer.text)


def test_whoever_comes_back_gets_what_came_meanwhile(api: Client) -> None:
    feed: Feed = api.api.state.feed
    feed.tell("store", {"away": True})
    ((first, _, _),) = hear(api, f"{feed._boot}-0")
    feed.tell("store", {"away": False})
    feed.tell("queue", {"queue": "a"}, queue="a")
    assert [(kind, data) for _, kind, data in hear(api, first)] == [
        ("store", {"away": False}),
        ("queue", {"queue": "a"}),
    ]
    assert hear(api) == []


def test_what_is_no_longer_known_is_said(api: Client, monkeypatch: Any) -> None:
    feed: Feed = api.api.state.feed
    for n in range(feeds.KEPT + 5):
        feed.tell("store", {"n": n})
    for last_id in (f"{feed._boot}-3", "elsewhere-5", "nonsense", f"{feed._boot}-{10**9}"):
        assert [kind for _, kind, _ in hear(api, last_id)] == ["missed"], last_id
    assert len(hear(api, f"{feed._boot}-{feeds.KEPT + 4}")) == 1


def test_nobody_hears_what_is_out_of_reach(api: Client, app: App) -> None:
    mine = api.known_as(Scope.READ, queues=("a",), tasks=("t",))
    mine.api = api.api
    feed: Feed = api.api.state.feed
    start = f"{feed._boot}-0"
    feed.tell("fleet", {"node": "n1", "has": "joined"})
    feed.tell("queue", {"queue": "b"}, queue="b")
    feed.tell("run", {"task": "u"}, queue="a", task="u")
    feed.hear(e.RunFailed("j", "t", "a", "Oops: secret", None))
    ((_, kind, data),) = hear(mine, start)
    assert (kind, data["event"], data["job_id"], data["error"]) == ("node", "RunFailed", "j", None)
    assert len(hear(api, start)) == 4
    problem(api.known_as(Scope.SUBMIT).get("/v1/events"), 403)


def test_a_look_tells_what_has_changed(app: App) -> None:
    feed = Feed(app)
    feed.look()
    app.enqueue("t", queue="q")
    feed.look()
    feed.look()
    (item,) = feed.after(0)
    assert (item.kind, item.queue, item.data["counts"]["pending"]) == ("queue", "q", 1)
    with app.running(threads=1):
        feed.look()
    feed.look()
    kinds = [(item.kind, item.data.get("has")) for item in feed.after(0)]
    assert ("fleet", "joined") in kinds
    assert ("fleet", "left") in kinds


def test_runs_are_told_of_while_somebody_listens(app: App) -> None:
    async def listen() -> None:
        feed = Feed(app)
        ran = e.Ran("q", "t", "j", "succeeded", 0.1, is_first=True)
        feed.ran([ran])
        ear = Ear(feed, 0)
        feed.ran([ran])
        (item,) = await ear.next(10)
        assert (item.kind, item.data["job_id"]) == ("run", "j")
        assert await ear.next(0.01) == []
        ear.leave()
        feed.close()
        assert await Ear(feed, 1).next(10) == []

    asyncio.run(listen())
