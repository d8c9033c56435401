"""`app.schedules`: what is made and declared, and what is refused."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskrunner import (
    App,
    ArgumentError,
    DeclarationError,
    OptionError,
    PayloadTooLarge,
    UnknownTask,
)
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.schedulestore import ScheduleStore
from taskrunner.task import AsyncTask, Task
from tests.unit.some_schedules import make_app, stored


@pytest.fixture
def app() -> Iterator[App]:
    app = make_app()
    yield app
    app.close()


@pytest.fixture
def broker(app: App) -> MemoryBroker:
    assert isinstance(app.broker, MemoryBroker)
    return app.broker


# -- adding


def test_a_schedule_is_stored_with_its_job(app: App) -> None:
    made = app.schedules.add("s", "add", (1,), {"b": 2}, cron="0 3 * * *", timezone="Asia/Tokyo")
    assert (made.name, made.task, made.queue, made.priority) == ("s", "add", "sums", 7)
    assert (made.args, made.kwargs) == ((1,), {"b": 2})
    assert (made.cron, made.timezone, made.catch_up) == ("0 3 * * *", "Asia/Tokyo", "latest")
    assert made.declared_by is None
    assert made.stored
    assert made.next is not None
    assert (made.next.hour, made.next.minute, str(made.next.tzinfo)) == (3, 0, "Asia/Tokyo")
    assert app.schedules.get("s") == made
    assert app.schedules.list() == [made]


def test_options_are_those_of_the_jobs(app: App) -> None:
    app.schedules.add("s", app.tasks["add"], (1,), every=60, priority=9, headers={"k": "v"})
    template = stored(app).template
    assert (template.queue, template.priority) == ("sums", 9)
    assert template.header.headers == {"k": "v"}


def test_saying_the_same_again_changes_nothing(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    before = stored(app)
    app.schedules.add("s", "add", (1,), every=timedelta(minutes=1))
    assert stored(app) == before


def test_a_name_that_is_taken_by_another_is_refused(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    for args, said in (((2,), {"every": 60}), ((1,), {"every": 61})):
        with pytest.raises(OptionError, match=r"^name='s': there is a schedule .* replace=True"):
            app.schedules.add("s", "add", args, **said)  # type: ignore[arg-type]
    app.schedules.add("s", "add", (2,), every=61, replace=True)
    assert (app.schedules.get("s") or made_nothing()).every == 61.0


def made_nothing() -> Any:
    raise AssertionError("there is no schedule")


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (OptionError, "cron and every are both missing", {}),
        (OptionError, r"^cron='0 0 31 2 \*'", {"cron": "0 0 31 2 *"}),
        (OptionError, r"^timezone='Nowhere'", {"cron": "@daily", "timezone": "Nowhere"}),
        (OptionError, r"^start=.*time zone", {"every": 5, "start": datetime(2030, 1, 1)}),
        (OptionError, r"^every=0: expected", {"every": 0}),
        (OptionError, r"^priority=11: expected", {"every": 5, "priority": 11}),
        (OptionError, "unknown option 'overlaps': did you mean 'overlap'", {"overlaps": "skip"}),
        (ArgumentError, "missing a required argument: 'a'", {"every": 5, "args": ()}),
        (ArgumentError, "cannot be carried", {"every": 5, "args": (object(),)}),
        (UnknownTask, "no task 'ad' is declared here; did you mean 'add'", {"task": "ad"}),
        (
            PayloadTooLarge,
            r"add \(schedule s\) take \d+ bytes",
            {"every": 5, "args": ("x" * 2**21,)},
        ),
        (OptionError, "^name='a b': expected", {"name": "a b"}),
    ],
)
def test_a_mistake_is_an_error_at_the_call(
    app: App, error: type[Exception], message: str, arguments: dict[str, Any]
) -> None:
    given = {"name": "s", "task": "add", "args": (1,), "every": 5, **arguments}
    if "every" not in arguments and (
        "cron" in arguments or not {"overlaps", "task", "name"} & arguments.keys()
    ):
        del given["every"]
    with pytest.raises(error, match=message):
        app.schedules.add(**given)
    assert app.schedules.list() == []


def test_a_client_without_tasks_adds_by_name() -> None:
    app = App(MemoryBroker())
    app.schedules.add("s", "elsewhere.task", (1,), every=60, queue="q")
    assert stored(app).template.task == "elsewhere.task"


# -- declaring


def test_a_decorator_declares_and_stores_nothing(app: App) -> None:
    @app.cron("0 3 * * *", timezone="Europe/Berlin")
    @app.task(name="nightly")
    def nightly() -> None: ...

    @app.cron(every=5, name="often", args=(1,), overlap="skip", queue="vip")
    @app.cron("@daily", name="daily", kwargs={"n": 2})
    @app.task(name="two")
    async def two(n: int) -> None: ...

    assert isinstance(nightly, Task)
    assert isinstance(two, AsyncTask)
    assert set(app.schedules.declared) == {"nightly", "often", "daily"}
    assert app.schedules.declared["often"].queue == "vip"
    assert list(ScheduleStore(app.broker).all()) == []
    shown = app.schedules.list()
    assert [(one.name, one.stored) for one in shown] == [
        ("daily", False),
        ("nightly", False),
        ("often", False),
    ]
    assert len(app.schedules.preview("nightly", 3)) == 3


def plain() -> str:
    return "done"


def test_a_plain_function_becomes_a_task() -> None:
    app = App(MemoryBroker())
    task = app.cron("@daily")(plain)
    assert task() == "done"
    assert list(app.tasks) == list(app.schedules.declared) == [task.name]


def test_declaring_reads_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRUNNER_RETRIES", "many")
    app = App(MemoryBroker())

    @app.cron(every=5)
    @app.task(name="t")
    def task() -> None: ...

    assert "t" in app.schedules.declared


def test_a_second_declaration_needs_a_name_of_its_own(app: App) -> None:
    app.cron("@daily", args=(1,))(app.tasks["add"])
    app.cron("@daily", args=(1,))(app.tasks["add"])
    with pytest.raises(DeclarationError, match=r"^name='add': .* expected another name"):
        app.cron("@hourly", args=(1,))(app.tasks["add"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OptionError, {"every": 0, "args": (1,)}),
        (OptionError, {"args": (1,)}),
        (OptionError, {"every": 5, "cron": "@daily", "args": (1,)}),
        (ArgumentError, {"every": 5, "args": (1, 2, 3)}),
        (OptionError, {"every": 5, "name": "a b", "args": (1,)}),
    ],
)
def test_a_wrong_declaration_is_an_error_at_once(
    app: App, error: type[Exception], said: dict[str, Any]
) -> None:
    with pytest.raises(error):
        app.cron(**said)(app.tasks["add"])


def test_an_expression_is_given_once(app: App) -> None:
    with pytest.raises(OptionError, match="was given before"):
        app.cron("@daily", cron="@hourly")


MODULE = """
from taskrunner import App
from taskrunner.brokers.memory import MemoryBroker

app = App(MemoryBroker())

@app.task(name="t")
def task(): ...

def declare(name):
    app.schedules.add(name, task, every=5)

declare("at import")

def add(name):
    app.schedules.add(name, "t", every=5)
"""


def test_what_is_added_while_a_module_is_imported_is_a_declaration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "declares.py").write_text(MODULE.replace("at import", "at-import"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("declares")
    try:
        assert list(module.app.schedules.declared) == ["at-import"]
        assert list(ScheduleStore(module.app.broker).all()) == []
        module.add("later")
        assert [one.name for one in ScheduleStore(module.app.broker).all()] == ["later"]
        assert [(i.name, i.stored) for i in module.app.schedules.list()] == [
            ("at-import", False),
            ("later", True),
        ]
    finally:
        del sys.modules["declares"]
