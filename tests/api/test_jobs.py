"""Jobs over HTTP: submitted, found, waited for, changed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taskrunner import App, ErrorInfo
from taskrunner.access import Scope
from taskrunner.options import OPTION_NAMES
from tests.api.conftest import Client
from tests.unit.one_node import OneNode


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document that was answered."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert {"type", "title", "detail"} <= found.keys()
    return found


# -- submitting


def test_a_job_is_submitted_and_found_where_the_answer_says(api: Client, app: App) -> None:
    body = {"task": "mail.send", "args": [42], "kwargs": {"template": "hi"}, "priority": 7}
    answer = api.post("/v1/jobs", {**body, "queue": "mail", "headers": {"h": "1"}})
    assert answer.status_code == 202
    said = answer.json()
    assert (said["queue"], said["task"], said["state"]) == ("mail", "mail.send", "pending")
    found = api.get(answer.headers["location"]).json()
    assert (found["id"], found["args"], found["kwargs"]) == (said["id"], [42], {"template": "hi"})
    assert (found["priority"], found["headers"]) == (7, {"h": "1"})
    assert app.job(said["id"]).info().args == (42,)


def test_every_option_of_enqueue_is_an_option_here(api: Client) -> None:
    options = {
        "queue": "q",
        "priority": 1,
        "eta": "2090-01-31T12:00:00+01:00",
        "expires": "2091-01-31T12:00:00Z",
        "timeout": 1.5,
        "deadline": "2092-01-31T12:00:00Z",
        "retries": 5,
        "backoff": {"initial": 2, "maximum": 60},
        "retry_on": ["builtins.OSError"],
        "give_up_on": ["builtins.FileNotFoundError"],
        "retention": 10,
        "job_id": "a/b",
        "headers": {"k": "v"},
        "durability": "default",
        "unique": {"key": "k", "until": "started"},
        "rate_limit": "5/m",
        "rate_key": "r",
        "max_running": 3,
        "running_key": 7,
    }
    answer = api.post("/v1/jobs", {"task": "t", **options})
    assert answer.json()["state"] == "scheduled"
    found = api.get(answer.headers["location"]).json()
    assert found["eta"] == "2090-01-31T11:00:00+00:00"
    assert found["expires_at"] == "2091-01-31T12:00:00+00:00"
    assert (found["id"], found["retries"], found["timeout"]) == ("a/b", 5, 1.5)
    assert api.post("/v1/jobs", {"task": "t", "delay": 60, "expires": 90.5}).status_code == 202
    assert {*options, "delay"} == set(OPTION_NAMES)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "task"),
        ({"task": ""}, "task"),
        ({"task": 5}, "task"),
        ({"task": "t", "args": "no"}, "args"),
        ({"task": "t", "kwargs": [1]}, "kwargs"),
        ({"task": "t", "priority": 10}, "priority"),
        ({"task": "t", "priority": "5"}, "priority"),
        ({"task": "t", "priority": True}, "priority"),
        ({"task": "t", "delay": -1}, "delay"),
        ({"task": "t", "eta": 5}, "eta"),
        ({"task": "t", "eta": "tomorrow"}, "eta"),
        ({"task": "t", "eta": "2030-01-01T00:00:00"}, "eta"),
        ({"task": "t", "delay": 1, "eta": "2030-01-01T00:00:00Z"}, ""),
        ({"task": "t", "queue": "a b"}, "queue"),
        ({"task": "t", "job_id": "a b"}, "job_id"),
        ({"task": "t", "backoff": {"factor": 0}}, "backoff.factor"),
        ({"task": "t", "retry_on": ["no class"]}, "retry_on"),
        ({"task": "t", "headers": {"k": 1}}, "headers.k"),
        ({"task": "t", "durability": "forever"}, "durability"),
        ({"task": "t", "timeout": 0}, "timeout"),
        ({"task": "t", "nonsense": 1}, "nonsense"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_submitted(
    api: Client, app: App, body: Any, field: str
) -> None:
    found = problem(api.post("/v1/jobs", body), 422)
    assert found["errors"][0]["field"] == field, found
    assert app.broker.queues() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "\xff"])
def test_a_body_that_is_none(api: Client, text: str) -> None:
    headers = {"content-type": "application/json"}
    answer = api("POST", "/v1/jobs", content=text.encode("latin-1"), headers=headers)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)


def test_text_that_nobody_can_carry(api: Client, app: App) -> None:
    headers = {"content-type": "application/json"}
    for name in ("args", "task"):
        body = {"args": b'{"task":"t","args":["\\ud800"]}', "task": b'{"task":"\\ud800"}'}[name]
        answer = api("POST", "/v1/jobs", content=body, headers=headers)
        assert problem(answer, 422)["errors"][0]["field"] == name
    assert app.broker.queues() == []


def test_an_id_that_is_taken(api: Client) -> None:
    body = {"task": "t", "job_id": "j"}
    assert api.post("/v1/jobs", body).status_code == 202
    found = problem(api.post("/v1/jobs", body), 409)
    assert (found["type"], found["job_id"]) == ("urn:taskrunner:problem:DuplicateJob", "j")


def test_a_task_that_nobody_declared_and_arguments_that_do_not_fit() -> None:
    app = App("memory://")

    @app.task(name="add")
    def add(a: int, b: int = 1) -> int:
        return a + b

    api = Client(app)
    assert problem(api.post("/v1/jobs", {"task": "ad"}), 422)["errors"][0]["field"] == "task"
    found = problem(api.post("/v1/jobs", {"task": "add", "args": [1, 2, 3]}), 422)
    assert found["errors"][0]["field"] == "args"
    assert api.post("/v1/jobs", {"task": "add", "args": [1]}).status_code == 202


def test_too_much_is_413(app: App, api: Client) -> None:
    too_much = {"task": "t", "args": ["x" * (app.payload_limit_bytes + 1)]}
    assert problem(api.post("/v1/jobs", too_much), 413)["type"].endswith("PayloadTooLarge")


# -- each request once


def test_a_unique_job_may_be_answered_by_the_one_that_is_there(api: Client) -> None:
    body = {"task": "t", "unique": {"key": "k", "on_conflict": "existing"}, "delay": 60}
    first, second = (api.post("/v1/jobs", body) for _ in range(2))
    assert first.json() == second.json()
    assert problem(api.post("/v1/jobs", {"task": "t", "unique": {"key": "k"}}), 409)["job_id"]
    found = problem(api.post("/v1/jobs", {"task": "t", "unique": {"until": "then"}}), 422)
    assert "unique" in found["errors"][0]["field"]


# -- many


def test_each_of_a_batch_has_its_own_answer(api: Client, app: App) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "taken"})
    jobs = [
        {"task": "t", "args": [1]},
        {"task": "t", "priority": 99},
        {"task": "t", "job_id": "taken"},
        "nonsense",
        {"task": "u", "delay": 60},
    ]
    answer = api.post("/v1/jobs/batch", {"jobs": jobs})
    assert answer.status_code == 200
    found = answer.json()
    assert found["accepted"] == 2
    assert [item["status"] for item in found["items"]] == [202, 422, 409, 422, 202]
    assert found["items"][1]["problem"]["errors"][0]["field"] == "priority"
    assert found["items"][4]["state"] == "scheduled"
    assert app.job(found["items"][0]["id"]).info().args == (1,)


@pytest.mark.parametrize("jobs", [[], {}, [{"task": "t"}] * 10_001])
def test_a_batch_of_nothing_or_too_much(api: Client, jobs: Any) -> None:
    assert problem(api.post("/v1/jobs/batch", {"jobs": jobs}), 422)["errors"][0]["field"] == "jobs"


# -- looking


def test_jobs_are_listed_by_filters_and_pages(api: Client) -> None:
    for n in range(5):
        api.post("/v1/jobs", {"task": f"t{n % 2}", "job_id": f"j{n}", "queue": "q"})
    api.post("/v1/jobs/j0/cancel")
    assert [j["id"] for j in api.get("/v1/jobs", task="t0").json()["jobs"]] == ["j2", "j4", "j0"]
    found = api.get("/v1/jobs", state=["cancelled"], queue=["q", "other"]).json()
    assert [j["id"] for j in found["jobs"]] == ["j0"]
    ids: list[str] = []
    cursor = ""
    for _ in range(3):
        page = api.get("/v1/jobs", limit=2, cursor=cursor, state="pending").json()
        ids += [j["id"] for j in page["jobs"]]
        cursor = page["cursor"]
    assert (ids, cursor) == (["j1", "j2", "j3", "j4"], "")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"state": "done"}, "state"),
        ({"queue": "a b"}, "queue"),
        ({"since": "soon"}, "since"),
        ({"nonsense": "1"}, "nonsense"),
    ],
)
def test_a_list_that_cannot_be(api: Client, query: dict[str, Any], field: str) -> None:
    assert problem(api.get("/v1/jobs", **query), 422)["errors"][0]["field"] == field


def test_a_word_that_no_route_knows(api: Client) -> None:
    found = problem(api.get("/v1/queues", statte="x"), 422)
    assert found["errors"][0]["field"] == "statte"
    found = problem(api("DELETE", "/v1/jobs/j", params={"qeue": "x"}), 422)
    assert "did you mean 'queue'?" in found["detail"]


def test_a_job_that_is_not_there(api: Client) -> None:
    for method, path in [
        ("GET", "/v1/jobs/no"),
        ("GET", "/v1/jobs/no/result"),
        ("POST", "/v1/jobs/no/cancel"),
        ("POST", "/v1/jobs/no/retry"),
        ("DELETE", "/v1/jobs/no"),
    ]:
        found = problem(api(method, path), 404)
        assert found["type"] == "urn:taskrunner:problem:JobNotFound"


def test_an_id_in_two_queues_wants_the_queue_named(api: Client) -> None:
    for queue in ("a", "b"):
        api.post("/v1/jobs", {"task": "t", "job_id": "j", "queue": queue})
    assert problem(api.get("/v1/jobs/j"), 409)["queues"] == ["a", "b"]
    assert api.get("/v1/jobs/j", queue="b").json()["queue"] == "b"


# -- results


def test_a_result_that_is_there(api: Client, app: App) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "j"})
    assert api.get("/v1/jobs/j/result").status_code == 202
    OneNode(app).succeed({"x": (1, 2)})
    answer = api.get("/v1/jobs/j/result")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "j",
        "queue": "default",
        "state": "succeeded",
        "result": {"x": [1, 2]},
    }


def test_a_wait_is_over_when_the_job_is(api: Client, app: App) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "j"})
    node = OneNode(app)
    timer = threading.Timer(0.3, lambda: node.succeed(5))
    timer.start()
    answer = api.get("/v1/jobs/j/result", wait=25)
    timer.join()
    assert (answer.status_code, answer.json()["result"]) == (200, 5)


def test_a_wait_that_ends_before_the_job_says_where_it_is(api: Client) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "j"})
    answer = api.get("/v1/jobs/j/result", wait=0.05)
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    for wait in ("61", "-1", "nan", "x"):
        assert problem(api.get("/v1/jobs/j/result", wait=wait), 422)["errors"][0]["field"] == "wait"


def test_what_became_of_others(api: Client, app: App) -> None:
    node = OneNode(app)
    api.post("/v1/jobs", {"task": "t", "job_id": "bad"})
    node.fail(ErrorInfo("app.Oops", "bad", "Traceback", 1))
    found = api.get("/v1/jobs/bad/result").json()
    assert (found["state"], found["reason"]) == ("failed", "error")
    assert (found["error"]["type"], found["error"]["message"]) == ("app.Oops", "bad")
    api.post("/v1/jobs", {"task": "t", "job_id": "off"})
    api.post("/v1/jobs/off/cancel")
    assert api.get("/v1/jobs/off/result").json()["state"] == "cancelled"
    api.post("/v1/jobs", {"task": "t", "job_id": "odd"})
    node.succeed(float("nan"))
    assert api.get("/v1/jobs/odd/result").json()["result"] == "nan"


def test_why_a_job_does_not_run(api: Client, app: App) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "j", "queue": "a"})
    found = api.get("/v1/jobs/j/why").json()
    assert (found["id"], found["state"]) == ("j", "pending")
    assert "no node serves the queue 'a'" in str(found["causes"])
    node = OneNode(app, "a", "secret")
    node.broker.beat(node.info.__class__("node", lease=60.0, queues=("secret",)), node.queues)
    mine = api.known_as(Scope.READ, queues=("a",))
    assert "secret" in api.get("/v1/jobs/j/why").text
    assert "secret" not in mine.get("/v1/jobs/j/why").text
    node.fail(ErrorInfo("app.Oops", "hidden", "", 1), reason="hidden")
    assert "hidden" in api.get("/v1/jobs/j/why").text
    assert "hidden" not in mine.get("/v1/jobs/j/why").text
    problem(mine.get("/v1/jobs/other/why"), 404)


# -- changing


def test_what_an_operator_does_to_a_job(api: Client, app: App) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "j", "delay": 60})
    later = {"eta": "2090-01-01T00:00:00Z"}
    assert api.post("/v1/jobs/j/reschedule", later).json()["state"] == "scheduled"
    assert api.get("/v1/jobs/j").json()["eta"] == "2090-01-01T00:00:00+00:00"
    assert api.post("/v1/jobs/j/retry").json()["state"] == "pending"
    assert api.post("/v1/jobs/j/cancel").json() == {
        "id": "j",
        "queue": "default",
        "state": "cancelled",
        "action": "cancel",
    }
    assert (
        "possible for jobs that are"
        in problem(api.post("/v1/jobs/j/reschedule", later), 409)["detail"]
    )
    assert api("DELETE", "/v1/jobs/j").status_code == 204
    assert api("DELETE", "/v1/jobs/j").status_code == 404
    for body in ({}, {"delay": 1, **later}):
        api.post("/v1/jobs", {"task": "t", "job_id": "k", "delay": 60})
        problem(api.post("/v1/jobs/k/reschedule", body), 422)


def test_a_bulk_counts_first_and_then_acts(api: Client, app: App) -> None:
    for n in range(3):
        api.post("/v1/jobs", {"task": f"t{n}"})
    body = {"action": "cancel", "filter": {"task": "t[01]"}}
    assert api.post("/v1/jobs/bulk", body).json()["matched"] == 2
    some: dict[str, Any] = {"action": "delete", "filter": {"state": ["pending"]}}
    assert api.post("/v1/jobs/bulk", {**some, "dry_run": True}).json() == {
        "action": "delete",
        "dry_run": True,
        "matched": 1,
        "done": 0,
        "cursor": "",
    }
    assert api.post("/v1/jobs/bulk", some).json()["done"] == 1
    body = {"action": "retry", "filter": {"state": ["succeeded"]}}
    assert problem(api.post("/v1/jobs/bulk", body), 422)["errors"][0]["field"] == "state"
