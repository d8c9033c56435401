from __future__ import annotations

import json

from taskrunner import State
from taskrunner.cli.exits import Exit
from tests.unit.cli.conftest import Cli
from tests.unit.one_node import OneNode


def fill(cli: Cli) -> None:
    app = cli.app
    app.enqueue("shop.add", (1,), queue="a")
    app.enqueue("shop.add", (1,), queue="a", priority=9)
    app.enqueue("shop.add", (1,), queue="b", delay=60)
    OneNode(app, "b")
    app.enqueue("shop.add", (1,), queue="c")
    OneNode(app, "c").succeed(1)


def test_a_table_of_the_states_that_occur(cli: Cli) -> None:
    fill(cli)
    ran = cli("queues")
    assert ran.code == Exit.OK
    assert [line.split() for line in ran.out.splitlines()] == [
        ["queue", "scheduled", "pending", "active", "succeeded", "failed"],
        ["a", "0", "2", "0", "0", "0"],
        ["b", "1", "0", "0", "0", "0"],
        ["c", "0", "0", "0", "1", "0"],
    ]


def test_one_queue(cli: Cli) -> None:
    fill(cli)
    assert len(cli("queues", "--queue", "b").out.splitlines()) == 2
    assert cli("queues", "--queue", "a b").code == Exit.USAGE


def test_as_json_with_every_state(cli: Cli) -> None:
    fill(cli)
    found = json.loads(cli("queues", "--json").out)
    assert [queue["queue"] for queue in found] == ["a", "b", "c"]
    assert set(found[0]["counts"]) == {str(state) for state in State}
    assert found[0]["counts"]["pending"] == 2
    assert found[0]["pending_by_priority"] == {"5": 1, "9": 1}
    assert found[2]["processed"] == 1


def test_no_queues_yet(cli: Cli) -> None:
    ran = cli("queues", "--namespace", "shop")
    assert (ran.code, ran.out) == (Exit.OK, "")
    assert ran.err == "there are no queues in the namespace shop\n"
    assert json.loads(cli("queues", "--json").out) == []
