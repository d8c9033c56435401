from __future__ import annotations

import json

import pytest

from taskrunner import ErrorInfo, State
from taskrunner.cli.exits import Exit
from tests.unit.cli.conftest import Cli
from tests.unit.one_node import OneNode


def failed(cli: Cli, *ids: str) -> OneNode:
    node = OneNode(cli.app)
    for job_id in ids:
        cli.app.enqueue("shop.add", (1,), job_id=job_id)
        node.fail(ErrorInfo("app.Oops", "bad", "", 1))
    return node


# -- one job


def test_retry_makes_a_failed_job_ready(cli: Cli) -> None:
    failed(cli, "j")
    ran = cli("retry", "j")
    assert (ran.code, ran.out) == (Exit.OK, "is ready to run\n")
    assert cli.app.job("j").state() is State.PENDING


def test_what_cannot_be_retried_says_why(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j")
    OneNode(cli.app).succeed(1)
    ran = cli("retry", "j")
    assert ran.code == Exit.REFUSED
    assert ran.err.startswith("taskrunner: job j is succeeded; retry is possible for: scheduled")
    assert cli.app.job("j").state() is State.SUCCEEDED


def test_delete_asks_and_removes(cli: Cli) -> None:
    failed(cli, "j")
    refused = cli("delete", "j")
    assert (refused.code, "say --yes" in refused.err) == (Exit.USAGE, True)
    assert cli.app.job("j").state() is State.FAILED
    assert json.loads(cli("delete", "j", "--yes", "--json").out) == {
        "id": "j",
        "queue": "default",
        "action": "delete",
        "done": True,
        "was": "failed",
    }
    assert cli("status", "j").code == Exit.NOT_FOUND


def test_reschedule_moves_what_waits_for_a_time(cli: Cli) -> None:
    job = cli.app.enqueue("shop.add", (1,), job_id="j", delay=60)
    assert cli("reschedule", "j", "--eta", "2090-01-31T12:00:00+01:00").code == Exit.OK
    assert job.info().eta.isoformat() == "2090-01-31T11:00:00+00:00"  # type: ignore[union-attr]
    for words in ([], ["--delay", "1", "--eta", "2090-01-31T12:00:00Z"], ["--delay", "-1"]):
        assert cli("reschedule", "j", *words).code == Exit.USAGE
    assert cli("reschedule", "j", "--eta", "tomorrow").code == Exit.USAGE


@pytest.mark.parametrize("command", ["retry", "delete", "reschedule"])
def test_a_job_that_is_not_there(cli: Cli, command: str) -> None:
    more = {"delete": ["--yes"], "reschedule": ["--delay", "1"]}.get(command, [])
    ran = cli(command, "nothing", *more)
    assert (ran.code, ran.err) == (
        Exit.NOT_FOUND,
        "taskrunner: there is no job 'nothing' in any queue\n",
    )


# -- many


def test_jobs_are_shown_by_what_the_options_say(cli: Cli) -> None:
    failed(cli, "bad")
    cli.app.enqueue("shop.add", ("needle",), job_id="a")
    cli.app.enqueue("mail.send", (1,), job_id="b", queue="mail")
    shown = [row["id"] for row in json.loads(cli("jobs", "--json").out)["jobs"]]
    assert shown == ["a", "bad", "b"]
    for words, expected in [
        (["--queue", "default", "--state", "failed"], ["bad"]),
        (["--task", "mail.*"], ["b"]),
        (["--text", "NEEDLE"], ["a"]),
        (["--text", "oops"], ["bad"]),
        (["--since", "2090-01-01T00:00:00Z"], []),
    ]:
        found = json.loads(cli("jobs", *words, "--json").out)["jobs"]
        assert [row["id"] for row in found] == expected, words


def test_pages_follow_each_other(cli: Cli) -> None:
    for n in range(5):
        cli.app.enqueue("shop.add", (n,), job_id=f"j{n}")
    ids, cursor = [], ""
    for _ in range(3):
        page = json.loads(cli("jobs", "--limit", "2", "--cursor", cursor, "--json").out)
        ids += [row["id"] for row in page["jobs"]]
        cursor = page["cursor"]
    assert (ids, cursor) == (["j0", "j1", "j2", "j3", "j4"], "")
    assert "more: --cursor" in cli("jobs", "--limit", "2").err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--state", "done"], "state='done': expected one of scheduled"),
        (["--cursor", "x"], "cursor='x': expected one that a page answered"),
        (["--limit", "0"], "limit=0: expected a whole number from 1 to 1000"),
        (["--since", "soon"], "since='soon': expected a datetime with a time zone"),
        (["--queue", "a b"], "queue='a b'"),
    ],
)
def test_jobs_that_cannot_be_meant(cli: Cli, words: list[str], text: str) -> None:
    ran = cli("jobs", *words)
    assert (ran.code, text in ran.err) == (Exit.USAGE, True)


def test_purge_removes_what_waits_and_nothing_else(cli: Cli) -> None:
    node = failed(cli, "bad")
    cli.app.enqueue("shop.add", (1,), job_id="runs")
    node.take()
    cli.app.enqueue("shop.add", (1,), job_id="waits")
    cli.app.enqueue("shop.add", (1,), job_id="later", delay=60)
    cli.app.enqueue("shop.add", (1,), job_id="other", queue="other")
    assert cli("purge", "default").code == Exit.USAGE
    assert cli("purge", "default", "--dry-run").out == "2 would be removed\n"
    assert cli("purge", "default", "--yes").out == "2 removed\n"
    left = [row["id"] for row in json.loads(cli("jobs", "--json").out)["jobs"]]
    assert sorted(left) == ["bad", "other", "runs"]
    assert cli("purge", "default", "--yes", "--state", "failed").out == "1 removed\n"
    assert cli("purge", "default", "--yes", "--state", "active").code == Exit.USAGE


def test_requeue_begins_anew_what_failed(cli: Cli) -> None:
    failed(cli, "a", "b")
    cli.app.enqueue("shop.add", (1,), job_id="c")
    cli.app.job("c").cancel()
    found = json.loads(cli("requeue", "default", "--yes", "--json").out)
    assert (found["matched"], found["done"]) == (2, 2)
    assert [cli.app.job(i).state() for i in "abc"] == ["pending", "pending", "cancelled"]
    assert cli("requeue", "default").err == "none was requeued\n"


def test_stats_are_a_few_numbers(cli: Cli) -> None:
    failed(cli, "a")
    cli.app.enqueue("shop.add", (1,), queue="other")
    found = json.loads(cli("stats", "--json").out)
    assert (found["queues"], found["failed"], found["counts"]["pending"]) == (2, 1, 1)
    assert "failed ever     1" in cli("stats").out
