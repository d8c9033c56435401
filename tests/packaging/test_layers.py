"""The layers are really checked, also where the package is reached through its links."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

LINT = "from importlinter.cli import lint_imports_command as run; run()"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for folder in ("taskrunner", "brokers", "backends"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("brokers/memory.py", "from taskrunner import app", "layers 0 to 2"),
        ("backends/memory.py", "import redis", "the Redis client"),
        ("taskrunner/registry.py", "import taskrunner.brokers.memory", "finds them by name"),
        ("taskrunner/errors.py", "import taskrunner.options", "never upwards"),
        ("taskrunner/app.py", "import taskrunner.testing", "the test kit"),
    ],
)
def test_a_forbidden_import_is_found(code: Path, module: str, line: str, contract: str) -> None:
    with (code / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-logo", "--no-cache"],
        cwd=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (broken,) = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert contract in broken
