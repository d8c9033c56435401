from __future__ import annotations

import json

import pytest

from taskrunner.cli.exits import Exit
from taskrunner.config import SETTING_NAMES
from taskrunner.errors import BrokerUnavailable
from tests.unit.cli.conftest import Cli


def test_every_setting_with_its_value_and_source(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.write("taskrunner.toml", 'queues = ["a=2", "b"]')
    monkeypatch.setenv("TASKRUNNER_RETRIES", "8")
    monkeypatch.setenv("TASKRUNNER_BACKEND", "redis://u:secret@h:1")
    cli.write("mine.py", "from taskrunner import App\napp = App(lease_s=4)")
    ran = cli("check", "mine:app", "--namespace", "shop")
    assert ran.code == Exit.OK
    table = ran.out.partition("\n\n")[0].splitlines()
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in table[1:]}
    assert list(rows) == list(SETTING_NAMES)
    words = {name: " ".join(text.split()) for name, text in rows.items()}
    assert words["queues"] == "a=2,b=1 taskrunner.toml"
    assert words["retries"] == "8 TASKRUNNER_RETRIES"
    assert words["backend"] == "redis://u:***@h:1 TASKRUNNER_BACKEND"
    assert words["lease_s"] == "4.0 App(...)"
    assert words["namespace"] == "shop command line"
    assert words["prefetch"] == "auto default"
    assert words["strict"] == "false default"
    assert "no tasks are declared" in ran.out


def test_the_tasks_with_their_queues(cli: Cli) -> None:
    lines = [line.split() for line in cli("check", "shop:app").out.splitlines()]
    assert ["shop.add", "default"] in lines
    assert ["shop.send", "mail"] in lines


def test_as_json(cli: Cli) -> None:
    found = json.loads(cli("check", "shop:app", "--json").out)
    assert set(found["settings"]) == set(SETTING_NAMES)
    assert found["settings"]["broker"] == {"value": "test://", "source": "TASKRUNNER_BROKER"}
    assert found["tasks"]["shop.send"] == {"queue": "mail", "async": True}
    assert found["broker_answers"] is None


def test_only_ping_asks_the_broker(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(cli.broker, "ping", lambda: asked.append(1))
    assert cli("check", "shop:app").code == Exit.OK
    assert asked == []
    assert "the broker test:// answers" in cli("check", "shop:app", "--ping").out
    assert asked == [1]


def test_a_broker_that_does_not_answer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise BrokerUnavailable("nobody there")

    monkeypatch.setattr(cli.broker, "ping", fail)
    ran = cli("check", "shop:app", "--ping")
    assert (ran.code, ran.err) == (Exit.BROKER, "taskrunner: nobody there\n")


def test_all_mistakes_together(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.write("taskrunner.toml", "retrys = 1")
    monkeypatch.setenv("TASKRUNNER_LEASE_S", "soon")
    cli.write("mine.py", "from taskrunner import App\napp = App(grace_s=-1)")
    ran = cli("check", "mine:app")
    assert ran.code == Exit.CONFIG
    assert len(ran.err.splitlines()) == 4
    for name in ("retrys", "TASKRUNNER_LEASE_S", "App(grace_s=-1)"):
        assert name in ran.err


def test_a_backend_that_only_one_process_could_read(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKRUNNER_BACKEND", "memory://")
    ran = cli("check", "shop:app")
    assert ran.code == Exit.CONFIG
    assert "result backend memory:// (from TASKRUNNER_BACKEND)" in ran.err


def test_a_backend_nobody_answers_to(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRUNNER_BACKEND", "s3://u:secret@h")
    ran = cli("check", "shop:app")
    assert ran.code == Exit.CONFIG
    assert ran.err.startswith("taskrunner: backend (from TASKRUNNER_BACKEND): ")
    assert "secret" not in ran.err


def test_the_schedules_that_the_code_declares(cli: Cli) -> None:
    assert json.loads(cli("check", "shop:app", "--json").out)["schedules"] == {}
    cli.write(
        "timed.py",
        "from shop import app, add\n"
        "app.cron('@daily', name='a', args=(1,), timezone='Asia/Tokyo')(add)\n"
        "app.schedules.add('b', add, (1,), every=90)\n",
    )
    shown = [line.split() for line in cli("check", "timed:app").out.splitlines()]
    assert ["a", "shop.add", "@daily", "Asia/Tokyo"] in shown
    assert ["b", "shop.add", "every", "90", "s"] in shown
    found = json.loads(cli("check", "timed:app", "--json").out)["schedules"]
    assert (found["a"]["cron"], found["b"]["every"]) == ("@daily", 90.0)
