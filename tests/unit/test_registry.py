from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, registry
from taskrunner.backends.memory import MemoryBackend
from taskrunner.brokers.base import Limits
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import AppNotFound, OptionError
from taskrunner.registry import backend_from_url, broker_from_url, load_app, load_app_from_path

LIMITS = Limits()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to be in, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


SHOP = "from taskrunner import App\napp = App('memory://')\nother = App('memory://')\nnumber = 5\n"


# -- brokers and backends


def test_what_is_built_in_is_found_by_its_scheme() -> None:
    broker = broker_from_url("memory://", namespace="n", limits=Limits(failed_max=3))
    assert isinstance(broker, MemoryBroker)
    assert isinstance(backend_from_url("memory://", namespace="n"), MemoryBackend)
    redis = broker_from_url("redis://localhost:1/0", namespace="n", limits=LIMITS)
    assert "redis" in redis.schemes
    redis.close()


@pytest.mark.parametrize("name", [*registry.BROKERS.values(), *registry.BACKENDS.values()])
def test_everything_said_to_be_built_in_exists(name: str) -> None:
    assert registry.load(name).schemes


@pytest.mark.parametrize("scheme", [*registry.BROKERS])
def test_what_is_built_in_answers_to_its_scheme(scheme: str) -> None:
    assert scheme in registry.load(registry.BROKERS[scheme]).schemes


class Mine(MemoryBroker):
    @classmethod
    def from_url(cls, url: str, *, namespace: str, limits: Limits) -> Mine:
        return cls(limits=limits)


def test_what_is_registered_by_hand_goes_before_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_registered_brokers", {})
    registry.register_broker("memory", Mine)
    assert isinstance(broker_from_url("memory://", namespace="n", limits=LIMITS), Mine)


def test_installed_packages_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(*, group: str) -> list[Any]:
        assert group == "taskrunner.brokers"
        return [importlib.metadata.EntryPoint("mine", f"{__name__}:Mine", group)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Mine.__module__])
    assert isinstance(broker_from_url("mine://x", namespace="n", limits=LIMITS), Mine)
    with pytest.raises(OptionError, match="memory, mine, redis"):
        broker_from_url("other://x", namespace="n", limits=LIMITS)


@pytest.mark.parametrize("url", ["pigeon://user:secret@home", "no-scheme", "", "pigeon:x"])
def test_an_unknown_scheme_names_those_that_exist_and_hides_the_password(url: str) -> None:
    with pytest.raises(OptionError, match=r"there are: memory, redis, .*rediss, .*unix") as caught:
        broker_from_url(url, namespace="n", limits=LIMITS)
    assert "secret" not in str(caught.value)
    with pytest.raises(OptionError, match="backend"):
        backend_from_url(url, namespace="n")


# -- applications


def test_an_app_is_found_from_the_current_folder(folder: Path) -> None:
    write(folder, "shop/__init__.py", "")
    write(folder, "shop/tasks.py", SHOP)
    assert isinstance(load_app("shop.tasks:app"), App)
    assert load_app("shop.tasks:app") is load_app("shop.tasks:app")


@pytest.mark.parametrize("name", ["shop.tasks", ":app", "shop:", ""])
def test_without_module_or_attribute_the_form_is_explained(folder: Path, name: str) -> None:
    with pytest.raises(AppNotFound, match="expected module:attribute"):
        load_app(name)


def test_a_module_that_is_missing_names_the_nearest(folder: Path) -> None:
    write(folder, "shop.py", SHOP)
    with pytest.raises(AppNotFound, match=r"no module 'shpo'.*did you mean 'shop'") as caught:
        load_app("shpo:app")
    assert caught.value.user_traceback == ""


def test_a_module_that_is_missing_in_a_package_names_the_nearest_there(folder: Path) -> None:
    write(folder, "shop/__init__.py", "")
    write(folder, "shop/tasks.py", SHOP)
    with pytest.raises(AppNotFound, match=r"no module 'shop.task'.*did you mean 'tasks'"):
        load_app("shop.task:app")


def test_a_module_that_raises_brings_the_users_own_traceback(folder: Path) -> None:
    write(folder, "shop.py", "def broken():\n    return 1 / 0\n\nbroken()\n")
    with pytest.raises(AppNotFound, match="importing shop raised ZeroDivisionError") as caught:
        load_app("shop:app")
    shown = caught.value.user_traceback
    assert 'shop.py", line 4' in shown
    assert 'shop.py", line 2, in broken' in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "registry.py" not in shown
    assert "importlib" not in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_every_way_to_fail_on_import_is_told(folder: Path, text: str, said: str) -> None:
    write(folder, "shop.py", text)
    with pytest.raises(AppNotFound) as caught:
        load_app("shop:app")
    assert said in str(caught.value) + caught.value.user_traceback
    assert "shop.py" in caught.value.user_traceback


def test_an_attribute_that_is_missing_names_the_apps_there(folder: Path) -> None:
    write(folder, "shop.py", SHOP)
    with pytest.raises(AppNotFound, match=r"no attribute 'ap'; Apps in it: app, other"):
        load_app("shop:ap")
    write(folder, "empty.py", "")
    with pytest.raises(AppNotFound, match="there is no App in it"):
        load_app("empty:app")


def test_what_is_not_an_app_says_what_it_is(folder: Path) -> None:
    write(folder, "shop.py", SHOP)
    with pytest.raises(AppNotFound, match=r"shop:number is not an App but of type int; Apps in it"):
        load_app("shop:number")


def test_an_attribute_may_have_dots(folder: Path) -> None:
    write(folder, "shop.py", SHOP + "class Box:\n    inner = app\n")
    assert load_app("shop:Box.inner") is load_app("shop:app")


# -- scripts


def test_a_script_is_loaded_by_its_path_without_its_main_part(folder: Path) -> None:
    text = SHOP + "@app.task\ndef work(): ...\nif __name__ == '__main__':\n    1 / 0\n"
    path = write(folder, "scripts/jobs.py", text)
    app = load_app_from_path(path, "app")
    assert list(app.tasks) == ["jobs.work"]
    assert load_app_from_path(path, "app") is app
    assert sys.path[0] == str(path.parent)


def test_a_script_whose_name_is_taken_still_names_its_tasks_by_it(folder: Path) -> None:
    path = write(folder, "json.py", SHOP + "@app.task\ndef work(): ...\n")
    import json

    app = load_app_from_path(path, "app")
    assert list(app.tasks) == ["json.work"]
    assert sys.modules["json"] is json


def test_a_script_and_who_loads_it_agree_on_names(folder: Path) -> None:
    text = SHOP + (
        "@app.task\ndef work(): ...\nif __name__ == '__main__':\n    print(list(app.tasks)[0])\n"
    )
    path = write(folder, "jobs.py", text)
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, str(path)],
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == list(load_app_from_path(path, "app").tasks)


def test_a_script_that_raises_or_is_not_there_says_so(folder: Path) -> None:
    path = write(folder, "jobs.py", "1 / 0\n")
    with pytest.raises(AppNotFound, match="ZeroDivisionError") as caught:
        load_app_from_path(path, "app")
    assert "registry.py" not in caught.value.user_traceback
    assert "jobs" not in sys.modules
    with pytest.raises(AppNotFound, match="not a Python file"):
        load_app_from_path(folder / "nowhere.py", "app")
