"""What a user installs, built once for all tests here from the files that git knows."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """What the command printed. Fails the test, with all of it, where the command failed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    """The three files that `python -m build` can make of one tree."""

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


def tracked_files() -> list[str]:
    """Every file that git knows and that is there, as it would be committed now."""
    listed = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return [path for path in listed if path and (ROOT / path).is_symlink() | (ROOT / path).exists()]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files alone: as a fresh clone, but with what is edited now."""
    tree = tmp_path_factory.mktemp("clone")
    for path in tracked_files():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tree / path, follow_symlinks=False)
    return tree


@pytest.fixture(scope="session")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("built")
    build = (sys.executable, "-m", "build", "--no-isolation")
    run(*build, "--sdist", "--outdir", out, tree, cwd=out)
    run(*build, "--wheel", "--outdir", out, tree, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    run("tar", "-xzf", sdist, cwd=out)
    (unpacked,) = (path for path in out.iterdir() if path.is_dir())
    run(*build, "--wheel", "--outdir", out / "again", unpacked, cwd=out)
    (again,) = (out / "again").glob("*.whl")
    return Built(wheel, sdist, again)
