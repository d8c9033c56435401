"""The service with what stands in front of it: keys, tokens, limits, audit, browsers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from taskrunner import App
from taskrunner.access import Scope, guard, keyring
from taskrunner.access.door import FAILURES_AT_ONCE
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import ConfigError
from taskrunner.testing.waiting import eventually
from tests.api.matrix import QUEUE, Place

SECRET = "s" * 64
Build = Callable[..., Place]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    built: list[Place] = []

    def build(**settings: Any) -> Place:
        built.append(Place(audit_file=str(tmp_path / "audit"), **settings))
        return built[-1]

    yield build
    for place in built:
        place.close()


@pytest.fixture
def place(build: Build) -> Place:
    return build()


def audited(tmp_path: Path) -> list[Any]:
    return [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]


def problem(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert "Traceback" not in answer.text
    return answer.json()


def test_a_key_opens_what_it_is_for(place: Place) -> None:
    key = place.key({Scope.SUBMIT, Scope.READ}, "mine")
    made = place.ask("POST", "/v1/jobs", key=key, json={"task": "t", "queue": "mine"})
    assert made.status_code == 202
    assert place.ask("GET", made.headers["location"], key=key).json()["state"] == "pending"
    problem(place.ask("POST", "/v1/jobs", key=key, json={"task": "t", "queue": "other"}), 403)
    found = problem(place.ask("DELETE", f"/v1/jobs/{made.json()['id']}", key=key), 403)
    assert found["type"] == "urn:taskrunner:problem:NotAllowed"
    found = problem(place.ask("GET", "/v1/jobs", key=key[:-1]), 401)
    assert found["type"] == "urn:taskrunner:problem:NotAuthenticated"


def test_also_what_is_not_there_is_for_those_who_are_known(place: Place) -> None:
    problem(place.ask("GET", "/v1/nothing"), 401)
    problem(place.ask("GET", "/v1/nothing", key=place.key({Scope.READ})), 404)


def test_changes_are_written_down_with_what_they_were_about(place: Place, tmp_path: Path) -> None:
    key = place.key({Scope.MANAGE, Scope.SUBMIT})
    admin = place.key({Scope.ADMIN})
    place.ask("POST", "/v1/jobs/waits/cancel", key=key, headers={"x-request-id": "r1"})
    place.ask("POST", "/v1/jobs/nothing/cancel", key=key)
    place.ask("POST", f"/v1/queues/{QUEUE}/purge", key=key, json={})
    place.ask("GET", "/v1/jobs", key=admin)
    place.ask("POST", "/v1/jobs/waits/cancel")
    first, second, third = audited(tmp_path)
    assert (first["action"], first["jobs"], first["queue"]) == ("cancel", ["waits"], QUEUE)
    assert (first["outcome"], first["request"], first["name"]) == ("done", "r1", "somebody")
    assert (second["outcome"], second["status"]) == ("refused", 404)
    assert (third["outcome"], third["status"]) == ("refused", 403)

    def told() -> list[Any]:
        return list(place.ask("GET", "/v1/audit", key=admin).json()["entries"])

    eventually(lambda: len(told()) == 3, timeout=20)
    assert {entry["who"] for entry in told()} == {first["who"]}
    assert key not in (tmp_path / "audit").read_text()


def test_the_audit_tells_of_nothing_that_is_out_of_reach(place: Place) -> None:
    key, admin = place.key({Scope.MANAGE}), place.key({Scope.ADMIN})
    place.ask("POST", "/v1/jobs/waits/cancel", key=key)
    place.ask("POST", "/v1/jobs/bulk", key=key, json={"action": "cancel", "filter": {}})
    eventually(
        lambda: len(place.ask("GET", "/v1/audit", key=admin).json()["entries"]) == 2, timeout=20
    )
    mine, other = place.key({Scope.ADMIN}, QUEUE), place.key({Scope.ADMIN}, "other")
    found = place.ask("GET", "/v1/audit", key=mine).json()["entries"]
    assert [entry["jobs"] for entry in found] == [["waits"]]
    assert place.ask("GET", "/v1/audit", key=other).json()["entries"] == []


def test_a_token_opens_too(build: Build, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    place = build(jwt_keys_file=str(tmp_path / "secret"), jwt_issuer="i", jwt_audience="taskrunner")
    claims = {"iss": "i", "aud": "taskrunner", "sub": "alice", "exp": time.time() + 60}
    claims |= {"scope": "jobs:read jobs:submit", "taskrunner_queues": QUEUE}
    good = jwt.encode(claims, SECRET)
    assert place.ask("GET", "/v1/jobs/waits", key=good).status_code == 200
    problem(place.ask("POST", "/v1/jobs", key=good, json={"task": "t", "queue": "other"}), 403)
    problem(place.ask("DELETE", "/v1/jobs/waits", key=good), 403)
    for wrong in (
        jwt.encode(claims, "", "none"),
        jwt.encode({**claims, "aud": "x"}, SECRET),
        jwt.encode({**claims, "exp": time.time() - 60}, SECRET),
        jwt.encode({**claims, "nbf": time.time() + 600}, SECRET),
        jwt.encode(claims, "w" * 64),
    ):
        found = problem(place.ask("GET", "/v1/jobs/waits", key=wrong), 401)
        assert wrong not in json.dumps(found)


def test_floods(build: Build) -> None:
    place = build(request_rate=3)
    key = place.key({Scope.READ})
    codes = [place.ask("GET", "/v1/stats", key=key).status_code for _ in range(10)]
    assert codes[:3] == [200] * 3
    assert 429 in codes
    for _ in range(FAILURES_AT_ONCE):
        place.ask("GET", "/v1/stats", key="trk_guess")
    answer = place.ask("GET", "/v1/stats", key="trk_guess")
    assert problem(answer, 429)["type"] == "urn:taskrunner:problem:TooManyRequests"
    assert int(answer.headers["retry-after"]) >= 1


def test_a_stream_of_events_ends_when_its_key_is_revoked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (guard, keyring):
        monkeypatch.setattr(module, "FRESH_S", 0.05)
    key = place.key({Scope.READ})
    feed = place.api.state.feed
    with ThreadPoolExecutor(1) as threads:
        stream = threads.submit(place.ask, "GET", "/v1/events?seconds=40", key=key)
        eventually(lambda: len(feed._listeners) == 1, timeout=20)
        place.keys.revoke(key[4:16])
        answer = stream.result(30)
    assert answer.status_code == 200
    assert answer.text.startswith("retry:")
    eventually(lambda: not feed._listeners, timeout=20)


def test_pages_of_other_sites_get_nothing_unless_they_are_named(build: Build) -> None:
    origin = {"origin": "https://ops.example"}
    before = {**origin, "access-control-request-method": "POST"}
    place = build()
    key = place.key({Scope.READ})
    assert place.ask("OPTIONS", "/v1/jobs", headers=before).status_code == 401
    answer = place.ask("GET", "/v1/stats", key=key, headers=origin)
    assert "access-control-allow-origin" not in answer.headers
    place = build(cors_origins=("https://ops.example",))
    key = place.key({Scope.READ})
    assert place.ask("OPTIONS", "/v1/jobs", headers=before).status_code == 200
    for shown in (key, None):
        answer = place.ask("GET", "/v1/stats", key=shown, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://ops.example"
        assert "access-control-allow-credentials" not in answer.headers
    other = place.ask("GET", "/v1/stats", key=key, headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_where_nobody_is_asked_it_is_for_this_machine_alone(build: Build) -> None:
    place = build(insecure_no_auth=True)
    assert place.ask("GET", "/v1/jobs/waits").status_code == 200
    problem(place.ask("GET", "/v1/jobs/waits", headers={"host": "evil.example"}), 403)
    problem(place.ask("GET", "/v1/jobs/waits", headers={"origin": "https://evil.example"}), 403)


def test_settings_are_judged_when_the_service_is_put_together() -> None:
    from taskrunner.api import create_api

    with pytest.raises(ConfigError, match="needs jwt_issuer"):
        create_api(App(MemoryBroker(), jwt_keys_file="x", jwt_audience="y"))


def test_a_key_of_another_namespace_opens_nothing(build: Build) -> None:
    one, two = build(), build()
    problem(two.ask("GET", "/v1/stats", key=one.key({Scope.ADMIN})), 401)
