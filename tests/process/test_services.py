"""A supervisor in which something is broken goes on, or ends with a reason: it never just sits there."""

from __future__ import annotations

from taskrunner import App, State
from taskrunner.testing.waiting import eventually
from tests.process.conftest import Fleet

TARGET = "tests.process.apps.sick:app"
NAME = "tests.process.apps.sick."


def test_a_node_whose_outcomes_cannot_be_settled_ends_and_loses_none(fleet: Fleet) -> None:
    node = fleet.start("--processes", "1", target=TARGET, SICK="settle:1000000")
    app = App(fleet.url, namespace=fleet.namespace)  # declares nothing: any name goes
    jobs = [app.enqueue(NAME + "add", args=(n, n)) for n in range(20)]
    assert node.wait(timeout=40) == 8
    log = fleet.log()
    assert "the settle thread failed and goes on: ZeroDivisionError: this part is sick" in log
    assert 'raise ZeroDivisionError("this part is sick")' in log
    assert "taskrunner: the settle thread failed 10 times in a row" in log
    fleet.start("--processes", "1", target=TARGET)
    assert [job.result(timeout=40) for job in jobs] == [2 * n for n in range(20)]


def test_a_node_whose_loop_stumbles_still_keeps_time_limits(fleet: Fleet) -> None:
    fleet.start("--processes", "1", target=TARGET, SICK="main:5")
    app = App(fleet.url, namespace=fleet.namespace)
    job = app.enqueue(NAME + "sleepy", timeout=0.2, retries=0)
    eventually(lambda: job.state() is State.FAILED, timeout=40)
    assert "the main thread failed and goes on" in fleet.log()
