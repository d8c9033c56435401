"""Fingerprint and count the words of every text file under a folder, one job a file.

    python docs/examples/fingerprint.py                         the standard library of this Python
    python docs/examples/fingerprint.py ~/notes --processes 4

No server is needed: `app.running` starts worker processes for as long as its block is open. At the
end the same is computed here, without taskrunner, and compared.

Exit codes: 0 equal; 1 not equal, or a job failed; 2 nothing to do; 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sysconfig
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from taskrunner import App, Job, TaskrunnerError

app = App("memory://")

TEXT = {".c", ".cfg", ".css", ".csv", ".h", ".html", ".ini", ".js", ".json", ".md", ".py", ".pyi",
        ".rst", ".sh", ".toml", ".txt", ".xml", ".yaml", ".yml"}  # fmt: skip
SKIPPED = {"site-packages", "dist-packages", "__pycache__", "node_modules"}
LARGEST_BYTES = 4 * 1024 * 1024
WORD = re.compile(rb"\w+")


@dataclass(frozen=True)
class Fingerprint:
    """What is found out about a file."""

    sha256: str
    words: int
    size: int


@app.task(retries=0)
def fingerprint(path: str) -> Fingerprint:
    """The task. Called like this it is a plain function, and that is how the result is checked."""
    data = Path(path).read_bytes()
    return Fingerprint(hashlib.sha256(data).hexdigest(), len(WORD.findall(data)), len(data))


def text_files(folder: Path) -> Iterator[str]:
    """Text files under a folder, in order of their names, without hidden folders and caches."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if n not in SKIPPED and not n.startswith("."))
        paths = (Path(parent, name) for name in sorted(names))
        yield from (str(path) for path in paths if path.suffix in TEXT and is_readable(path))


def is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK) and path.is_file() and path.stat().st_size <= LARGEST_BYTES


def wait_for(jobs: Sequence[Job[Fingerprint]], console: Console) -> list[Fingerprint]:
    """All results, in order, with a bar that shows how many there are."""
    bar = (TextColumn("fingerprinting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=console) as progress:
        return [job.result(timeout=60) for job in progress.track(jobs)]


def in_jobs(paths: Sequence[str], processes: int, console: Console) -> list[Fingerprint]:
    with app.running(processes=processes):
        jobs = app.enqueue_many([fingerprint.message(path) for path in paths])
        refused = [job.rejection for job in jobs if job.rejection]
        if refused:
            raise refused[0]
        return wait_for(jobs, console)


def table_of(found: Mapping[str, Fingerprint], folder: Path, rows: int = 10) -> Table:
    """The folders with the most words, and all together."""
    by_folder: dict[str, list[Fingerprint]] = defaultdict(list)
    for path, one in found.items():
        inside = Path(path).relative_to(folder).parts
        by_folder[inside[0] + "/" if len(inside) > 1 else "."].append(one)
    table = Table("folder", show_footer=True)
    total = list(found.values())
    for title, value in zip(("files", "words", "bytes"), counts(total), strict=True):
        table.add_column(title, footer=value, justify="right")
    table.columns[0].footer = "all"
    largest = sorted(by_folder.items(), key=lambda item: -sum(one.words for one in item[1]))
    for name, prints in largest[:rows]:
        table.add_row(name, *counts(prints))
    if len(largest) > rows:
        rest = [one for _, prints in largest[rows:] for one in prints]
        table.add_row(f"{len(largest) - rows} more", *counts(rest))
    return table


def counts(prints: Sequence[Fingerprint]) -> tuple[str, str, str]:
    words, size = sum(one.words for one in prints), sum(one.size for one in prints)
    return f"{len(prints):,}", f"{words:,}", f"{size:,}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(sysconfig.get_path("stdlib"))
    parser.add_argument(
        "folder", nargs="?", type=Path, default=default, help="default: %(default)s"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    console = Console()
    paths = list(text_files(options.folder))
    if not paths:
        console.print(f"there are no text files under {options.folder}")
        return 2

    started = time.perf_counter()
    try:
        prints = in_jobs(paths, options.processes, console)
    except TaskrunnerError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    seconds = time.perf_counter() - started

    console.print(f"text files under {options.folder}", highlight=False)
    console.print(table_of(dict(zip(paths, prints, strict=True)), options.folder))
    console.print(f"jobs: {len(paths):,}   processes: {options.processes}   seconds: {seconds:.1f}")
    same = prints == [fingerprint(path) for path in paths]
    console.print("compared with the same computed directly: " + ("equal" if same else "NOT EQUAL"))
    return 0 if same else 1


if __name__ == "__main__":
    # The guard is needed: worker processes import this file to learn its tasks.
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
