"""The guard: no framework is needed to drive it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskrunner.access import guard as guards
from taskrunner.access.door import FAILURES_AT_ONCE
from taskrunner.access.keys import Shown
from taskrunner.access.rules import Rules, waits_on_purpose
from taskrunner.errors import NotAllowed
from tests.unit.access.site import MARK, Answer, Site

Build = Callable[..., Site]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    built: list[Site] = []

    def build(rules: Rules | None = None, *, is_open: bool = False) -> Site:
        built.append(Site(tmp_path, rules, is_open=is_open))
        return built[-1]

    yield build
    for site in built:
        site.auditor.stop()


@pytest.fixture
def site(build: Build) -> Site:
    return build()


def test_who_is_known_gets_in_and_the_service_knows_who(site: Site) -> None:
    answer = site.ask("POST", body=[b"a", b"b"], headers={"x-request-id": "my-id"})
    assert (answer.status, answer.body, site.bodies) == (200, b"ok", [b"ab"])
    state = site.seen[0]["state"]
    assert state["identity"].name == "me"
    assert state["request_id"] == answer.headers["x-request-id"] == "my-id"


@pytest.mark.parametrize("key", [None, "", "trk_x", "ey.x.y", Shown.new().text])
def test_who_is_unknown_is_refused_and_told_no_more(site: Site, key: str | None) -> None:
    answer = site.ask("POST", key=key, body=[b"{}"])
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.problem["status"] == 401
    assert answer.problem["request_id"]
    assert not key or key not in answer.body.decode() + str(answer.headers)
    assert site.seen == []
    assert site.audited() == []


def test_paths_that_anybody_may_ask_for(build: Build) -> None:
    site = build(Rules(public=frozenset({"/healthz"})))
    assert site.ask(path="/healthz", key=None).status == 200
    assert site.ask(path="/healthz/../v1/jobs", key=None).status == 401
    assert site.ask(path="/healthz/", key=None).status == 401


def test_a_flood_of_guesses(site: Site) -> None:
    codes = [site.ask(key=Shown.new().text).status for _ in range(FAILURES_AT_ONCE + 1)]
    assert codes == [401] * FAILURES_AT_ONCE + [429]
    answer = site.ask(key=Shown.new().text)
    assert int(answer.headers["retry-after"]) >= 1
    assert site.ask(key=Shown.new().text, address="10.0.0.2").status == 401


def test_a_flood_of_one_identity(build: Build) -> None:
    site = build(Rules(request_rate=5))
    other = site.store.create("other", ["admin"]).text
    assert [site.ask().status for _ in range(6)] == [200] * 5 + [429]
    assert site.ask().headers["retry-after"] == "1"
    assert site.ask(key=other).status == 200
    site.clock.advance(0.2)
    assert [site.ask().status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("announced", [{"content-length": "11"}, {}])
def test_bodies_that_are_too_large(build: Build, announced: dict[str, str]) -> None:
    site = build(Rules(request_limit_bytes=10))
    assert site.ask("POST", body=[b"12345", b"67890"]).status == 200
    answer = site.ask("POST", body=[b"12345", b"678901"], headers=announced)
    assert answer.status == 413
    assert "10 bytes" in answer.problem["detail"]
    assert len(site.bodies) == 1
    answer = site.ask("POST", headers={"content-length": "11"}, endless=True)
    assert answer.status == 413, "it is not waited for what will be too much"


def test_a_body_that_does_not_come(build: Build) -> None:
    site = build(Rules(body_timeout_s=0.05))
    answer = site.ask("POST", body=[b"{"], endless=True)
    assert answer.status == 408
    assert answer.headers["connection"] == "close"
    assert site.seen == []


def test_a_body_that_breaks_off_reaches_nobody(site: Site) -> None:
    async def run() -> None:
        messages = [
            {"type": "http.request", "body": b"[1", "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            raise AssertionError("nobody is there")

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "headers": [(b"x-api-key", site.key.encode())],
        }
        await site.guard(scope, receive, send)

    asyncio.run(run())
    assert site.seen == []


def test_a_service_that_takes_too_long(build: Build) -> None:
    site = build(Rules(request_timeout_s=0.05))
    site.does = lambda scope: asyncio.get_running_loop().create_future()
    answer = site.ask("POST")
    assert answer.status == 504
    assert "may have been done" in answer.problem["detail"]
    assert [entry["status"] for entry in site.audited()] == [504]


def test_a_service_that_fails_says_nothing_of_itself(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(scope: Any) -> None:
        raise RuntimeError(MARK)

    site.does = fail
    answer = site.ask("DELETE")
    assert answer.status == 500
    assert MARK not in answer.body.decode()
    assert MARK in caplog.text
    assert [entry["outcome"] for entry in site.audited()] == ["failed"]


def test_a_store_that_is_away(site: Site) -> None:
    site.broker.is_away = True
    answer = site.ask()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert MARK not in answer.body.decode()


def test_forbidden_by_the_service(site: Site) -> None:
    async def forbid(scope: Any) -> None:
        scope["state"]["audit"].action = "jobs.cancel"
        scope["state"]["audit"].queue = "mail"
        raise NotAllowed("not you")

    site.does = forbid
    assert site.ask("POST").problem["detail"] == "not you"
    (entry,) = site.audited()
    assert (entry["status"], entry["outcome"], entry["action"]) == (403, "refused", "jobs.cancel")
    assert (entry["queue"], entry["name"], entry["address"]) == ("mail", "me", "10.0.0.1")


def test_every_change_is_audited_and_no_look_is(site: Site) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        site.ask(method, "/v1/x")
    found = [entry["action"] for entry in site.audited()]
    assert found == [f"{method} /v1/x" for method in ("POST", "PUT", "PATCH", "DELETE")]
    assert site.key not in site.path.read_text()


def test_headers_for_browsers(site: Site) -> None:
    plain, secure = site.ask(), site.ask(scheme="https")
    for answer in (plain, secure, site.ask(key=None)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
    assert "strict-transport-security" in secure.headers
    assert "strict-transport-security" not in plain.headers


# -- requests that wait


def test_so_many_may_wait_and_no_more(build: Build) -> None:
    site = build(Rules(waits=3, waits_each=2))
    other = site.store.create("other", ["admin"]).text
    third = site.store.create("third", ["admin"]).text

    async def run() -> list[Answer]:
        gate = asyncio.Event()
        site.does = lambda scope: gate.wait()
        wait: dict[str, Any] = {"query": b"wait=5"}
        first = [asyncio.create_task(site.aask(**wait)) for _ in range(2)]
        while len(site.seen) < 2:
            await asyncio.sleep(0)
        refused = [await asyncio.wait_for(site.aask(**wait), 20)]
        first.append(asyncio.create_task(site.aask(path="/v1/events", key=other)))
        while len(site.seen) < 3:
            await asyncio.sleep(0)
        refused.append(await asyncio.wait_for(site.aask(key=third, **wait), 20))
        gate.set()
        answers = [*await asyncio.gather(*first), await site.aask(**wait)]
        return refused + answers

    answers = asyncio.run(run())
    assert [one.status for one in answers] == [429, 429, 200, 200, 200, 200]
    assert "retry-after" in answers[0].headers
    assert not site.guard._waits


def test_a_stream_ends_when_its_key_is_revoked(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "FRESH_S", 0.02)
    site = build()
    ended = []

    async def forever(scope: Any) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    async def run() -> Answer:
        site.does, site.streams = forever, True
        task = asyncio.create_task(site.aask(path="/v1/events"))
        while not site.seen:
            await asyncio.sleep(0)
        site.broker.is_away = True
        site.clock.advance(5)
        await asyncio.wait({task}, timeout=0.2)
        assert not task.done(), "a store that is away revokes nothing"
        site.broker.is_away = False
        site.store.revoke(Shown.parse(site.key).id)  # type: ignore[union-attr]
        return await asyncio.wait_for(task, 20)

    answer = asyncio.run(run())
    assert ended == [True]
    assert (answer.body, answer.is_whole) == (b"first", True)


def test_an_answer_that_fails_half_way_is_not_made_to_look_whole(site: Site) -> None:
    async def fail(scope: Any) -> None:
        raise RuntimeError

    site.does, site.streams = fail, True
    answer = site.ask("POST")
    assert (answer.status, answer.body, answer.is_whole) == (200, b"first", False)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/v1/events", b"", True),
        ("/v1/jobs/x/result", b"wait=0.5", True),
        ("/v1/jobs/x/result", b"a=b&wait=30", True),
        ("/v1/jobs/x/result", b"wait=0", False),
        ("/v1/jobs/x/result", b"wait=0.0", False),
        ("/v1/jobs/x/result", b"", False),
        ("/v1/jobs", b"wait", False),
    ],
)
def test_which_requests_wait(path: str, query: bytes, expected: bool) -> None:
    assert waits_on_purpose({"path": path, "query_string": query}) is expected


# -- nobody is asked


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "127.0.0.1:80"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "https://good.example"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_an_open_service_is_for_this_machine_alone(
    build: Build, headers: dict[str, str], status: int
) -> None:
    site = build(replace(Rules(), origins=("https://good.example",)), is_open=True)
    assert site.ask("POST", key=None, headers=headers).status == status


def test_the_end_of_a_service_waits_for_its_audit(site: Site) -> None:
    site.ask("POST")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])
        assert len(site.broker.records("audit").records) == 1

    async def nothing() -> Any:
        raise AssertionError

    asyncio.run(site.guard({"type": "lifespan"}, nothing, send))
    assert sent == ["lifespan.shutdown.complete"]


def test_sockets_are_closed(site: Site) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any:
        raise AssertionError

    asyncio.run(site.guard({"type": "websocket"}, nothing, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
