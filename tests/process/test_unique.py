"""Unique jobs whose processes are killed: the key is theirs until they have ended, and then it is free."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner import App, DuplicateJob, Job, State, Unique
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.apps.single import ONLY
from tests.process.conftest import Fleet, lines


class Single:
    """The one task, its gate, and what it has written."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.client: App = super(Fleet, fleet).app()
        self.folder = folder
        self._out = folder / "out"

    def submit(self) -> Job[None]:
        return self.client.enqueue("only", (str(self.folder),), unique=ONLY)

    def is_refused(self, job: Job[None]) -> bool:
        """Whether a second one is refused, because of this one."""
        with pytest.raises(DuplicateJob) as caught:
            self.submit()
        return caught.value.existing_id == job.id

    def shut(self) -> None:
        (self.folder / "gate").touch()

    def open(self) -> None:
        (self.folder / "gate").unlink()

    def begun(self, job: Job[None], times: int = 1) -> int:
        """Wait until it runs, for the first time or a later one; the process."""

        def pids() -> list[int]:
            return [int(line.split()[2]) for line in lines(self._out) if f"began {job.id}" in line]

        eventually(lambda: len(pids()) >= times, timeout=40)
        return pids()[-1]

    def ended(self, job: Job[None]) -> None:
        assert job.result(timeout=40) is None
        assert f"ended {job.id}" in lines(self._out)
        assert "two at a time" not in lines(self._out)


@pytest.fixture
def single(redis_server: RedisServer, tmp_path: Path) -> Iterator[Single]:
    target = "tests.process.apps.single:app"
    namespace = f"t{uuid.uuid4().hex[:8]}"
    with Fleet(redis_server.url, namespace, tmp_path, target=target) as fleet:
        yield Single(fleet, tmp_path)


def test_a_killed_child_and_a_killed_supervisor_let_no_second_one_run(single: Single) -> None:
    for _ in range(2):
        single.fleet.start("--processes", "1")
    single.shut()
    job = single.submit()
    assert single.is_refused(job)
    os.kill(single.begun(job), signal.SIGKILL)
    assert single.is_refused(job)
    child = single.begun(job, times=2)
    assert single.is_refused(job)
    assert (job.info().crashes, job.state()) == (1, State.ACTIVE)
    # And now the supervisor, with all that is under it.
    holder = next(node for node in single.fleet.nodes if node.pid == job_supervisor(job))
    os.kill(holder.pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{child}"), timeout=20)
    assert single.is_refused(job)
    single.begun(job, times=3)
    assert single.is_refused(job)
    single.open()
    single.ended(job)
    following = single.submit()
    assert following.id != job.id
    single.ended(following)


def job_supervisor(job: Job[None]) -> int:
    """The process that holds it."""
    return next(node.pid for node in job._app.broker.nodes() if node.id == job.info().record.node)


def test_one_whose_process_dies_each_time_fails_and_frees_the_key(single: Single) -> None:
    single.fleet.start("--processes", "1")
    single.shut()
    job = single.submit()
    for times in (1, 2, 3):
        os.kill(single.begun(job, times), signal.SIGKILL)
    eventually(lambda: job.state() is State.FAILED, timeout=40)
    assert job.info().reason == "crashed"
    single.open()
    following = single.submit()
    single.ended(following)


def test_until_it_starts_a_second_one_may_wait_while_the_first_runs(single: Single) -> None:
    single.fleet.start("--processes", "1")
    single.shut()
    unique = Unique(key="only", until="started")
    first = single.client.enqueue("only", (str(single.folder),), unique=unique)
    single.begun(first)

    def submitted() -> list[Job[None]]:
        try:
            return [single.client.enqueue("only", (str(single.folder),), unique=unique)]
        except DuplicateJob:
            return []  # the store has not heard yet that it runs

    (second,) = eventually(submitted, timeout=20)
    with pytest.raises(DuplicateJob) as caught:
        single.client.enqueue("only", (str(single.folder),), unique=unique)
    assert caught.value.existing_id == second.id
    single.open()
    single.ended(first)
    single.ended(second)
