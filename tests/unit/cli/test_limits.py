"""`pause`, `resume`, `limits`, and how `queues` shows a pause."""

from __future__ import annotations

import json

import pytest

from taskrunner.cli.exits import Exit
from tests.unit.cli.conftest import Cli


def test_a_queue_is_paused_shown_as_paused_and_resumed(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,))
    assert cli("pause", "default").out == "queue default is paused until it is resumed\n"
    assert "default (paused)" in cli("queues").out
    assert json.loads(cli("queues", "--json").out)[0]["paused"] is True
    assert cli("resume", "default").out == "queue default goes on\n"
    assert cli("resume", "default").err == "queue default was not paused\n"
    assert json.loads(cli("queues", "--json").out)[0]["paused"] is False


def test_a_task_or_a_key_may_be_paused_for_a_time(cli: Cli) -> None:
    ran = cli("pause", "default", "--task", "shop.add", "--for", "90")
    assert ran.out == "task shop.add in queue default is paused for 1 min 30 s\n"
    cli("pause", "default", "--key", "k")
    shown = cli("limits", "list", "--queue", "default").out
    assert "task:shop.add" in shown
    assert "paused for 1 min" in shown
    assert "key:k" in shown


def test_limits_are_set_listed_and_removed(cli: Cli) -> None:
    cli.app.enqueue("shop.add", (1,))
    ran = cli("limits", "set", "default", "--rate", "5/m", "--max-running", "3")
    assert ran.out == "queue default: 5/m, 3 at once\n"
    (shown,) = json.loads(cli("limits", "list", "--json").out)
    assert (shown["scope"], shown["name"]) == ("queue", None)
    assert shown["set"] == {"rate": "5/m", "max_running": 3}
    ran = cli("limits", "set", "default", "--task", "t", "--rate", "none", "--max-running", "none")
    assert ran.out == "task t in queue default: no limit\n"
    table = cli("limits").out + cli("limits", "list").out
    assert "no rate, any number at once" in table
    assert cli("limits", "remove", "default").out == "queue default: no limit\n"
    assert "nothing was set for queue default" in cli("limits", "remove", "default").err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["pause", "default", "--for", "0"], "seconds=0"),
        (["pause", "default", "--for", "soon"], "seconds='soon'"),
        (["pause", "default", "--task", "t", "--key", "k"], "task and key were both given"),
        (["pause", "a b"], "queue='a b'"),
        (["resume", "default", "--key", ""], "key=''"),
        (["limits", "set", "default"], "a rate, a max_running or both"),
        (["limits", "set", "default", "--rate", "much"], "rate='much'"),
        (["limits", "set", "default", "--max-running", "0"], "max_running=0"),
        (["enqueue", "app", "shop.add", "--rate-limit", "0/s"], "rate_limit='0/s'"),
    ],
)
def test_a_users_own_mistake_is_a_sentence(cli: Cli, words: list[str], complaint: str) -> None:
    ran = cli(*words)
    assert ran.code in (Exit.USAGE, Exit.CONFIG)
    assert complaint in ran.err or words[0] == "enqueue"
    assert "Traceback" not in ran.err
