"""Each cause that keeps a job from running, by real calls of a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from taskrunner import App, JobNotFound, Unique
from taskrunner.brokers.base import Blame, Broker, Delivery, Note, OutcomeKind
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.inspector import CauseKind, Inspector, Why, why
from taskrunner.inspector.spans import span
from taskrunner.message import ErrorInfo
from tests.unit.one_node import OneNode


@pytest.fixture
def app() -> Iterator[App]:
    app = App(MemoryBroker())
    yield app
    app.close()


def store(app: App) -> Broker:
    assert isinstance(app.broker, Broker)
    return app.broker


def serve(app: App, *queues: str) -> OneNode:
    """A node as it announces itself."""
    node = OneNode(app, *queues)
    node.info = replace(node.info, queues=node.queues, host="here")
    node.broker.join(node.info, node.queues)
    return node


def kinds(found: Why) -> list[CauseKind]:
    return [cause.kind for cause in found.causes]


def details(found: Why, kind: CauseKind) -> Any:
    (cause,) = [cause for cause in found.causes if cause.kind is kind]
    assert cause.text in str(found).splitlines()
    return cause.details


def test_its_place_among_those_that_are_ready(app: App) -> None:
    serve(app)
    for priority in (5, 9, 0):
        app.enqueue("t", priority=priority)
    job = app.enqueue("t", job_id="j")
    found = app.why("j")
    assert (found.id, found.queue, found.task, found.state) == ("j", "default", "t", job.state())
    assert kinds(found) == [CauseKind.POSITION]
    expected = {"ahead": 2, "is_exact": True, "length": 4, "priority": 5}
    assert details(found, CauseKind.POSITION) == expected
    assert "2 of 4 ready jobs of its queue are taken before it" in str(found)
    assert Inspector(app).why("j", "default") == found == asyncio.run(app.awhy("j"))


def test_the_first_is_the_next(app: App) -> None:
    serve(app)
    app.enqueue("t", job_id="j")
    assert str(app.why("j")) == "it is ready, and the next to be taken of 1 in its queue"


def test_one_far_behind_stands_behind_more_than_is_counted(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(app)
    monkeypatch.setattr(why, "PAGE", 2)
    for n in range(12):
        app.enqueue("t", job_id=f"before-{n}")
    assert details(app.why("before-7"), CauseKind.POSITION)["ahead"] == 7
    app.enqueue("t", job_id="j")
    found = details(app.why("j"), CauseKind.POSITION)
    assert (found["ahead"], found["is_exact"], found["length"]) == (10, False, 13)
    assert "more than 10 of 13" in str(app.why("j"))


def test_when_it_is_due(app: App) -> None:
    serve(app)
    app.enqueue("t", job_id="j", delay=7200)
    found = app.why("j")
    assert kinds(found) == [CauseKind.DUE]
    assert details(found, CauseKind.DUE)["in"] == pytest.approx(7200, abs=5)
    store(app).set_skew(7300.0)
    assert "it fell due 1 min" in str(app.why("j"))


def test_when_its_next_run_is_due_and_why_there_is_one(app: App) -> None:
    node = serve(app)
    app.enqueue("t", job_id="j")
    error = ErrorInfo("builtins.OSError", "broken pipe")
    node.settle(node.take(), OutcomeKind.RETRY, delay=100.0, error=error.pack())
    found = app.why("j")
    assert kinds(found) == [CauseKind.DUE]
    assert "its next run is due in 1 min 40 s" in str(found)
    assert "the last one ended with builtins.OSError" in str(found)


def test_no_node_serves_its_queue(app: App) -> None:
    app.enqueue("t", job_id="j", queue="mail")
    assert "no node serves the queue 'mail': no node is there at all" in str(app.why("j"))
    serve(app, "other")
    found = app.why("j")
    assert details(found, CauseKind.NO_NODE) == {"queue": "mail", "nodes": 1}
    assert "those that are there serve other" in str(found)
    assert CauseKind.POSITION in kinds(found)


def test_a_pause_of_its_queue_its_task_and_its_key(app: App) -> None:
    serve(app)
    app.enqueue("t", job_id="j", max_running=3, running_key="k")
    for scope in ({}, {"task": "t"}, {"key": "k"}):
        app.limits.pause("default", **scope, seconds=None if scope else 60)
    found = app.why("j")
    assert kinds(found).count(CauseKind.PAUSED) == 3
    assert "its queue is paused, for 1 min" in str(found)
    assert "task:t is paused, until it is resumed" in str(found)
    assert "key:k is paused, until it is resumed" in str(found)
    for scope in ({}, {"task": "t"}, {"key": "k"}):
        app.limits.resume("default", **scope)
    assert kinds(app.why("j")) == [CauseKind.POSITION]


def test_a_rate_with_its_numbers(app: App) -> None:
    node = serve(app)
    for name in ("a", "b", "j"):
        app.enqueue("t", job_id=name, rate_limit="1/m", rate_key="k")
    assert len(node.fetch()) == 1
    found = app.why("j")
    told = details(found, CauseKind.RATE)
    assert (told["scope"], told["rate"], told["waiting"]) == ("key:k", "1/m", 2)
    assert told["in"] == pytest.approx(60, abs=5)
    assert "key:k may start 1/m: the next start is in" in str(found)


def test_places_that_are_taken(app: App) -> None:
    node = serve(app)
    for name in ("a", "b", "j"):
        app.enqueue("t", job_id=name, max_running=2, running_key="k")
    assert len(node.fetch()) == 2
    told = details(app.why("j"), CauseKind.RUNNING_LIMIT)
    assert (told["max_running"], told["running"], told["waiting"]) == (2, 2, 1)
    assert "of key:k 2 may run at once: 2 do, and 1 wait" in str(app.why("j"))


def test_no_node_knows_its_task_or_reads_its_message(app: App) -> None:
    node = serve(app)
    for name, key in (("j", "task:t"), ("k", "version:7")):
        app.enqueue("t", job_id=name)
        node.settle(node.take(), OutcomeKind.PARKED, started=False, park_key=key, delay=100.0)
    assert details(app.why("j"), CauseKind.UNKNOWN_TASK) == {"task": "t", "others": 0}
    assert "no node of its queue knows the task 't'" in str(app.why("j"))
    assert details(app.why("k"), CauseKind.LATER_VERSION)["version"] == "7"


def test_a_suspect_waits_to_run_alone(app: App) -> None:
    node = serve(app)
    app.enqueue("t", job_id="j")
    node.settle(node.take(), OutcomeKind.RETRY, blame=Blame.SUSPICION)
    assert kinds(app.why("j")) == [CauseKind.POSITION, CauseKind.SUSPECT]
    assert "run alone" in str(app.why("j"))


@pytest.mark.parametrize("option", ["expires", "deadline"])
def test_its_time_is_over(app: App, option: str) -> None:
    serve(app)
    job = app.enqueue("t", job_id="j", expires=50)
    if option == "deadline":
        from datetime import timedelta

        job.cancel()
        deadline = job.info().created_at + timedelta(seconds=50)
        app.enqueue("t", job_id="j", deadline=deadline)
    store(app).set_skew(60.0)
    found = app.why("j")
    assert kinds(found)[0] is CauseKind.OVERDUE
    assert details(found, CauseKind.OVERDUE)["option"] == option


def running(app: App) -> tuple[OneNode, Delivery]:
    node = serve(app)
    app.enqueue("t", job_id="j")
    delivery = node.take()
    return node, delivery


def test_where_it_runs(app: App) -> None:
    node, delivery = running(app)
    assert kinds(app.why("j")) == [CauseKind.DELIVERED]
    node.broker.note("node", [Note(delivery.queue, "j", delivery.number, 77, 65.0)])
    found = app.why("j")
    assert kinds(found) == [CauseKind.RUNNING]
    assert "it has been running for 1 min 5 s in process 77 of node node on here" in str(found)
    app.job("j").cancel()
    assert kinds(app.why("j")) == [CauseKind.RUNNING, CauseKind.CANCELLING]


def test_its_node_is_not_heard_of(app: App) -> None:
    running(app)
    store(app).set_skew(1000.0)
    assert kinds(app.why("j")) == [CauseKind.DELIVERED, CauseKind.NO_NODE]
    assert "has not been heard of lately" in str(app.why("j"))


def test_how_it_has_ended(app: App) -> None:
    node, delivery = running(app)
    node.settle(
        delivery, OutcomeKind.FAILED, error=ErrorInfo("ValueError", "no").pack(), reason="error"
    )
    found = app.why("j")
    assert kinds(found) == [CauseKind.FINISHED]
    assert (
        "it has ended: failed, 0.0 s ago, after 1 run, with the reason 'error': ValueError: no"
        in str(found)
    )
    app.enqueue("t", job_id="k").cancel()
    assert str(app.why("k")).startswith("it has ended: cancelled, ")


def test_what_replaced_it(app: App) -> None:
    serve(app)
    unique = Unique(key="k", on_conflict="replace")
    job = app.enqueue("t", unique=unique)
    for _ in range(2):
        app.enqueue("t", unique=unique)
    told = details(app.why(job.id), CauseKind.REPLACED)
    assert told == {"times": 2, "unique_key": "t =k"}
    assert "has replaced its message 2 times; it kept its id" in str(app.why(job.id))


def test_what_cannot_be_read(app: App) -> None:
    serve(app)
    broker = store(app)
    assert isinstance(broker, MemoryBroker)
    app.enqueue("t", job_id="j")
    broker._queues["default"].jobs["j"].wire = b"\xc1garbage"
    found = app.why("j")
    assert (found.task, kinds(found)) == ("", [CauseKind.POSITION, CauseKind.UNREADABLE])


def test_nobody_knows_it(app: App) -> None:
    with pytest.raises(JobNotFound):
        app.why("j")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (60, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7260, "2 h 1 min"),
        (190_000, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert span(seconds) == said
