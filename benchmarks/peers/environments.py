"""A virtual environment for each of the others, under `build/`, which git ignores.

One is made when it is first needed, and made again when what it is to hold has changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.harness.stage import ROOT

FOLDER = ROOT / "build" / "peers"
SCRIPTS = Path(__file__).parent


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The folder of its programs. Raises subprocess.CalledProcessError where it cannot be made."""
    folder = FOLDER / name
    stamp = folder / "holds"
    wanted = "\n".join([sys.version, str(folder), *requirements])
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {' '.join(requirements)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *requirements], check=True)
        stamp.write_text(wanted)
    return folder / "bin"


def version(programs: Path, package: str) -> str:
    """Which version of a package is installed beside these programs."""
    places = [str(path) for path in programs.parent.glob("lib/python*/site-packages")]
    for found in metadata.distributions(name=package, path=places):
        return found.version
    return "?"
