"""`app.running()` on the memory broker: the whole road, in one program."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner import (
    App,
    JobCancelled,
    JobFailed,
    StartError,
    State,
)
from taskrunner.backends.memory import MemoryBackend
from taskrunner.testing.waiting import eventually
from tests.process.apps import basic
from tests.process.conftest import ROOT, lines


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    with basic.app.running(processes=2, grace_s=0.3):
        yield


def test_a_plain_and_an_async_task_answer() -> None:
    assert basic.add.enqueue(2, b=3).result(timeout=20) == 5
    assert basic.aadd.enqueue(2, b=3).result(timeout=20) == 5


def test_many_jobs_answer_in_order() -> None:
    jobs = basic.app.enqueue_many([basic.add.message(n, 1) for n in range(2000)])
    assert [job.result(timeout=30) for job in jobs] == [n + 1 for n in range(2000)]


def test_an_error_is_retried_and_then_carried_home() -> None:
    job = basic.fail.enqueue("no such user")
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=20)
    assert caught.value.error_type.endswith("ValueError")
    assert caught.value.error_message == "no such user"
    assert "raise ValueError(message)" in caught.value.remote_traceback
    info = job.info()
    assert (info.state, info.attempt, len(info.errors)) == (State.FAILED, 3, 3)


def test_reject_fails_at_once() -> None:
    job = basic.reject.enqueue("bad address")
    with pytest.raises(JobFailed, match="bad address"):
        job.result(timeout=20)
    assert (job.info().attempt, job.info().reason) == (1, "rejected")


def test_retry_without_counting(tmp_path: Path) -> None:
    assert basic.again.enqueue(str(tmp_path / "out")).result(timeout=20) == 3
    assert lines(tmp_path / "out") == ["1", "2", "3"]


def test_a_running_job_is_cancelled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = basic.forever.enqueue(str(out))
    eventually(lambda: lines(out) == ["started"], timeout=20)
    assert job.cancel() is True
    with pytest.raises(JobCancelled):
        job.result(timeout=20)
    assert lines(out) == ["started", "stopped"]
    assert job.cancel() is True  # asked again, it is answered the same
    done = basic.add.enqueue(1)
    assert done.result(timeout=20) == 1
    assert done.cancel() is False


def test_a_timeout_is_raised_inside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = basic.forever.options(timeout=0.1).enqueue(str(out))
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=20)
    assert caught.value.reason == "timeout"
    assert lines(out) == ["started", "stopped"]


def test_a_task_that_ignores_its_timeout_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = basic.stubborn.options(timeout=0.1).enqueue(str(out))
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=20)
    assert caught.value.reason == "timeout"
    assert lines(out)[:2] == ["started", "interrupted"]
    assert basic.add.enqueue(1, 1).result(timeout=20) == 2


def test_a_result_that_cannot_be_carried_fails_and_the_child_lives() -> None:
    before = basic.pid.enqueue().result(timeout=20)
    with pytest.raises(JobFailed, match="object"):
        basic.unpackable.enqueue().result(timeout=20)
    pids = {basic.pid.enqueue().result(timeout=20) for _ in range(20)}
    assert before in pids


def test_progress_is_seen_while_it_runs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    job = basic.progress.enqueue(str(tmp_path / "out"), str(gate))

    def seen() -> bool:
        found = job.info().progress
        return found is not None and (found.done, found.total, found.text) == (3, 10, "resizing")

    eventually(seen, timeout=20)
    assert job.info().state is State.ACTIVE
    assert job.info().pid is not None
    gate.unlink()
    assert job.result(timeout=20) == "done"


def test_recursion_that_waits_for_its_own_kind() -> None:
    assert basic.nest.enqueue(5).result(timeout=30) == 5


def test_a_delay_is_kept() -> None:
    job = basic.add.options(delay=0.3).enqueue(1)
    assert job.state() is State.SCHEDULED
    assert job.result(timeout=20) == 1
    info = job.info()
    assert info.started_at is not None
    assert (info.started_at - info.created_at).total_seconds() >= 0.3


def test_an_app_that_nobody_can_import_needs_threads() -> None:
    app = App("memory://")

    @app.task(name="local.double")
    def double(n: int) -> int:
        return n * 2

    with pytest.raises(StartError, match="threads=N"), app.running(processes=1):
        pass
    with app.running(threads=2):
        assert double.enqueue(4).result(timeout=20) == 8


def test_worker_processes_need_a_backend_that_they_can_read() -> None:
    app = App("memory://", backend=MemoryBackend())
    app.task(name="local.half")(lambda n: n // 2)
    with pytest.raises(StartError, match="result backend"), app.running(processes=1):
        pass
    with app.running(threads=1):
        assert app.enqueue("local.half", (4,)).result(timeout=20) == 2


@pytest.mark.parametrize("guard", [True, False])
def test_a_script_needs_a_main_guard(guard: bool, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from taskrunner import App
            app = App("memory://")

            @app.task
            def double(n: int) -> int:
                return 2 * n

            def main():
                with app.running(processes=1):
                    print("got", double.enqueue(21).result(timeout=20))

            """
        )
        + ("if __name__ == '__main__':\n    main()\n" if guard else "main()\n")
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=40,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    if guard:
        assert done.stdout == "got 42\n", done.stderr
    else:
        assert done.returncode != 0
        assert "__main__" in done.stderr


def test_a_tree_of_jobs_that_wait_for_each_other_comes_home_every_time() -> None:
    """Extra children come and go meanwhile: none may be counted on that is about to end."""
    for _ in range(5):
        assert basic.fib.enqueue(5).result(timeout=50) == 5
