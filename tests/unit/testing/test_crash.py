"""A process dies, or stands still, exactly where it was told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taskrunner.testing.crash import CrashAt

ROOT = Path(__file__).parents[3]
PROGRAM = """
from taskrunner import App
app = App("memory://")
for n in range(3):
    app.enqueue("any.task")
    print(n, flush=True)
"""


def start(crash: CrashAt) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, **crash.environ},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("point", "on", "before"),
    [("enqueue.before", 1, ""), ("enqueue.after", 1, ""), ("enqueue.before", 3, "0\n1\n")],
)
def test_the_first_that_gets_there_dies_and_no_other(
    tmp_path: Path, point: str, on: int, before: str
) -> None:
    crash = CrashAt(point, folder=tmp_path, on=on)
    assert not crash.has_happened
    with pytest.raises(LookupError, match="nobody has reached"):
        _ = crash.pid
    first = start(crash)
    assert crash.wait() == first.pid
    assert first.communicate()[0] == before
    assert first.returncode == -signal.SIGKILL
    second = start(crash)
    assert second.communicate()[0] == "0\n1\n2\n"
    assert second.returncode == 0


def test_one_that_stands_still_goes_on(tmp_path: Path) -> None:
    crash = CrashAt("enqueue.after", folder=tmp_path, how=signal.SIGSTOP)
    process = start(crash)
    crash.wait()
    assert process.poll() is None
    crash.resume()
    assert process.communicate()[0] == "0\n1\n2\n"


def test_a_point_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no point 'settel\.before'"):
        CrashAt("settel.before", folder=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "TASKRUNNER_TEST_CRASH": "settel.before"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "known points are" in done.stderr
