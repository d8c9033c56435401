"""Nodes, and what the service says of itself."""

from __future__ import annotations

from taskrunner import App
from taskrunner.access import Scope
from taskrunner.api.problems import problem_of
from taskrunner.api.service import unguarded
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import BrokerUnavailable, TaskrunnerError
from taskrunner.probes import Fault, Hop
from tests.api.conftest import Client
from tests.api.test_jobs import problem
from tests.unit.one_node import OneNode


class Away(MemoryBroker):
    """A store that does not answer."""

    def now(self) -> float:
        raise BrokerUnavailable("redis://secret-host:6379 is away")

    queues = stats = nodes = get = now  # type: ignore[assignment]


def test_alive_and_ready(api: Client) -> None:
    assert api.get("/healthz").json() == {"alive": True}
    assert api.get("/readyz").json() == {"ready": True}


def test_not_ready_while_the_store_is_away() -> None:
    api = Client(App(Away()))
    assert api.get("/healthz").status_code == 200
    answer = api.get("/readyz")
    assert (answer.status_code, answer.json()["hop"]) == (503, "broker")
    found = problem(api.get("/v1/queues"), 503)
    assert "secret-host" not in str(found)
    assert api.get("/v1/queues").headers["retry-after"] == "1"


def test_not_ready_while_the_supervisor_beside_it_is_not(app: App) -> None:
    api = Client(app)
    api.api = unguarded(app, readiness=lambda: Fault(Hop.CHILD, "no child is ready"))
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "hop": "child", "why": "no child is ready"}


def test_nodes_are_shown_to_those_whose_queues_they_serve(api: Client, app: App) -> None:
    node = OneNode(app)
    info = node.info.__class__("node", lease=60.0, queues=("a", "b"), host="h", pid=1)
    node.broker.beat(info, node.queues)
    (found,) = api.get("/v1/nodes").json()["nodes"]
    assert (found["node"], found["queues"], found["host"]) == ("node", ["a", "b"], "h")
    mine = api.known_as(Scope.READ, queues=("a",))
    assert mine.get("/v1/nodes").json()["nodes"][0]["queues"] == ["a"]
    others = api.known_as(Scope.READ, queues=("c",))
    assert others.get("/v1/nodes").json()["nodes"] == []
    problem(others.get("/v1/nodes/node/children"), 404)


def test_a_node_that_runs_is_probed_and_told(app: App, api: Client) -> None:
    with app.running(threads=2):
        (found,) = api.get("/v1/nodes/health", timeout=20).json()["nodes"]
        assert found["healthy"], found
        (again,) = api.get(f"/v1/nodes/{found['node']}/children", timeout=20).json()["nodes"]
        assert [child["state"] for child in again["children"]] == ["answered"]
        told = api.post(f"/v1/nodes/{found['node']}/dump")
        assert told.json() == {"node": found["node"], "action": "dump"}
        problem(api.post(f"/v1/nodes/{found['node']}/explode"), 422)
    problem(api.post("/v1/nodes/nobody/dump"), 404)


def test_the_document_and_its_page(api: Client) -> None:
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert document["paths"]["/v1/jobs"]["post"]["responses"]["202"]["headers"]["Location"]
    page = api.get("/docs")
    assert "POST /v1/jobs/batch" in page.text
    assert "http" not in page.text.replace("http_", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_an_error_that_nobody_foresaw_is_not_told_to_strangers() -> None:
    class Unforeseen(TaskrunnerError):
        """Not in the table."""

    found = problem_of(Unforeseen("at redis-7.internal:6379"))
    assert found["status"] == 500
    assert "internal" not in str(found)
