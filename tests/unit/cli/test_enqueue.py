from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner import ErrorInfo, Job, State
from taskrunner.cli.exits import Exit
from taskrunner.message import Header, unpack
from taskrunner.testing.waiting import eventually
from tests.unit.cli.conftest import Cli, Ran
from tests.unit.one_node import OneNode


def job_of(cli: Cli, ran: Ran) -> Job[Any]:
    assert ran.code == Exit.OK, ran.err
    return cli.app.job(ran.out.strip())


def header_of(job: Job[Any]) -> Header:
    return unpack(job.info().record.wire)[0]


def test_it_submits_a_job_and_prints_its_id(cli: Cli) -> None:
    info = job_of(cli, cli("enqueue", "shop:app", "shop.add", "1", "--kwargs", '{"b": 2}')).info()
    assert (info.task, info.queue, info.state) == ("shop.add", "default", State.PENDING)
    assert (info.args, info.kwargs) == ((1,), {"b": 2})


def test_each_word_is_one_json_value(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.add", "-5", '{"a": [null, true, 1.5, "x"]}')
    assert job_of(cli, ran).info().args == (-5, {"a": [None, True, 1.5, "x"]})


def test_text_without_quotes_is_an_error_that_shows_how(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.add", "1", "hello")
    assert ran.code == Exit.USAGE
    assert """argument 2 is not JSON: hello""" in ran.err
    assert """'"hello"'""" in ran.err


def test_a_misspelt_option_is_no_argument(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.add", "1", "--prioritty", "5")
    assert ran.code == Exit.USAGE
    assert "no such option --prioritty: did you mean '--priority'" in ran.err


def test_every_option_travels(cli: Cli) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    ran = cli(
        *("enqueue", "shop:app", "shop.add", "1", "--queue", "vip", "--priority", "9"),
        *("--eta", soon.isoformat(), "--expires", "7200.5", "--timeout", "1.5"),
        *("--deadline", (soon + timedelta(hours=1)).isoformat(), "--retries", "4"),
        *("--retention", "60", "--job-id", "mine", "--header", "a=1", "--header", "b=x=y"),
        *("--backoff", "initial=2,jitter=false", "--retry-on", "builtins.OSError"),
    )
    job = job_of(cli, ran)
    info, header = job.info(), header_of(job)
    assert (info.id, info.queue, info.priority) == ("mine", "vip", 9)
    assert info.state is State.SCHEDULED
    assert info.eta is not None
    assert abs(info.eta - soon) < timedelta(seconds=1)
    assert info.expires_at is not None
    assert info.deadline is not None
    assert dict(info.headers) == {"a": "1", "b": "x=y"}
    assert (header.timeout, header.retries, header.retention) == (1.5, 4, 60.0)
    assert header.backoff == (2.0, 2.0, 600.0, False)
    assert header.retry_on == ("builtins.OSError",)


def test_delay_and_a_moment_to_expire(cli: Cli) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    ran = cli("enqueue", "shop:app", "shop.add", "1", "--delay", "0.5", "--expires", later)
    info = job_of(cli, ran).info()
    assert info.state is State.SCHEDULED
    assert info.expires_at is not None
    assert info.expires_at.isoformat()[:19] == later[:19]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--priority", "11"), "priority=11: expected a whole number from 0 to 9"),
        (("--priority", "high"), "priority='high': expected"),
        (("--timeout", "-1"), "timeout=-1: expected seconds"),
        (("--eta", "2030-01-01"), "this one has none: say which"),
        (("--eta", "soon"), "eta='soon': expected a datetime"),
        (("--expires", "never"), "expires='never': expected"),
        (("--queue", "a b"), "queue='a b': expected"),
        (("--queue", ""), "queue='': expected"),
        (("--job-id", ""), "job_id='': expected"),
        (("--durability", "sure"), "durability='sure': expected one of"),
        (("--durability", "fsynced"), "cannot confirm that: expected 'default'"),
        (("--retries", "1.5"), "retries=1.5: expected"),
        (("--delay", "1", "--eta", "2030-01-01T00:00:00+00:00"), "both given"),
        (("--header", "no-sign"), "--header='no-sign': expected KEY=VALUE"),
        (("--backoff", "initial=x"), "expected initial=1,factor=2,maximum=600,jitter=true"),
        (("--backoff", "wait=1"), "expected initial=1,factor=2,maximum=600,jitter=true"),
        (("--backoff", "factor=0"), "factor=0: expected"),
        (("--retry-on", "5"), "retry_on='5': expected"),
        (("--wait-timeout", "-1"), "is not in the range x>=0"),
        (("--kwargs", "{"), "--kwargs is not JSON"),
        (("--kwargs", "[1]"), "expected one JSON object"),
        (("--kwargs", '{"c": 1}'), "unexpected keyword argument 'c'"),
    ],
)
def test_a_bad_option_is_named_and_nothing_submitted(
    cli: Cli, options: tuple[str, ...], says: str
) -> None:
    ran = cli("enqueue", "shop:app", "shop.add", "1", *options)
    assert ran.code == Exit.USAGE
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert cli.broker.queues() == []


def test_a_task_that_nobody_declared_names_the_nearest(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.sned", "1")
    assert ran.code == Exit.USAGE
    assert "did you mean 'shop.send'" in ran.err


def test_an_id_that_is_taken_is_refused(cli: Cli) -> None:
    assert cli("enqueue", "shop:app", "shop.add", "1", "--job-id", "x").code == Exit.OK
    ran = cli("enqueue", "shop:app", "shop.add", "1", "--job-id", "x")
    assert ran.code == Exit.REFUSED
    assert "an unfinished job" in ran.err


def test_a_payload_over_the_limit(cli: Cli) -> None:
    cli.write("taskrunner.toml", "payload_limit_bytes = 10")
    ran = cli("enqueue", "shop:app", "shop.add", json.dumps("x" * 50))
    assert ran.code == Exit.USAGE
    assert "at most 10 are accepted" in ran.err


def test_memory_cannot_be_reached_from_here(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.add", "1", "--broker", "memory://")
    assert ran.code == Exit.CONFIG
    assert "memory:// (from command line) lives inside one process" in ran.err


def test_an_unknown_scheme_names_those_that_exist_and_hides_the_password(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.add", "1", "--broker", "amqp://u:secret@h")
    assert ran.code == Exit.CONFIG
    assert "memory, redis, " in ran.err
    assert "secret" not in ran.err


def test_json_of_a_submission(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.send", '"x"', "--json", "--job-id", "j")
    assert json.loads(ran.out) == {"id": "j", "queue": "mail", "task": "shop.send"}


# -- waiting


ERROR = ErrorInfo("builtins.ValueError", "no", "their lines", 1)
Worker = Callable[[OneNode], Any]


def waited(cli: Cli, work: Worker, *options: str) -> Ran:
    """`enqueue --wait` while a node beside does `work` with the job."""
    node = OneNode(cli.app)

    def beside() -> None:
        eventually(lambda: cli.broker.stats(["default"])[0].counts.get(State.PENDING))
        work(node)

    thread = threading.Thread(target=beside)
    thread.start()
    try:
        return cli("enqueue", "shop:app", "shop.add", "1", "--job-id", "j", "--wait", *options)
    finally:
        thread.join()


def test_waiting_shows_the_result(cli: Cli) -> None:
    ran = waited(cli, lambda node: node.succeed({"a": (1, 2)}))
    assert (ran.code, ran.out) == (Exit.OK, 'j\n{"a": [1, 2]}\n')


def test_waiting_with_json(cli: Cli) -> None:
    ran = waited(cli, lambda node: node.succeed(datetime(2030, 1, 1, tzinfo=UTC)), "--json")
    assert json.loads(ran.out) == {
        "id": "j",
        "queue": "default",
        "task": "shop.add",
        "result": "2030-01-01T00:00:00+00:00",
    }


def test_a_failed_job_shows_the_remote_traceback(cli: Cli) -> None:
    ran = waited(cli, lambda node: node.fail(ERROR))
    assert ran.code == Exit.JOB_FAILED
    assert "builtins.ValueError: no" in ran.err
    assert "their lines" in ran.err


def test_a_failed_job_as_json(cli: Cli) -> None:
    ran = waited(cli, lambda node: node.fail(ERROR), "--json")
    assert ran.code == Exit.JOB_FAILED
    error = json.loads(ran.out)["error"]
    assert (error["kind"], error["type"], error["text"]) == (
        "JobFailed",
        "builtins.ValueError",
        "no",
    )
    assert error["traceback"] == "their lines"


def test_a_cancelled_job(cli: Cli) -> None:
    ran = waited(cli, lambda node: cli.app.job("j").cancel())
    assert ran.code == Exit.JOB_FAILED
    assert "was cancelled" in ran.err


def test_a_wait_can_time_out(cli: Cli) -> None:
    ran = cli("enqueue", "shop:app", "shop.add", "1", "--wait-timeout", "0.01")
    assert ran.code == Exit.TIMEOUT
    assert "did not finish within 0.01 seconds" in ran.err


def test_a_result_that_is_not_kept_is_no_failure(cli: Cli) -> None:
    ran = waited(cli, lambda node: node.succeed(1, retention=0.0))
    assert ran.code == Exit.OK
    assert "no longer kept" in ran.err
