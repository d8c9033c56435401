from __future__ import annotations

import json

import pytest

from taskrunner.brokers.base import NodeInfo
from taskrunner.cli.exits import Exit
from taskrunner.errors import NodeNotFound, OptionError
from taskrunner.inspector import Action, Inspector
from tests.unit.cli.conftest import Cli

ONE = NodeInfo(
    "aa11",
    lease=60.0,
    host="web",
    pid=7,
    processes=4,
    busy=2,
    queues=("mail", "default"),
    version="0.1",
)
TWO = NodeInfo("aa22", lease=60.0, host="db", pid=9, processes=1)


@pytest.fixture
def fleet(cli: Cli) -> Cli:
    for node in (ONE, TWO):
        cli.broker.join(node, ["default"])
    return cli


def sent(cli: Cli, node: NodeInfo) -> list[str]:
    return [command.do for command in cli.broker.commands(node.id)]


def test_a_table_by_host(fleet: Cli) -> None:
    ran = fleet("nodes")
    assert ran.code == Exit.OK
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0] == [
        "node",
        "host",
        "pid",
        "processes",
        "busy",
        "queues",
        "version",
        *["beat", "s", "ago"],
    ]
    assert rows[1][:5] == ["aa22", "db", "9", "1", "0"]
    assert rows[2] == ["aa11", "web", "7", "4", "2", "default,mail", "0.1", "0.0"]


def test_as_json(fleet: Cli) -> None:
    found = json.loads(fleet("nodes", "--json").out)
    assert [one["node"] for one in found] == ["aa22", "aa11"]
    assert found[1]["queues"] == ["default", "mail"]
    assert (found[1]["busy"], found[1]["processes"]) == (2, 4)
    assert found[1]["last_beat_s"] == pytest.approx(0, abs=5)


def test_where_there_is_none(cli: Cli) -> None:
    ran = cli("nodes")
    assert (ran.code, ran.out) == (Exit.OK, "")
    assert "no nodes in the namespace taskrunner" in ran.err
    assert cli("nodes", "--json").out.strip() == "[]"
    assert cli("control", "--all", "dump").code == Exit.NOT_FOUND


@pytest.mark.parametrize("action", list(Action))
def test_a_node_is_told(fleet: Cli, action: str) -> None:
    ran = fleet("control", "aa11", action)
    assert (ran.code, ran.out) == (Exit.OK, f"aa11 (web, pid 7) was told to {action}\n")
    assert sent(fleet, ONE) == [action]
    assert sent(fleet, TWO) == []


def test_the_beginning_of_an_id_is_enough_where_it_is_one_nodes(fleet: Cli) -> None:
    assert fleet("control", "aa2", "grow").code == Exit.OK
    assert sent(fleet, TWO) == ["grow"]
    ran = fleet("control", "aa", "grow")
    assert ran.code == Exit.USAGE
    assert "2 nodes begin so" in ran.err
    assert sent(fleet, ONE) == []


def test_all_are_told(fleet: Cli) -> None:
    ran = fleet("control", "--all", "reload", "--json")
    told = [{"node": node.id, "action": "reload"} for node in (TWO, ONE)]
    assert (ran.code, json.loads(ran.out)) == (Exit.OK, told)
    assert sent(fleet, ONE) == sent(fleet, TWO) == ["reload"]


def test_an_unknown_node_is_named_with_those_there_are(fleet: Cli) -> None:
    ran = fleet("control", "bb", "stop")
    assert ran.code == Exit.NOT_FOUND
    assert "there is no node 'bb'; there are aa22 (db, pid 9), aa11 (web, pid 7)" in ran.err


@pytest.mark.parametrize(
    "words", [["aa11"], ["aa11", "jump"], ["--all"], ["--all", "aa11", "stop"], []]
)
def test_what_nobody_does_is_said_in_one_line(fleet: Cli, words: list[str]) -> None:
    ran = fleet("control", *words)
    assert ran.code == Exit.USAGE
    assert "grow|shrink|reload|stop|dump" in ran.err
    assert sent(fleet, ONE) == []


def test_the_inspector_has_the_same(fleet: Cli) -> None:
    inspector = Inspector(fleet.app)
    assert [node.id for node in inspector.nodes()] == ["aa22", "aa11"]
    assert [node.id for node in inspector.control("aa11", "dump")] == ["aa11"]
    with pytest.raises(NodeNotFound, match="no node ''"):
        inspector.control("", Action.STOP)
    with pytest.raises(OptionError, match="'jump'"):
        inspector.control(None, "jump")
