"""Try every mutation: `python -m tests.faults.mutate [WORD …]`, only those with a word in their name.

A copy of the repository is made, and each mutation applied to it in turn: at least one of its tests
must fail then. Prints a table as docs/reliability.md has it; exit status 1 where one survived.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from tests.faults.mutation import Mutation
from tests.faults.mutations_of_nodes import BAD_INPUT, NODES
from tests.faults.mutations_of_stores import STORE

MUTATIONS = (*STORE, *NODES, *BAD_INPUT)
ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300.0
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S+?::(?:\w+::)?(\w+)", re.MULTILINE)


def main(words: list[str]) -> int:
    wanted = [m for m in MUTATIONS if all(word in m.mechanism for word in words)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = copy_of_repository(Path(folder))
        if red := run_tests(copy, sorted({test for m in wanted for test in m.tests})):
            print(f"without any mutation these fail: {', '.join(red)}", file=sys.stderr)
            return 2
        print("| switched off | went red | s |")
        print("| --- | --- | --- |")
        for mutation in wanted:
            began = monotonic()
            with applied(mutation, copy):
                red = run_tests(copy, mutation.tests)
            survivors += not red
            shown = ", ".join(f"`{name}`" for name in red) or "**nothing**"
            print(f"| {mutation.mechanism} | {shown} | {monotonic() - began:.0f} |", flush=True)
    print(f"\n{len(wanted) - survivors} of {len(wanted)} noticed", file=sys.stderr)
    return 1 if survivors else 0


def copy_of_repository(folder: Path) -> Path:
    """What git knows of it, as it is now; links stay links."""
    copy = folder / "copy"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in os.fsdecode(listed.stdout).rstrip("\0").split("\0"):
        if os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return copy


@contextmanager
def applied(mutation: Mutation, copy: Path) -> Iterator[None]:
    originals = {edit.file: (copy / edit.file).read_text() for edit in mutation.edits}
    try:
        for edit in mutation.edits:
            text = (copy / edit.file).read_text()
            assert text.count(edit.old) == 1, f"{edit.file}: {edit.old!r}"
            (copy / edit.file).write_text(text.replace(edit.old, edit.new))
        yield
    finally:
        for file, text in originals.items():
            (copy / file).write_text(text)


def run_tests(copy: Path, tests: list[str] | tuple[str, ...]) -> list[str]:
    """The tests that fail, by name, each once. One that never ends has failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout", "60", "--no-header", *tests]
    # Bytecode goes by times and sizes, and a mutation may change neither.
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return ["(no end)"]
    found = list(dict.fromkeys(_FAILED.findall(done.stdout)))
    if done.returncode and not found:
        return [f"(exit status {done.returncode}) {done.stdout[-500:]}"]
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
