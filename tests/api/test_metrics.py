"""Numbers for Prometheus."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from taskrunner import App
from taskrunner import events as e
from taskrunner.access import Scope
from taskrunner.api.metrics import MOST_TASKS, NodeNumbers
from taskrunner.ids import made_at, new_id
from tests.api.conftest import Client
from tests.unit.one_node import OneNode


def numbers(text: str) -> dict[tuple[str, ...], float]:
    """By name and labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_the_store_knows(api: Client, app: App) -> None:
    for n in range(3):
        api.post("/v1/jobs", {"task": "t", "queue": "a", "job_id": f"j{n}"})
    node = OneNode(app, "a")
    first, *_ = node.fetch()
    api.post("/v1/jobs", {"task": "t", "queue": "b"})
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = numbers(answer.text)
    assert found["taskrunner_jobs", "a", "active"] == 3
    assert found["taskrunner_jobs", "b", "pending"] == 1
    assert found["taskrunner_oldest_ready_seconds", "a"] == 0
    assert 0 < found["taskrunner_oldest_ready_seconds", "b"] < 30
    assert found["taskrunner_nodes",] == 1
    assert first.queue == "a"


def test_those_of_others_are_left_out(api: Client) -> None:
    api.post("/v1/jobs", {"task": "t", "queue": "a"})
    api.post("/v1/jobs", {"task": "t", "queue": "secret"})
    api("PUT", "/v1/schedules/hidden", {"task": "t", "every": 5, "queue": "secret"})
    api.api.state.node_numbers = node = NodeNumbers()
    node.hear(e.ChildStarted(1, 1))
    mine = api.known_as(Scope.READ, queues=("a",))
    mine.api = api.api
    text = mine.get("/metrics").text
    assert numbers(text)["taskrunner_jobs", "a", "pending"] == 1
    for word in ("secret", "hidden", "taskrunner_node"):
        assert word not in text
    assert numbers(api.get("/metrics").text)["taskrunner_node_children_started_total",] == 1


def test_a_node_is_counted_by_its_events() -> None:
    node = NodeNumbers()
    ran = e.Ran("q", "t", new_id(), "succeeded", 0.25, is_first=True)
    later = ran._replace(outcome="failed", is_first=False)
    node.ran([ran, ran, later])
    for event in (
        e.ChildStarted(1, 1),
        e.ChildDied(1, 1, None, 9, 0),
        e.ChildReplaced(1, 1, "old"),
        e.BrokerLost("redis://", "away"),
        e.BrokerBack(2.5),
        e.JobsReturned(4, "because"),
        e.OutcomeFenced("j"),
        e.ServiceFailed("fetch", "oops", ""),
        e.Reloaded(2),
        e.PoolResized(3, 2, "load"),
        e.NodeStopped(),
    ):
        node.hear(event)

    found = numbers(generate_latest(node.registry).decode())
    assert found["taskrunner_node_runs_total", "succeeded", "q", "t"] == 2
    assert found["taskrunner_node_runs_total", "failed", "q", "t"] == 1
    assert found["taskrunner_node_run_seconds_count", "q", "t"] == 3
    assert found["taskrunner_node_wait_seconds_count", "q", "t"] == 2
    assert found["taskrunner_node_children_died_total", "9"] == 1
    assert found["taskrunner_node_broker_away_seconds_total",] == 2.5
    assert found["taskrunner_node_returned_total",] == 4
    assert found["taskrunner_node_processes",] == 3


def test_names_of_tasks_do_not_grow_without_bound() -> None:
    node = NodeNumbers()
    ran = e.Ran("q", "t", "j", "succeeded", 0.0, is_first=True)
    node.ran([ran._replace(task=f"t{n}") for n in range(MOST_TASKS + 5)])

    found = numbers(generate_latest(node.registry).decode())
    assert found["taskrunner_node_runs_total", "succeeded", "q", "(others)"] == 5


def test_when_an_id_was_made() -> None:
    made = made_at("01J8ZQ4T3KAAAAAAAAAAAAAAAA")
    assert made is not None
    assert 1.72e9 < made < 1.73e9
    assert made_at("mine") is None
    assert made_at("!" * 26) is None
