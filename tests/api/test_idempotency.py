"""A request that names itself by an Idempotency-Key."""

from __future__ import annotations

import pytest

from taskrunner import App, State
from taskrunner.access import Scope
from taskrunner.api.idempotency import Repeats
from taskrunner.errors import BrokerUnavailable
from tests.api.conftest import Client
from tests.api.test_jobs import problem
from tests.unit.one_node import OneNode


def test_the_same_request_under_the_same_key_is_one_job(api: Client, app: App) -> None:
    headers = {"Idempotency-Key": "k"}
    first, second = (api.post("/v1/jobs", {"task": "t"}, headers=headers) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert ("idempotency-replayed" in first.headers) is False
    assert second.headers["idempotency-replayed"] == "true"
    OneNode(app).succeed(1, retention=0)
    third = api.post("/v1/jobs", {"task": "t"}, headers=headers)
    assert (third.status_code, third.json()["id"]) == (202, first.json()["id"])
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 0
    other = api.post("/v1/jobs", {"task": "t"}, headers={"Idempotency-Key": "other"})
    assert other.json()["id"] != first.json()["id"]


def test_a_request_that_names_itself_may_replace_another_job(api: Client, app: App) -> None:
    body = {"task": "t", "unique": {"key": "k", "on_conflict": "replace"}, "delay": 60}
    there = api.post("/v1/jobs", body).json()["id"]
    headers = {"Idempotency-Key": "again"}
    answers = [api.post("/v1/jobs", body, headers=headers) for _ in range(2)]
    assert [(one.status_code, one.json()["id"]) for one in answers] == [(202, there)] * 2
    assert app.job(there).info().replaced == 1


def test_another_request_under_the_same_key_is_refused(api: Client, app: App) -> None:
    headers = {"Idempotency-Key": "k"}
    api.post("/v1/jobs", {"task": "t"}, headers=headers)
    found = problem(api.post("/v1/jobs", {"task": "u"}, headers=headers), 422)
    assert found["errors"][0]["field"] == "idempotency_key"
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 1


def test_a_key_whose_request_was_refused_may_be_used_again(api: Client) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "j"})
    headers = {"Idempotency-Key": "k"}
    body = {"task": "t", "job_id": "j"}
    assert api.post("/v1/jobs", body, headers=headers).status_code == 409
    api.post("/v1/jobs/j/cancel")
    assert api.post("/v1/jobs", body, headers=headers).status_code == 202


def test_a_key_whose_request_was_refused_may_be_used_for_another(api: Client) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "j"})
    headers = {"Idempotency-Key": "k"}
    assert api.post("/v1/jobs", {"task": "t", "job_id": "j"}, headers=headers).status_code == 409
    assert api.post("/v1/jobs", {"task": "u"}, headers=headers).status_code == 202


def test_a_request_whose_answer_was_lost_is_the_same_job_when_it_comes_again(
    api: Client, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise BrokerUnavailable("away")

    headers = {"Idempotency-Key": "k"}
    with monkeypatch.context() as patch:
        patch.setattr(Repeats, "conclude", away)
        assert api.post("/v1/jobs", {"task": "t"}, headers=headers).status_code == 503
    (accepted,) = app.broker.jobs("default", State.PENDING).keys
    again = api.post("/v1/jobs", {"task": "t"}, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, accepted.id)
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 1


def test_keys_of_others_are_others(api: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    mine = api.post("/v1/jobs", {"task": "t"}, headers=headers).json()["id"]
    somebody = api.known_as(Scope.SUBMIT)
    assert somebody.post("/v1/jobs", {"task": "t"}, headers=headers).json()["id"] != mine
