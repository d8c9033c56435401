"""Limits and pauses over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner import App
from taskrunner.access import Scope
from tests.api.conftest import Client
from tests.api.test_jobs import problem
from tests.unit.one_node import OneNode


def test_a_paused_queue_keeps_its_jobs(api: Client, app: App) -> None:
    api.post("/v1/jobs", {"task": "t"})
    paused = api.post("/v1/queues/default/pause", {}).json()
    assert (paused["paused"], paused["paused_for"], paused["scope"]) == (True, None, "queue")
    node = OneNode(app)
    assert node.fetch() == []
    assert api.post("/v1/queues/default/resume", {}).json()["paused"] is False
    assert len(node.fetch()) == 1
    short = api.post("/v1/queues/default/pause", {"task": "t", "seconds": 60}).json()
    assert (short["name"], 0 < short["paused_for"] <= 60) == ("t", True)


def test_a_limit_is_set_seen_and_removed(api: Client) -> None:
    body = {"task": "t", "rate": "100/s", "max_running": 2}
    made = api("PUT", "/v1/queues/q/limits", body).json()
    assert made["set"]["max_running"] == 2
    assert api("PUT", "/v1/queues/q/limits", {"key": "k", "max_running": 5}).status_code == 200
    found = api.get("/v1/queues/q/limits").json()["limits"]
    assert [(one["scope"], one["name"]) for one in found] == [("key", "k"), ("task", "t")]
    gone = api("DELETE", "/v1/queues/q/limits", params={"task": "t"}).json()
    assert gone["set"] is None


@pytest.mark.parametrize(
    "body", [{}, {"rate": "fast"}, {"max_running": 0}, {"rate": "1/s", "task": "t", "key": "k"}]
)
def test_a_limit_that_cannot_be(api: Client, body: dict[str, Any]) -> None:
    problem(api("PUT", "/v1/queues/q/limits", body), 422)
    assert api.get("/v1/queues/q/limits").json()["limits"] == []


def test_whoever_has_some_tasks_holds_no_others(api: Client) -> None:
    mine = api.known_as(Scope.READ, Scope.QUEUES, queues=("q",), tasks=("t",))
    problem(mine.post("/v1/queues/q/pause", {}), 403)
    problem(mine.post("/v1/queues/q/pause", {"key": "k"}), 403)
    problem(mine.post("/v1/queues/q/pause", {"task": "u"}), 403)
    problem(mine.post("/v1/queues/other/pause", {"task": "t"}), 403)
    assert mine.post("/v1/queues/q/pause", {"task": "t"}).json()["paused"] is True
    api.post("/v1/queues/q/pause", {"task": "u"})
    found = mine.get("/v1/queues/q/limits").json()["limits"]
    assert [one["name"] for one in found if one["scope"] == "task"] == ["t"]
