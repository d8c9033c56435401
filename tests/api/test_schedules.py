"""Schedules over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner import App, State
from taskrunner.access import Scope
from taskrunner.schedules import RULE_NAMES
from tests.api.conftest import Client
from tests.api.test_jobs import problem

NIGHTLY = {"task": "t", "args": [1], "cron": "0 3 * * *", "timezone": "Europe/Berlin"}


def test_a_schedule_from_its_beginning_to_its_end(api: Client, app: App) -> None:
    made = api.post("/v1/schedules", {"name": "a/b", **NIGHTLY, "queue": "q"})
    assert (made.status_code, made.json()["cron"]) == (201, "0 3 * * *")
    assert api.post("/v1/schedules", {"name": "a/b", **NIGHTLY, "queue": "q"}).status_code == 201
    found = api.get("/v1/schedules/a/b").json()
    assert (found["name"], found["task"], found["args"]) == ("a/b", "t", [1])
    slots = api.get("/v1/schedules/a/b/preview", count=2, after="2030-01-01T00:00:00Z").json()
    assert [slot["at"] for slot in slots["slots"]] == [
        "2030-01-01T03:00:00+01:00",
        "2030-01-02T03:00:00+01:00",
    ]
    assert api.post("/v1/schedules/a/b/pause").json()["paused"] is True
    assert api.post("/v1/schedules/a/b/resume").json()["paused"] is False
    triggered = api.post("/v1/schedules/a/b/trigger")
    assert triggered.status_code == 202
    assert app.job(triggered.json()["id"]).info().args == (1,)
    (fired,) = api.get("/v1/schedules/a/b/history").json()["firings"]
    assert (fired["job_id"], fired["state"]) == (triggered.json()["id"], State.PENDING)
    changed = api("PUT", "/v1/schedules/a/b", {"task": "t", "every": 60, "catch_up": "none"})
    assert (changed.json()["every"], changed.json()["cron"]) == (60.0, None)
    assert [one["name"] for one in api.get("/v1/schedules").json()["schedules"]] == ["a/b"]
    assert api("DELETE", "/v1/schedules/a/b").status_code == 204
    problem(api.get("/v1/schedules/a/b"), 404)


def test_every_part_of_a_rule_can_be_said(api: Client) -> None:
    rule = {
        "cron": "* * * * *",
        "timezone": "UTC",
        "start": "2030-01-01T00:00:00+00:00",
        "end": "2031-01-01T00:00:00+00:00",
        "jitter": 5.0,
        "catch_up": "all",
        "max_catch_up": 7,
        "overlap": "skip",
    }
    found = api("PUT", "/v1/schedules/s", {"task": "t", **rule}).json()
    assert {name: found[name] for name in rule} == rule
    assert {*rule, "every"} == set(RULE_NAMES)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"task": "t"}, ""),
        ({"task": "t", "cron": "nonsense"}, "cron"),
        ({"task": "t", "every": 0}, "every"),
        ({"task": "t", "every": 5, "timezone": "Nowhere/At-All"}, "timezone"),
        ({"task": "t", "every": 5, "overlap": "maybe"}, "overlap"),
        ({"every": 5}, "task"),
        ({"task": "t", "every": 5, "priority": 99}, "priority"),
    ],
)
def test_what_cannot_be_a_schedule(api: Client, body: Any, field: str) -> None:
    found = problem(api("PUT", "/v1/schedules/s", body), 422)
    assert not field or found["errors"][0]["field"] == field
    assert api.get("/v1/schedules").json()["schedules"] == []


def test_a_name_that_is_taken(api: Client) -> None:
    api.post("/v1/schedules", {"name": "s", "task": "t", "every": 5})
    found = problem(api.post("/v1/schedules", {"name": "s", "task": "t", "every": 6}), 422)
    assert found["errors"][0]["field"] == "name"


def test_a_schedule_out_of_reach_is_not_there(api: Client) -> None:
    api("PUT", "/v1/schedules/s", {"task": "t", "every": 5, "queue": "b"})
    mine = api.known_as(Scope.READ, Scope.SCHEDULES, queues=("a",))
    assert mine.get("/v1/schedules").json()["schedules"] == []
    for method, path in [("GET", ""), ("POST", "/pause"), ("POST", "/trigger"), ("DELETE", "")]:
        hidden, absent = (mine(method, f"/v1/schedules/{name}{path}") for name in ("s", "no"))
        assert hidden.status_code == absent.status_code == 404
    body = {"task": "t", "every": 9, "queue": "a"}
    problem(mine("PUT", "/v1/schedules/s", body), 403)
    problem(mine("PUT", "/v1/schedules/new", {**body, "queue": "b"}), 403)
    assert mine("PUT", "/v1/schedules/new", body).status_code == 200
    assert "args" not in mine.get("/v1/schedules/new").json()
    assert api.get("/v1/schedules/s").json()["every"] == 5.0
