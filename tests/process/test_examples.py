"""Every example runs, as a reader would run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, descendants

EXAMPLES = ROOT / "docs" / "examples"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
ENVIRONMENT.pop("TASKRUNNER_BROKER", None)

EXPECTED = {
    "quickstart": r"^\[1, 2, 3, 4, 5, 6, 7, 8, 9, 10\]$",
    "retries": r"^fetch:   page 7, on attempt 3$(.|\n)*^poll:    there it is$"
    r"(.|\n)*^deliver: rejected: 'nobody' is not an address$",
    "unique_jobs": r"^save:   5 submissions, 1 job$(.|\n)*^save:   letter says 'hello'$",
    "async_tasks": r"^200 naps of 0.2 s, one after the other: 40 s; here: \d\d?\.\d s$",
    "nested_jobs": r"^1 \+ 2 \+ … \+ 16 = 136$",
    "schedules": r"^nightly: 2026-03-29 03:00:00\+02:00 \(that time does not exist\)$"
    r"(.|\n)*^hourly:  by hand$(.|\n)*^pulse:   .* succeeded$",
    "limits": r"^rate:  21 started within [01].\d s$(.|\n)*^place: one after the other: True$"
    r"(.|\n)*^pause: waiting$(.|\n)*^pause: succeeded$",
    "progress": r"^\d+ of 1000: picture \d+$(.|\n)*^job \w+ was cancelled$",
    "encryption": r"^stored:  False False$(.|\n)*^others:  the encryption key 'example' is not known here",
    "middleware": r"^hello Ada, from request r-17$",
}


def run(example: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{example}.py"), *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("example", sorted(EXPECTED))
def test_an_example_runs(example: str, tmp_path: Path) -> None:
    done = run(example, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(EXPECTED[example], done.stdout, re.MULTILINE), done.stdout


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*EXPECTED, "fingerprint"}


def test_the_middleware_reports_from_the_worker(tmp_path: Path) -> None:
    assert re.search(r"^greet returned after \d", run("middleware", folder=tmp_path).stdout, re.M)


def test_the_demo_equals_the_direct_computation(tmp_path: Path) -> None:
    """On its real input: the standard library of this Python."""
    done = run("fingerprint", "--processes", "2", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("compared with the same computed directly: equal")
    jobs = re.search(r"^jobs: ([\d,]+)   processes: 2", done.stdout, re.MULTILINE)
    assert jobs
    assert int(jobs[1].replace(",", "")) > 500


def test_the_demo_counts_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "inner" / "__pycache__").mkdir(parents=True)
    (tmp_path / "one.txt").write_text("three short words")
    (tmp_path / "inner" / "two.md").write_text("# two words")
    (tmp_path / "inner" / "picture.png").write_bytes(b"no text")
    (tmp_path / "inner" / "__pycache__" / "cached.txt").write_text("not counted")
    done = run("fingerprint", tmp_path, "--processes", "1", folder=tmp_path)
    assert done.returncode == 0
    rows = re.findall(r"^│ (\S+) +│ +(\d+) │ +(\d+) │ +(\d+) │$", done.stdout, re.MULTILINE)
    assert rows == [(".", "1", "3", "17"), ("inner/", "1", "2", "11"), ("all", "2", "5", "28")]


def test_the_demo_notices_a_wrong_result(tmp_path: Path) -> None:
    """Its comparison is a real one: a task that answers something else does not pass."""
    wrong = (EXAMPLES / "fingerprint.py").read_text()
    told = "hashlib.sha256(data)"
    assert told in wrong
    # In a worker this is another number than here.
    by_process = "hashlib.sha256(data + str(os.getpid()).encode())"
    (tmp_path / "wrong.py").write_text(wrong.replace(told, by_process))
    (tmp_path / "one.txt").write_text("three short words")
    done = subprocess.run(
        [sys.executable, "wrong.py", ".", "--processes", "1"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "NOT EQUAL" in done.stdout


def test_the_demo_says_so_where_there_is_nothing_to_do(tmp_path: Path) -> None:
    done = run("fingerprint", tmp_path, folder=tmp_path)
    assert done.returncode == 2
    assert "there are no text files under" in done.stdout


def test_the_demo_refuses_a_wrong_option_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("three short words")
    done = run("fingerprint", tmp_path, "--processes", "0", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(
        "OptionError: processes=0: expected a whole number from 1 to 1024"
    )
    assert done.stderr == ""


def test_the_demo_is_interrupted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "fingerprint.py"), "--processes", "2"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        # Its fork server and two children are there: it is at work.
        eventually(lambda: len(descendants(demo.pid)) >= 3, timeout=20)
        started = descendants(demo.pid)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=20)
        assert (demo.returncode, errors) == (130, b"")
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), timeout=10)
    finally:
        demo.kill()
        demo.wait()
