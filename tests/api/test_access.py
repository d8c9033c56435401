"""Who may do what: scopes, and patterns of queues and tasks."""

from __future__ import annotations

import pytest

from taskrunner import App
from taskrunner.access import ANYBODY, Scope
from tests.api.conftest import Client
from tests.api.test_jobs import problem
from tests.unit.one_node import OneNode


def test_nobody_who_is_not_known_is_answered(app: App) -> None:
    client = Client(app, identity=None)
    for path, method in client.api.state.scopes:
        answer = client(method, path.replace("{", "").replace("}", ""), {})
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_every_route_takes_a_scope_and_the_document_says_which(api: Client) -> None:
    document = api.api.openapi()
    for (path, method), scope in api.api.state.scopes.items():
        said = document["paths"][path][method]["security"]
        assert said == [{"bearer": [] if scope is None else [scope.value]}]
    assert len(api.api.state.scopes) == sum(
        operation["tags"] != ["public"]
        for item in document["paths"].values()
        for operation in item.values()
    )


def test_a_scope_is_asked_before_anything_is_looked_up(api: Client) -> None:
    others = {scope: api.known_as(*(set(Scope) - {scope, Scope.ADMIN})) for scope in Scope}
    for (path, method), scope in api.api.state.scopes.items():
        if scope is None:
            continue
        answer = others[scope](method, path.replace("{", "").replace("}", ""), {})
        assert problem(answer, 403)["detail"] == f"this needs the scope {scope}"


def test_a_job_that_is_out_of_reach_looks_like_one_that_is_not_there(api: Client) -> None:
    api.post("/v1/jobs", {"task": "t", "job_id": "hidden", "queue": "b"})
    api.post("/v1/jobs", {"task": "u", "job_id": "other", "queue": "a"})
    somebody = api.known_as(*Scope, queues=("a*",), tasks=("t",))
    object.__setattr__(somebody.identity, "scopes", frozenset(set(Scope) - {Scope.ADMIN}))
    for job_id in ("hidden", "other"):
        for method, path in [
            ("GET", ""),
            ("GET", "/result"),
            ("POST", "/cancel"),
            ("POST", "/retry"),
            ("DELETE", ""),
            ("GET", "?queue=b"),
        ]:
            hidden = somebody(method, f"/v1/jobs/{job_id}{path}")
            absent = somebody(method, f"/v1/jobs/absent{path}")
            assert hidden.status_code == absent.status_code == 404
            assert hidden.text.replace(job_id, "absent") == absent.text
    assert api.get("/v1/jobs/hidden").json()["state"] == "pending"


def test_a_submission_out_of_reach_is_refused(api: Client, app: App) -> None:
    somebody = api.known_as(Scope.SUBMIT, queues=("a*",), tasks=("t",))
    assert somebody.post("/v1/jobs", {"task": "t", "queue": "a1"}).status_code == 202
    problem(somebody.post("/v1/jobs", {"task": "t", "queue": "b"}), 403)
    problem(somebody.post("/v1/jobs", {"task": "u", "queue": "a1"}), 403)
    body = {"jobs": [{"task": "u", "queue": "a1"}, {"task": "t", "queue": "a1"}]}
    found = somebody.post("/v1/jobs/batch", body).json()
    assert [item["status"] for item in found["items"]] == [403, 202]
    assert app.broker.queues() == ["a1"]


def test_lists_bulks_and_counts_reach_no_further(api: Client) -> None:
    for queue, task in (("a", "t"), ("a", "u"), ("b", "t")):
        api.post("/v1/jobs", {"task": task, "job_id": f"{queue}{task}", "queue": queue})
    mine = api.known_as(Scope.READ, Scope.MANAGE, Scope.QUEUES, queues=("a",), tasks=("t",))
    assert [job["id"] for job in mine.get("/v1/jobs").json()["jobs"]] == ["at"]
    assert mine.get("/v1/jobs", queue="b").json()["jobs"] == []
    assert [found["queue"] for found in mine.get("/v1/queues").json()["queues"]] == ["a"]
    assert mine.get("/v1/stats").json()["queues"] == 1
    problem(mine.get("/v1/queues/b/stats"), 403)
    problem(mine.post("/v1/queues/b/purge", {}), 403)
    body = {"action": "cancel", "filter": {"queue": ["a", "b"]}}
    assert mine.post("/v1/jobs/bulk", body).json()["done"] == 1
    assert mine.post("/v1/queues/a/purge", {"state": ["pending", "cancelled"]}).json()["done"] == 1
    left = api.get("/v1/jobs").json()["jobs"]
    assert [(job["id"], job["state"]) for job in left] == [("au", "pending"), ("bt", "pending")]


def test_what_jobs_carry_is_for_those_who_may_see_it(api: Client, app: App) -> None:
    api.post(
        "/v1/jobs", {"task": "t", "job_id": "j", "args": ["secret"], "headers": {"h": "secret"}}
    )
    blind = api.known_as(Scope.READ)
    assert "secret" not in blind.get("/v1/jobs/j").text
    assert "secret" not in blind.get("/v1/jobs").text
    assert blind.get("/v1/jobs", text="secret").json()["jobs"] == []
    OneNode(app).succeed("secret")
    problem(blind.get("/v1/jobs/j/result"), 403)
    seeing = api.known_as(Scope.READ, Scope.READ_DATA)
    assert seeing.get("/v1/jobs/j").json()["args"] == ["secret"]
    assert seeing.get("/v1/jobs/j/result").json()["result"] == "secret"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing"])
def test_nothing_else_is_there(api: Client, path: str) -> None:
    problem(api.get(path), 404)


def test_another_method_is_a_problem_too(api: Client) -> None:
    problem(api("PUT", "/v1/jobs"), 405)


def test_the_admin_may_do_everything(api: Client) -> None:
    assert api.identity is ANYBODY
    assert api.get("/v1/stats").status_code == 200
