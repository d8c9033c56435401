"""The house rules that a test can hold, so that they do not depend on good will."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import taskrunner

ROOT = Path(__file__).parents[2]
PACKAGE = ("taskrunner", "brokers", "backends")
CODE = (*PACKAGE, "tests", "benchmarks", "docs")

LONGEST_FILE = 400
LONGEST_FUNCTION = 40

TOP_LEVEL = {
    "backends", "benchmarks", "brokers", "docs", "taskrunner", "tests",
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "pyproject.toml",
}  # fmt: skip


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = os.fsdecode(listed.stdout).split("\0")
    return tuple(name for name in names if name and os.path.lexists(ROOT / name))


def files(suffix: str, *folders: str) -> list[str]:
    starts = tuple(f"{folder}/" for folder in folders)
    return [name for name in tracked() if name.endswith(suffix) and name.startswith(starts)]


@cache
def parsed(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text("utf-8"), name)


def nodes(folders: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    for name in files(".py", *folders):
        for node in ast.walk(parsed(name)):
            yield name, node


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


def test_there_is_something_to_check() -> None:
    assert "taskrunner/__init__.py" in files(".py", *PACKAGE)
    assert "brokers/base.py" in files(".py", *PACKAGE)
    assert "tests/unit/test_style.py" in files(".py", *CODE)


def test_files_fit_a_reader() -> None:
    code = files(".py", *CODE) + files(".lua", *CODE)
    lengths = {name: (ROOT / name).read_bytes().count(b"\n") for name in code}
    assert {name: size for name, size in lengths.items() if size > LONGEST_FILE} == {}


def test_functions_fit_a_screen() -> None:
    long = {
        f"{name}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for name, node in nodes(CODE)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    }
    assert long == {}


def test_only_the_clock_asks_the_time() -> None:
    askers = {name for name, node in nodes(PACKAGE) if "time" in imported(node)}
    # The test kit waits for real processes, with deadlines of its own.
    kit = {name for name in askers if name.startswith("taskrunner/testing/")}
    assert askers - kit == {"taskrunner/clock.py"}
    moments = {"now", "utcnow", "today"}
    asked = [
        f"{name}:{node.lineno}"
        for name, node in nodes(PACKAGE)
        if isinstance(node, ast.Attribute)
        and node.attr in moments
        and isinstance(node.value, ast.Name)
        and node.value.id in {"datetime", "date"}
    ]
    assert asked == []


def functions(scope: ast.Module | ast.ClassDef) -> Iterator[ast.AST]:
    """The functions and methods of a module, without tasks and what is nested in them."""
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_task(node):
            yield node


def is_task(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A task may take its time: a test waits for it."""
    return any(".task" in ast.unparse(decorator) for decorator in node.decorator_list)


def own_calls(function: ast.AST) -> Iterator[ast.Call]:
    """The calls a function makes itself: what is nested in it stands for somebody's task."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            yield node
        yield from own_calls(node)


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    naps = [
        f"{name}:{call.lineno}"
        for name in files(".py", "tests")
        for function in functions(parsed(name))
        for call in own_calls(function)
        if ast.unparse(call.func).split(".")[-1] == "sleep"
        if [ast.unparse(argument) for argument in call.args] != ["0"]  # only a turn of the loop
    ]
    assert naps == []


def test_nothing_that_arrives_is_unpickled_or_evaluated() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    assert [name for name, node in nodes(PACKAGE) if forbidden & set(imported(node))] == []
    called = [
        f"{name}:{node.lineno}"
        for name, node in nodes(PACKAGE)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"eval", "exec"}
    ]
    assert called == []


def heading_and_body(name: str) -> tuple[str, str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    # The engine reads a first line that begins with #!, so the heading may only follow it.
    start = 1 if lines[0].startswith("#!") else 0
    ends = (at for at, line in enumerate(lines[start:], start) if not line.startswith("--"))
    end = next(ends, len(lines))
    return "\n".join(lines[start:end]), "\n".join(lines[end:])


@pytest.mark.parametrize("name", files(".lua", *PACKAGE))
def test_a_script_says_what_it_takes_and_answers(name: str) -> None:
    heading, body = heading_and_body(name)
    assert heading
    if Path(name).name.startswith("_"):
        return  # a part that scripts include; it has no arguments of its own
    for word in ("KEYS", "ARGV"):
        assert word in heading or f"{word}[" not in body
    assert re.search(r"\breturns?\b", heading, re.IGNORECASE)


def test_the_top_level_holds_what_was_agreed() -> None:
    names = {name.split("/")[0] for name in tracked()}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_links_are_relative_and_stay_inside() -> None:
    links = {name: os.readlink(ROOT / name) for name in tracked() if (ROOT / name).is_symlink()}
    assert [name for name, target in links.items() if os.path.isabs(target)] == []
    ends = [(ROOT / name).resolve() for name in links]
    assert all(end.exists() and end.is_relative_to(ROOT.resolve()) for end in ends)


def test_the_public_names_are_sorted_and_there() -> None:
    assert taskrunner.__all__ == sorted(taskrunner.__all__)
    assert [name for name in taskrunner.__all__ if not hasattr(taskrunner, name)] == []
    design = {
        "App", "Backoff", "Retry", "Reject", "State", "current_job", "Job", "JobInfo",
        "TaskrunnerError", "JobFailed", "JobCancelled", "JobExpired", "ResultTimeout",
        "ResultExpired", "JobNotFound", "AmbiguousJob", "DuplicateJob", "BrokerUnavailable",
        "BrokerFull", "WouldDeadlock", "TaskInterrupt", "TaskTimeout", "TaskCancelled",
        "Middleware", "Task",
    }  # fmt: skip
    assert design <= set(taskrunner.__all__)


def test_importing_taskrunner_loads_no_client_library() -> None:
    heavy = ["redis", "click", "rich", "uvloop", "croniter", "pydantic", "pytest", "hypothesis"]
    program = f"import taskrunner, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    places = re.compile(rb"(?<![\w/.])/(?:home|Users)/\w+|" + re.escape(os.fsencode(ROOT)) + rb"/")
    own = "tests/unit/test_style.py"
    plain = (name for name in tracked() if (ROOT / name).is_file() and name != own)
    assert [name for name in plain if places.search((ROOT / name).read_bytes())] == []


def test_every_subpackage_can_be_imported() -> None:
    for name in files("__init__.py", "taskrunner"):
        importlib.import_module(Path(name).parent.as_posix().replace("/", "."))
