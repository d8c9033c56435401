"""`health`: a table, a line for each broken hop, and codes that scripts can use."""

from __future__ import annotations

import json

import pytest

from taskrunner.brokers.base import Command, NodeInfo
from taskrunner.cli.exits import Exit
from taskrunner.probes import ChildAnswer, ChildState, NodeAnswer
from tests.unit.cli.conftest import Cli, SharedBroker

FINE = ChildAnswer(1, 11, ChildState.ANSWERED, 0.01)
SILENT = ChildAnswer(2, 12, ChildState.SILENT, 4.0)


def add_node(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, node_id: str, *children: ChildAnswer
) -> None:
    """A node that says of its children what a test says; without any, nothing."""
    send = SharedBroker.send
    cli.broker.join(NodeInfo(node_id, lease=60.0, host="box", pid=7), [])

    def answer(broker: SharedBroker, node: str, command: Command) -> bool:
        known = send(broker, node, command)
        if node == node_id and children:
            value = NodeAnswer(is_final=True, children=children).pack()
            broker.put_record(command.details["to"], node, value)
        return known

    monkeypatch.setattr(SharedBroker, "send", answer)


def test_a_table_of_nodes_that_are_well(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add_node(cli, monkeypatch, "n1", FINE, FINE._replace(number=2, state=ChildState.BUSY))
    ran = cli("health")
    assert (ran.code, ran.err) == (Exit.OK, "")
    heading, row = ran.out.splitlines()
    assert heading.split()[:6] == ["node", "host", "pid", "answered", "busy", "silent"]
    assert row.split()[:6] == ["n1", "box", "7", "1", "1", "0"]
    assert row.endswith("ok")


def test_one_line_names_the_broken_hop(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add_node(cli, monkeypatch, "n1", FINE)
    add_node(cli, monkeypatch, "n2", FINE, SILENT)
    ran = cli("health")
    assert ran.code == 9
    assert ran.err.splitlines() == [
        "node n2: child: child 2 (pid 12) is silent: it read nothing from its pipe within 4.0 s"
    ]
    assert [line.split()[0] for line in ran.out.splitlines()] == ["node", "n1", "n2"]


def test_only_the_node_that_was_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add_node(cli, monkeypatch, "aa11", FINE)
    add_node(cli, monkeypatch, "bb22", SILENT)
    assert cli("health", "--node", "aa").code == Exit.OK
    assert cli("health", "--node", "bb22").code == Exit.UNHEALTHY


def test_only_the_nodes_of_this_machine(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add_node(cli, monkeypatch, "n1", FINE)
    monkeypatch.setattr("socket.gethostname", lambda: "box")
    assert cli("health", "--here").code == Exit.OK
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    ran = cli("health", "--here")
    assert ran.code == Exit.NOT_FOUND
    assert "there is no node of this machine" in ran.err


def test_json_for_machines(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add_node(cli, monkeypatch, "n1", FINE, SILENT)
    ran = cli("health", "--json")
    (found,) = json.loads(ran.out)
    assert ran.code == Exit.UNHEALTHY
    assert (found["node"], found["healthy"], found["fault"]["hop"]) == ("n1", False, "child")
    assert [child["state"] for child in found["children"]] == ["answered", "silent"]
    assert found["round_trip_s"] > 0


def test_a_node_that_says_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add_node(cli, monkeypatch, "n1")
    ran = cli("health", "--timeout", "0.2")
    assert ran.code == Exit.UNHEALTHY
    assert ran.err.startswith("node n1: supervisor: it did not take the probe within 0.2 s")


def test_no_node_is_a_code_of_its_own(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = cli("health")
    assert (ran.code, ran.out) == (Exit.NOT_FOUND, "")
    assert "there is no node in the namespace taskrunner" in ran.err
    add_node(cli, monkeypatch, "n1", FINE)
    ran = cli("health", "--node", "zz", "--json")
    assert (ran.code, json.loads(ran.out)) == (Exit.NOT_FOUND, [])
    assert "there is no node 'zz'" in ran.err


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_a_timeout_that_is_none(cli: Cli, timeout: str) -> None:
    assert cli("health", "--timeout", timeout).code == Exit.USAGE
