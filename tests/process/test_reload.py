"""HUP: new code takes over child by child, old code finishes what it runs, and nothing is lost.

Each test has an application of its own, in a file that it writes anew.
"""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import Job, State
from taskrunner.testing.crash import CrashAt
from taskrunner.testing.fleet import Fleet, Node
from taskrunner.testing.processes import (
    children_of,
    descendants,
    kill,
    parent_of,
    wait_until_gone,
)
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, lines

BEGINNING = """
import os
from tests.process.apps.basic import write
from taskrunner import App, Middleware
app = App()

@app.task(name="hold")
def hold(out, gate):
    write(out, f"held {os.getpid()}")
    while os.path.exists(gate):
        time.sleep(0.005)
    return VERSION
"""


class Shop:
    """An application that is deployed again and again, and one node that runs it."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.folder = folder
        self.out, self.gate = folder / "out", folder / "gate"
        self.gate.touch()
        self.client = fleet.app()
        self.node: Node

    def deploy(self, version: int, *tasks: str, text: str = "") -> None:
        """Write the application. Every version has the tasks `hold` and `version`."""
        own = "".join(
            f"@app.task(name={name!r})\ndef {name}():\n    return VERSION\n\n"
            for name in ("version", *tasks)
        )
        source = f"import time\nVERSION = {version}\n{BEGINNING}\n{own}\n{textwrap.dedent(text)}"
        # A new file, and not an old one's bytes with an old one's time: Python looks at both.
        (self.folder / "shop.tmp").write_text(source)
        (self.folder / "shop.tmp").replace(self.folder / "shop.py")

    def run(self, *options: str, crash: CrashAt | None = None) -> None:
        self.node = self.fleet.start(*options, crash=crash)
        eventually(lambda: " started: " in self.node.log, timeout=20)

    def reload(self, *, says: str = "new code is in place") -> None:
        """HUP, and wait until the log says what came of it."""
        before = self.node.log.count(says)
        self.node.send_signal(signal.SIGHUP)
        eventually(lambda: self.node.log.count(says) > before, timeout=30)

    def submit(self, task: str, *args: Any) -> Job[Any]:
        return self.client.enqueue(task, args=args)

    def hold(self, count: int = 1) -> list[Job[Any]]:
        """Jobs that run until the gate is gone."""
        jobs = [self.submit("hold", str(self.out), str(self.gate)) for _ in range(count)]
        eventually(lambda: len(self.held) >= count, timeout=20)
        return jobs

    @property
    def held(self) -> list[int]:
        """Pids in which such jobs were begun."""
        return [int(line.split()[1]) for line in lines(self.out)]

    @property
    def servers(self) -> list[int]:
        return [pid for pid in descendants(self.node.pid) if parent_of(pid) == self.node.pid]

    def version(self) -> int:
        found: int = self.submit("version").result(timeout=20)
        return found


@pytest.fixture
def shop(redis_server: RedisServer, tmp_path: Path) -> Iterator[Shop]:
    environ = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    with Fleet(
        "shop:app", broker=redis_server.url, folder=tmp_path, root=tmp_path, environ=environ
    ) as fleet:
        yield Shop(fleet, tmp_path)


def test_new_code_takes_over_while_the_old_finishes_and_broken_code_changes_nothing(
    shop: Shop,
) -> None:
    """The long job is in the old generation when the second version comes, and still there when the
    third one, which nobody can import, has changed nothing."""
    shop.deploy(1)
    shop.run("--processes", "2")
    (long,) = shop.hold()
    assert shop.version() == 1
    shop.deploy(2)
    shop.reload()
    assert {shop.version() for _ in range(20)} == {2}
    shop.deploy(3, text="def no python here")
    shop.reload(says="no new code")
    assert "SyntaxError" in shop.node.log
    assert "def no python here" in shop.node.log
    assert {shop.version() for _ in range(20)} == {2}
    assert long.state() is State.ACTIVE
    assert len(shop.servers) == 2
    shop.gate.unlink()
    assert long.result(timeout=20) == 1
    assert (long.info().attempt, long.info().crashes) == (1, 0)
    # With its last child the old generation goes; what remains is the second.
    eventually(lambda: len(shop.servers) == 1, timeout=20)
    assert len(children_of(shop.node.pid)) == 2
    assert shop.version() == 2


DOOMED = """
class Doom(Middleware):
    def child_start(self):
        raise RuntimeError("no connection left")
app = App(middleware=[Doom()])
"""


def test_code_that_cannot_be_imported_or_started_changes_nothing(shop: Shop) -> None:
    shop.deploy(1)
    shop.run("--processes", "1")
    before = shop.node.children
    for text, why in [
        ("raise KeyError('no such table')", "no such table"),
        ("del app", "app"),
        (DOOMED, "no connection left"),
    ]:
        shop.deploy(2, text=text)
        shop.reload(says="no new code")
        assert why in shop.node.log
        assert shop.node.children == before
    eventually(lambda: len(shop.servers) == 1, timeout=20)
    assert shop.version() == 1
    shop.deploy(3)
    shop.reload()
    assert shop.version() == 3


def test_there_is_no_moment_without_a_child_that_takes_jobs(shop: Shop) -> None:
    """Jobs go on all the time while all children are replaced, twice."""
    shop.deploy(1)
    shop.run("--processes", "2")
    jobs = []
    for version in (2, 3):
        shop.deploy(version)
        shop.node.send_signal(signal.SIGHUP)
        count = version - 1
        while shop.node.log.count("new code is in place") < count:
            jobs.append(shop.submit("version"))
            assert jobs[-1].result(timeout=20) in (version - 1, version)
    assert all(job.info().attempt == 1 for job in jobs)
    assert shop.version() == 3
    assert " ERROR " not in shop.node.log


def test_wishes_that_come_while_code_is_loaded_are_one(shop: Shop) -> None:
    """Many signals at once; the last version wins, and it does not take as many reloads."""
    shop.deploy(1)
    shop.run("--processes", "2")
    gate = shop.folder / "import-gate"
    gate.touch()
    shop.deploy(2, text=f"while os.path.exists({str(gate)!r}): time.sleep(0.005)")
    shop.node.send_signal(signal.SIGHUP)
    eventually(lambda: len(shop.servers) == 2, timeout=20)
    eventually(lambda: "importing the application anew" in shop.node.log, timeout=20)
    shop.deploy(3)
    for _ in range(5):
        shop.node.send_signal(signal.SIGHUP)
    gate.unlink()
    eventually(lambda: shop.node.log.count("new code is in place") == 2, timeout=30)
    assert shop.version() == 3
    assert shop.node.log.count("importing the application anew") == 2


def test_jobs_of_new_and_of_removed_tasks_go_where_they_are_known(shop: Shop) -> None:
    """Two processes: one cannot let go of its old job, and the new code has other tasks."""
    shop.deploy(1, "old")
    shop.run("--processes", "2", "--prefetch", "10")
    before = shop.submit("later")
    eventually(lambda: before.state() is State.WAITING, timeout=20)
    shop.hold(2)
    behind = [shop.submit("old") for _ in range(4)]
    shop.deploy(2, "later")
    shop.reload()
    assert "new tasks: later; gone: old" in shop.node.log
    # What only the new code knows runs; what only the old one knew, and had not begun, waits.
    assert before.result(timeout=20) == 2
    assert [shop.submit("later").result(timeout=20) for _ in range(20)] == [2] * 20
    eventually(lambda: all(job.state() is State.WAITING for job in behind), timeout=20)
    shop.deploy(3, "old", "later")
    shop.reload()
    assert [job.result(timeout=20) for job in behind] == [3] * 4
    shop.gate.unlink()


def test_while_both_codes_have_children_each_gets_what_it_knows(shop: Shop) -> None:
    """The second child of the new code hangs in its start: the roll stands still half-way."""
    stand = shop.folder / "stand"
    shop.deploy(1, "old")
    shop.run("--processes", "2")
    shop.deploy(
        2,
        "later",
        text=f"""
        class Slow(Middleware):
            def child_start(self):
                if os.path.exists({str(stand)!r} + "-1"):
                    open({str(stand)!r}, "w").close()
                    while os.path.exists({str(stand)!r}): time.sleep(0.005)
                open({str(stand)!r} + "-1", "w").close()
        app.middleware = (Slow(),)
        """,
    )
    shop.node.send_signal(signal.SIGHUP)
    eventually(stand.exists, timeout=20)
    jobs = [shop.submit(task) for task in ("old", "later") * 20]
    assert [job.result(timeout=20) for job in jobs] == [1, 2] * 20
    stand.unlink()
    eventually(lambda: "new code is in place" in shop.node.log, timeout=20)
    last = shop.submit("old")
    eventually(lambda: last.state() is State.WAITING, timeout=20)


@pytest.mark.parametrize("victim", ["old", "new"])
def test_a_fork_server_dies_while_two_generations_live(shop: Shop, victim: str) -> None:
    shop.deploy(1)
    shop.run("--processes", "2")
    (old_server,) = shop.servers
    (long,) = shop.hold()
    shop.deploy(2)
    shop.reload()
    (new_server,) = set(shop.servers) - {old_server}
    kill(old_server if victim == "old" else new_server)
    if victim == "old":
        # Its job is given back, and runs again in the new code.
        eventually(lambda: len(shop.held) == 2, timeout=20)
    assert shop.version() == 2
    eventually(lambda: len(shop.servers) == (1 if victim == "old" else 2), timeout=20)
    assert (old_server in shop.servers) is (victim == "new")
    shop.gate.unlink()
    assert long.result(timeout=20) == (2 if victim == "old" else 1)
    assert long.info().crashes == 0


def test_the_old_fork_server_dies_while_the_new_one_imports(shop: Shop) -> None:
    shop.deploy(1)
    shop.run("--processes", "2")
    (old_server,) = shop.servers
    gate = shop.folder / "import-gate"
    gate.touch()
    shop.deploy(2, text=f"while os.path.exists({str(gate)!r}): time.sleep(0.005)")
    shop.node.send_signal(signal.SIGHUP)
    eventually(lambda: len(shop.servers) == 2, timeout=20)
    kill(old_server)
    gate.unlink()
    assert shop.version() == 2
    eventually(lambda: len(children_of(shop.node.pid)) == 2, timeout=20)


def test_term_during_a_reload_stops_both(shop: Shop) -> None:
    """While the new code is imported, and the old one runs a job."""
    shop.deploy(1)
    shop.run("--processes", "1", "--shutdown-timeout", "60")
    (long,) = shop.hold()
    gate = shop.folder / "import-gate"
    gate.touch()
    shop.deploy(2, text=f"while os.path.exists({str(gate)!r}): time.sleep(0.005)")
    shop.node.send_signal(signal.SIGHUP)
    eventually(lambda: len(shop.servers) == 2, timeout=20)
    below = shop.node.below
    shop.node.terminate()
    eventually(lambda: "stopping" in shop.node.log, timeout=20)
    shop.gate.unlink()
    assert shop.node.wait(timeout=30) == 0
    assert long.result(timeout=10) == 1
    wait_until_gone(below)


def test_term_with_jobs_in_both_generations_lets_both_finish(shop: Shop) -> None:
    shop.deploy(1)
    shop.run("--processes", "1", "--shutdown-timeout", "60")
    jobs = shop.hold()
    shop.deploy(2)
    shop.reload()
    second = shop.submit("hold", str(shop.out), str(shop.gate))
    eventually(lambda: len(shop.held) == 2, timeout=20)
    shop.node.terminate()
    eventually(lambda: "stopping" in shop.node.log, timeout=20)
    shop.gate.unlink()
    assert shop.node.wait(timeout=30) == 0
    assert [job.result(timeout=10) for job in (*jobs, second)] == [1, 2]


@pytest.mark.parametrize("point", ["rollover.imported", "rollover.replaced"])
def test_a_supervisor_that_dies_during_a_reload_leaves_nothing_and_loses_nothing(
    shop: Shop, point: str
) -> None:
    crash = CrashAt(point, folder=shop.folder)
    shop.deploy(1)
    shop.run("--processes", "2", crash=crash)
    (long,) = shop.hold()
    below = shop.node.below
    shop.deploy(2)
    shop.node.send_signal(signal.SIGHUP)
    crash.wait()
    wait_until_gone(below)
    wait_until_gone(shop.fleet.left_behind())
    shop.gate.unlink()
    shop.run("--processes", "1")
    assert long.result(timeout=30) == 2
    assert long.info().crashes == 0
