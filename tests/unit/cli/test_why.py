from __future__ import annotations

import json

from taskrunner.cli.exits import Exit
from tests.unit.cli.conftest import Cli


def test_why_says_a_sentence_for_each_cause(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,), job_id="j", delay=60)
    ran = cli("why", "j")
    assert ran.code == Exit.OK
    assert [line.split(" ")[0] for line in ran.out.splitlines()] == ["it", "no"]
    found = json.loads(cli("why", "j", "--json").out)
    assert (found["id"], found["queue"], found["task"]) == ("j", "default", "shop.add")
    assert [cause["kind"] for cause in found["causes"]] == ["due", "no node"]
    assert 0 < found["causes"][0]["details"]["in"] <= 60


def test_why_of_what_is_not_there(cli: Cli) -> None:
    ran = cli("why", "j")
    assert (ran.code, ran.out) == (Exit.NOT_FOUND, "")
    assert "there is no job 'j'" in ran.err
    assert cli("why", "a b").code == Exit.USAGE


def test_why_where_two_queues_have_it(cli: Cli) -> None:
    for queue in ("a", "b"):
        cli.app.enqueue("shop.add", (1,), job_id="j", queue=queue)
    assert cli("why", "j").code != Exit.OK
    assert cli("why", "j", "--queue", "a").code == Exit.OK
