"""Requests that mean no good: the right 4xx, nothing said of the inside, nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from taskrunner.access import Scope
from tests.api.matrix import QUEUE, SAMPLES, Place
from tests.api.test_front import problem

MARK = "hunter2-marker"


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place(request_limit_bytes=100_000)
    yield place
    place.close()


def state(place: Place) -> Any:
    """Everything there is, but for keys and the audit."""
    broker = place.app.broker
    queues = broker.queues()
    return queues, broker.stats(queues)


BODIES = {
    "no JSON": (b"{", 400),
    "nothing": (b"", 422),
    "no object": (b"[]", 422),
    "a number": (b"5", 422),
    "null": (b"null", 422),
    "text": (b'"x"', 422),
    "bytes": (b"\xff\xfe\x00", 400),
    "a NUL": (b"\x00", 400),
    "deep": (b"[" * 50_000 + b"]" * 50_000, 400),
    "deep inside": (b'{"task": "t", "args": [' + b"[" * 40_000 + b"]" * 40_000 + b"]}", 400),
    "a key too many": (b'{"task": "t", "nothing": 1}', 422),
    "no task": (b'{"queue": "mine"}', 422),
    "a task that is none": (b'{"task": 5}', 422),
    "no name": (b'{"task": ""}', 422),
    "a queue that is none": (b'{"task": "t", "queue": "a b"}', 422),
    "a queue that breaks out": (b'{"task": "t", "queue": "}{x"}', 422),
    "a priority that is none": (b'{"task": "t", "priority": 99}', 422),
    "arguments that are none": (b'{"task": "t", "args": {"a": 1}}', 422),
    "infinity": (b'{"task": "t", "delay": Infinity}', 422),
    "no number": (b'{"task": "t", "delay": NaN}', 422),
    "a long wait": (b'{"task": "t", "delay": 1e300}', 422),
    "a huge number": (b'{"task": "t", "priority": ' + b"9" * 5000 + b"}", 422),
    "a surrogate": (b'{"task": "t", "queue": "\\ud800"}', 422),
    "too much": (b" " * 100_001, 413),
}


@pytest.mark.parametrize("what", BODIES)
def test_bodies(place: Place, what: str) -> None:
    body, status = BODIES[what]
    key = place.key({Scope.ADMIN})
    before = state(place)
    answer = place.ask(
        "POST", "/v1/jobs", key=key, content=body, headers={"content-type": "application/json"}
    )
    assert problem(answer, answer.status_code)
    allowed = {status, 400, 422} if status != 413 else {413}
    assert answer.status_code in allowed
    assert len(answer.content) < 5000
    assert state(place) == before


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs?limit=-1",
        "/v1/jobs?limit=99999999999999999999",
        "/v1/jobs?state=nonsense",
        "/v1/jobs?cursor=nonsense",
        "/v1/jobs?cursor=" + "A" * 9000,
        "/v1/jobs?since=yesterday",
        "/v1/jobs?queue=%00",
        "/v1/jobs/waits?queue=%7D%7B",
        "/v1/jobs/" + "x" * 5000,
        "/v1/jobs/%00",
        "/v1/jobs/%0d%0aset-cookie:x",
        "/v1/jobs/waits/result?wait=-1",
        "/v1/jobs/waits/result?wait=nan",
        "/v1/jobs/waits/result?wait=1e9",
        "/v1/jobs/..%2f..%2fetc",
        "/v1/queues/%ff/stats",
        "/v1/audit?limit=0",
        "/v1/audit?limit=9999",
        "/v1/audit?cursor=" + "A" * 9000,
        "//v1/jobs",
    ],
)
def test_paths(place: Place, path: str) -> None:
    answer = place.ask("GET", path, key=place.key({Scope.ADMIN}))
    assert 400 <= answer.status_code < 500
    problem(answer, answer.status_code)
    assert "set-cookie" not in answer.headers
    assert len(answer.content) < 10_000


@pytest.mark.parametrize("request_", sorted(SAMPLES))
def test_nothing_is_changed_by_whoever_may_not(place: Place, request_: str) -> None:
    method, sample = request_.partition(" ")[0], SAMPLES[request_]
    before = state(place)
    every = set(Scope) - {Scope.ADMIN}
    for key in (None, "trk_x", place.key(every, "other"), place.key({Scope.READ}, "other")):
        answer = place.ask(method, sample.path, key=key, json=sample.body)
        assert answer.status_code < 500
        assert state(place) == before


def test_credentials_are_told_to_nobody(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    good = place.key({Scope.READ})
    seen = ""
    for shown in (good, good[:-4] + MARK, f"trk_{MARK}", f"ey{MARK}.{MARK}.{MARK}", MARK):
        for path in ("/v1/stats", "/v1/nothing", "/v1/jobs/nothing"):
            answer = place.ask("GET", path, key=shown)
            seen += answer.text + json.dumps(dict(answer.headers))
    for secret in (good, MARK):
        assert secret not in seen + caplog.text


def test_unknown_and_forbidden_look_alike(place: Place) -> None:
    key = place.key(set(Scope) - {Scope.ADMIN}, "other")

    def shown(path: str) -> tuple[int, Any]:
        answer = place.ask("GET", path, key=key)
        return answer.status_code, {**answer.json(), "request_id": ""}

    for rest in ("", "/result", f"?queue={QUEUE}", "/result?wait=1"):
        status, found = shown(f"/v1/jobs/waits{rest}")
        other, absent = shown(f"/v1/jobs/never{rest}")
        assert status == other == 404
        assert json.dumps(found).replace("waits", "never") == json.dumps(absent)
