from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from taskrunner.naming import nearest, public_module, qualified_name, type_name


def test_a_module_is_called_by_its_name() -> None:
    assert public_module("shop.tasks") == "shop.tasks"


@pytest.mark.parametrize(
    ("spec", "file", "expected"),
    [
        (None, "/somewhere/script.py", "script"),
        (SimpleNamespace(name="shop.__main__"), "/shop/__main__.py", "shop.__main__"),
        (None, None, "__main__"),
    ],
)
def test_a_script_is_called_as_other_processes_find_it(
    monkeypatch: pytest.MonkeyPatch, spec: object, file: str | None, expected: str
) -> None:
    main = ModuleType("__main__")
    main.__spec__ = spec  # type: ignore[assignment]
    if file:
        main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert public_module("__main__") == expected


def test_classes_functions_and_values_have_qualified_names() -> None:
    assert qualified_name(OSError) == "builtins.OSError"
    assert qualified_name(nearest) == "taskrunner.naming.nearest"
    assert type_name(5) == "int"
    assert type_name(ModuleType("m")) == "module"


def test_the_nearest_names_are_suggested() -> None:
    assert nearest("shop.sned", ["shop.send", "other.thing"]) == "did you mean 'shop.send'?"


def test_without_a_near_name_those_that_exist_are_shown_but_not_a_thousand() -> None:
    assert nearest("zzz", ["a", "b"]) == "there are: a, b"
    assert nearest("zzz", []) == "there are none"
    assert len(nearest("zzz", [f"name-{n}" for n in range(1000)])) < 300
