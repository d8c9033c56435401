from __future__ import annotations

import json
from datetime import timedelta

import pytest

from taskrunner import ErrorInfo, State
from taskrunner.brokers.base import Blame, Note, OutcomeKind
from taskrunner.cli import jobs
from taskrunner.cli.exits import Exit
from taskrunner.context import Progress
from tests.unit.cli.conftest import Cli
from tests.unit.one_node import OneNode


def facts(text: str) -> dict[str, str]:
    """What `status` printed, up to the first empty line."""
    lines = text.partition("\n\n")[0].splitlines()
    return {name.strip(): value for name, value in (line.split("  ", 1) for line in lines)}


def test_status_of_a_job_that_waits(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1, "x"), {"c": [2]}, job_id="j", delay=60, timeout=1.5)
    ran = cli("status", "j")
    assert ran.code == Exit.OK
    found = {name: value.strip() for name, value in facts(ran.out).items()}
    assert found["id"] == "j"
    assert found["task"] == "shop.add"
    assert found["state"] == "scheduled"
    assert found["arguments"] == '1, "x", c=[2]'
    assert found["time limit"] == "1.5 s a run"
    info = cli.app.job("j").info()
    assert found["created"] == info.created_at.astimezone().isoformat(timespec="milliseconds")
    assert "started" not in found
    assert "result" not in found


def test_status_of_a_running_job_shows_its_progress(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    node = OneNode(cli.app)
    delivery = node.take()
    packed = cli.app.codec.pack([3, 10, "resizing"])
    cli.broker.note("node", [Note("default", "j", delivery.number, 4711, 0.5, packed)])
    out = cli("status", "j").out
    assert "3 of 10 resizing" in out
    assert "4711" in out
    assert "active" in out
    cli.app.job("j").cancel()
    assert "active, to be cancelled" in cli("status", "j").out


def test_status_of_a_job_that_succeeded_shows_the_result(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    OneNode(cli.app).succeed((1, timedelta(seconds=2)))
    ran = cli("status", "j")
    assert facts(ran.out)["result"].strip() == "[1, 2.0]"


def test_status_of_a_job_that_failed_shows_its_errors_and_is_no_failure(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    OneNode(cli.app).fail(ErrorInfo("app.Oops", "bad \x1b[31m", "Traceback: their lines", 1))
    ran = cli("status", "j")
    assert ran.code == Exit.OK
    assert "app.Oops: bad \\x1b[31m" in ran.out
    assert ran.out.rstrip().endswith("Traceback: their lines")


def test_status_of_a_suspect_says_so(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    assert "suspect" not in facts(cli("status", "j").out)
    node = OneNode(cli.app)
    node.settle(node.take(), OutcomeKind.RETRY, blame=Blame.SUSPICION)
    assert facts(cli("status", "j").out)["suspect"].strip().endswith("it runs alone")
    assert json.loads(cli("status", "j", "--json").out)["suspect"] is True
    assert cli.app.job("j").info().suspect


def test_status_as_json_holds_everything(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), {"b": 2}, job_id="j", headers={"h": "1"})
    OneNode(cli.app).succeed({"x": 1})
    found = json.loads(cli("status", "j", "--json").out)
    assert set(found) == {*jobs._SHOWN, "result", "result_kept"}
    assert (found["state"], found["result"], found["result_kept"]) == ("succeeded", {"x": 1}, True)
    assert (found["args"], found["kwargs"], found["headers"]) == ([1], {"b": 2}, {"h": "1"})
    assert found["finished_at"].endswith("+00:00")


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_a_job_that_is_not_there(cli: Cli, command: str) -> None:
    ran = cli(command, "nothing")
    assert ran.code == Exit.NOT_FOUND
    assert ran.err == "taskrunner: there is no job 'nothing' in any queue\n"


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_an_id_in_two_queues_wants_the_queue_named(cli: Cli, command: str) -> None:
    for queue in ("a", "b"):
        cli.app.enqueue("shop.add", (1,), job_id="j", queue=queue)
    ran = cli(command, "j")
    assert ran.code == Exit.USAGE
    assert "a, b" in ran.err
    assert cli(command, "j", "--queue", "b").code == Exit.OK


@pytest.mark.parametrize("job_id", ["", "a b", "\udcff"])
def test_what_cannot_be_an_id(cli: Cli, job_id: str) -> None:
    ran = cli("status", job_id)
    assert ran.code == Exit.USAGE
    assert "expected 1 to 255 printable characters" in ran.err


def test_no_app_is_needed_but_one_can_be_named(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    assert cli("status", "j", "--broker", "test://").code == Exit.OK
    assert cli("status", "j", "--app", "shop:app").code == Exit.OK
    assert cli("status", "j", "--app", "nothing:app").code == Exit.CONFIG


def test_a_broker_in_one_process_cannot_be_asked(cli: Cli) -> None:
    ran = cli("status", "j", "--broker", "memory://")
    assert ran.code == Exit.CONFIG
    assert "no other can see its jobs" in ran.err


# -- cancel


def test_cancel_of_a_job_that_waits(cli: Cli) -> None:
    job = cli.app.enqueue("shop.add", (1,), job_id="j")
    ran = cli("cancel", "j")
    assert (ran.code, ran.out) == (Exit.OK, "cancelled\n")
    assert job.state() is State.CANCELLED
    assert cli("cancel", "j").code == Exit.OK


def test_cancel_of_a_job_that_runs(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    OneNode(cli.app).take()
    ran = cli("cancel", "j")
    assert (ran.code, ran.out) == (Exit.OK, "is asked to stop\n")


def test_cancel_of_a_job_that_is_finished(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    OneNode(cli.app).succeed(1)
    ran = cli("cancel", "j")
    assert (ran.code, ran.err) == (Exit.REFUSED, "taskrunner: job j is finished: it succeeded\n")


def test_cancel_as_json(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    assert json.loads(cli("cancel", "j", "--json").out) == {
        "id": "j",
        "queue": "default",
        "cancelled": True,
        "state": "cancelled",
    }


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (None, None),
        (Progress(3), "3"),
        (Progress(3, 10), "3 of 10"),
        (Progress(0.5, 1, "half"), "0.5 of 1 half"),
    ],
)
def test_progress_in_words(progress: Progress | None, text: str | None) -> None:
    assert jobs._progress(progress) == text
