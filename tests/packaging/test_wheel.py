"""The wheel holds what it should and nothing else, and it works where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Built, run, tracked_files

pytestmark = pytest.mark.timeout(240)

FOLDERS = ("taskrunner/", "brokers/", "backends/")
LINKS = {"taskrunner/brokers": "../brokers", "taskrunner/backends": "../backends"}


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of the package in a wheel, without the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    return {name: data for name, data in found.items() if ".dist-info/" not in name}


def as_packaged(path: str) -> str:
    return path if path.startswith("taskrunner/") else f"taskrunner/{path}"


def test_the_wheel_holds_exactly_the_tracked_files(built: Built) -> None:
    packaged = {
        as_packaged(path)
        for path in tracked_files()
        if path.startswith(FOLDERS) and path not in LINKS
    }
    assert set(contents(built.wheel)) == packaged


def test_the_wheel_adds_one_top_level_name(built: Built) -> None:
    assert {name.split("/")[0] for name in contents(built.wheel)} == {"taskrunner"}


def test_the_wheel_of_the_sdist_is_the_same(built: Built) -> None:
    assert contents(built.wheel_of_sdist) == contents(built.wheel)


def test_the_links_are_there_and_relative() -> None:
    assert {path: os.readlink(ROOT / path) for path in LINKS} == LINKS
    assert set(LINKS) <= set(tracked_files())


@pytest.mark.parametrize("folder", ["brokers", "backends"])
def test_a_folder_cannot_be_imported_under_its_own_name(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"ImportError: import taskrunner.{folder}, not {folder}" in done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment that sees this one's libraries, but not what is editable in it."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(packages, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def install(environment: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin/python")
    run(*pip, "install", "--no-deps", "--no-index", "--no-build-isolation", *what, cwd=environment)


LOCATE = """
import taskrunner, taskrunner.backends.base, taskrunner.brokers.base
print(taskrunner.__file__, taskrunner.brokers.base.__file__, taskrunner.__version__)
"""


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_installed_runs(environment: Path, built: Built, kind: str) -> None:
    install(environment, "--force-reinstall", getattr(built, kind))
    python = environment / "bin/python"
    found = run(python, "-I", "-c", LOCATE, cwd=environment).split()
    assert all(Path(path).is_relative_to(environment) for path in found[:2])
    assert found[2] in built.wheel.name
    assert "enqueue" in run(python, "-m", "taskrunner", "--help", cwd=environment)
    assert "enqueue" in run(environment / "bin/taskrunner", "--help", cwd=environment)


def test_an_editable_install_runs_from_the_tree(
    environment: Path, tree: Path, tmp_path: Path
) -> None:
    install(environment, "--force-reinstall", "--editable", tree)
    python = environment / "bin/python"
    found = run(python, "-I", "-c", LOCATE, cwd=tmp_path).split()
    assert all(Path(path).is_relative_to(tree) for path in found[:2])
    assert "enqueue" in run(python, "-m", "taskrunner", "--help", cwd=tmp_path)


def test_a_bare_clone_runs_without_being_installed(tree: Path) -> None:
    assert "enqueue" in run(sys.executable, "-m", "taskrunner", "--help", cwd=tree)
