"""Both type checkers on the same two files: what must pass, and what must be refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import taskrunner

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "cases"

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Findings:
    """What a type checker said, by line."""

    errors: Mapping[int, str]
    revealed: Mapping[int, str]


def run(*command: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert found.stdout, found.stderr
    return found.stdout


def mypy(file: Path, folder: Path) -> Findings:
    out = run("mypy", "--strict", "--cache-dir", str(folder), "--no-error-summary", str(file))
    lines = re.findall(rf"^[^\n]*{file.name}:(\d+): (error|note): (.*)$", out, re.M)
    revealed = {
        int(number): _plain(text.removeprefix("Revealed type is ").strip('"'))
        for number, _, text in lines
        if text.startswith("Revealed")
    }
    return Findings({int(n): text for n, kind, text in lines if kind == "error"}, revealed)


def pyright(file: Path, folder: Path) -> Findings:
    # A project of its own: the repository's leaves these files out, since some are wrong.
    project = folder / "pyrightconfig.json"
    project.write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    shutil.copy(file, folder)
    out = json.loads(run("pyright", "--outputjson", "--project", str(project)))
    assert out["summary"]["filesAnalyzed"] == 1
    found = out["generalDiagnostics"]
    lines = {line["range"]["start"]["line"] + 1: line for line in found}
    revealed = {
        number: _plain(line["message"].rpartition(' is "')[2].strip('"'))
        for number, line in lines.items()
        if line["message"].startswith("Type of")
    }
    errors = {n: line["message"] for n, line in lines.items() if line["severity"] == "error"}
    return Findings(errors, revealed)


def _plain(shown: str) -> str:
    """A type without the modules that one checker names and the other does not."""
    return re.sub(r"\b(?:[a-z_]+\.)+", "", shown)


def marked(file: Path, mark: str) -> dict[int, str]:
    """The lines that carry a mark, with what stands after it."""
    found = re.compile(rf"  # {mark}(?:: (.*))?$")
    lines = enumerate(file.read_text().splitlines(), 1)
    return {number: match[1] or "" for number, text in lines if (match := found.search(text))}


CHECKERS = pytest.mark.parametrize("check", [mypy, pyright])


@CHECKERS
def test_what_a_program_may_write_passes_with_the_types_it_says(
    check: Callable[[Path, Path], Findings], tmp_path: Path
) -> None:
    file = CASES / "correct.py"
    found = check(file, tmp_path)
    assert found.errors == {}
    expected = marked(file, "revealed")
    assert len(expected) > 10
    assert found.revealed == expected


@CHECKERS
def test_what_is_wrong_is_refused_on_its_line_and_nothing_else_is(
    check: Callable[[Path, Path], Findings], tmp_path: Path
) -> None:
    file = CASES / "wrong.py"
    expected = set(marked(file, "error"))
    assert len(expected) > 15
    assert set(check(file, tmp_path).errors) == expected


def test_every_public_name_has_a_type() -> None:
    out = run("pyright", "--verifytypes", "taskrunner", "--ignoreexternal", "--outputjson")
    found = json.loads(out)["typeCompleteness"]
    assert found["packageName"] == "taskrunner"
    public = {getattr(taskrunner, name) for name in taskrunner.__all__ if name != "__version__"}
    names = {f"{thing.__module__}.{thing.__qualname__}" for thing in public}
    symbols = {symbol["name"]: symbol for symbol in found["symbols"]}
    assert names <= symbols.keys()
    unknown = [
        (name, symbol["diagnostics"])
        for name, symbol in symbols.items()
        if any(name == public or name.startswith(f"{public}.") for public in names)
        and not symbol["isTypeKnown"]
    ]
    assert unknown == []
