"""Schedules on real nodes, over Redis: declared, changed, killed, and each slot once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from taskrunner.schedulestore import ScheduleStore
from taskrunner.testing.crash import CrashAt
from taskrunner.testing.fleet import Fleet
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT, lines
from tests.process.storm import TARGET, storm

NODE = ("--processes", "1", "--lease", "2")


@pytest.fixture
def timed(redis_server: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(TARGET, broker=redis_server.url, folder=tmp_path, root=ROOT) as fleet:
        yield fleet


def start(fleet: Fleet, *options: str, crash: CrashAt | None = None, **schedules: Any) -> Any:
    """A node whose code declares these schedules."""
    said = json.dumps(schedules)
    return fleet.start(*NODE, *options, crash=crash, TIMED_SCHEDULES=said)


def submitted(path: Path) -> Counter[tuple[str, str]]:
    """How many jobs each slot of each schedule had."""
    ids = {tuple(line.split()) for line in lines(path)}
    return Counter((schedule, slot) for schedule, slot, _ in ids)


def stored(fleet: Fleet) -> dict[str, Any]:
    found = ScheduleStore(fleet.app().broker).all()
    return {one.name: one.schedule.rule.every for one in found if one.schedule is not None}


@pytest.mark.timeout(240)
def test_no_slot_is_missed_or_doubled_while_nodes_are_killed(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    report = storm(redis_server.url, tmp_path, seconds=10.0, schedules=20, seed=7)
    assert report.missing == []
    assert report.doubled == []
    assert report.slots > 20 * 8
    assert report.done["killed"] >= 1


@pytest.mark.parametrize("point", ["tick.before", "tick.after"])
def test_a_node_that_dies_over_a_slot_loses_and_doubles_none(
    timed: Fleet, tmp_path: Path, point: str
) -> None:
    out = tmp_path / "out"
    timed.app().schedules.add("s", "record", (str(out),), every=0.5, catch_up="all")
    crash = CrashAt(point, folder=tmp_path, on=2)
    timed.start(*NODE, crash=crash)
    crash.wait(timeout=40)
    timed.start(*NODE)
    eventually(lambda: len(submitted(out)) >= 4, timeout=40)
    found = submitted(out)
    assert set(found.values()) == {1}
    (record,) = timed.app().broker.slots("default", ["s"], firings=50)
    slots = [fired.slot for fired in record.firings]
    steps = {
        round(later - sooner, 3)
        for later, sooner in pairwise(slots)
        if later is not None and sooner is not None
    }
    assert steps == {0.5}


CHANGE = """
import sys
from taskrunner import App
app = App(namespace=sys.argv[1])
app.schedules.add("s", "record", (sys.argv[2],), every=0.5, catch_up="all", queue="other",
                  replace=True)
"""


@pytest.mark.parametrize("point", ["put_record.after", "close_slots.after"])
def test_a_client_that_dies_while_it_moves_a_schedule_leaves_it_going(
    timed: Fleet, tmp_path: Path, point: str
) -> None:
    out = tmp_path / "out"
    timed.app().schedules.add("s", "record", (str(out),), every=0.5, catch_up="all")
    timed.start(*NODE)
    eventually(lambda: len(submitted(out)) >= 2, timeout=40)
    crash = CrashAt(point, folder=tmp_path)
    died = subprocess.run(
        [sys.executable, "-c", CHANGE, timed.namespace, str(out)],
        cwd=ROOT,
        env={**timed.environ, **crash.environ},
    )
    assert died.returncode == -9
    # By a look at everything, which comes every 30 s, at the latest: a new node looks at once.
    timed.start(*NODE)

    def is_moved() -> bool:
        (record,) = timed.app().broker.slots("other", ["s"])
        return record.last > 0

    eventually(is_moved, timeout=50)
    count = len(submitted(out))
    eventually(lambda: len(submitted(out)) >= count + 2, timeout=40)
    assert set(submitted(out).values()) == {1}


def test_what_code_declares_follows_the_code(timed: Fleet, tmp_path: Path) -> None:
    out = [str(tmp_path / "out")]
    start(timed, a={"args": out, "every": 3600}, b={"args": out, "every": 0.3})
    eventually(lambda: stored(timed) == {"a": 3600.0, "b": 0.3}, timeout=40)
    timed.app().schedules.add("mine", "record", tuple(out), every=3600)
    start(timed, a={"args": out, "every": 1800}, c={"args": out, "every": 0.4})
    eventually(lambda: stored(timed) == {"a": 1800.0, "c": 0.4, "mine": 3600.0}, timeout=40)
    eventually(lambda: any(name == "c" for name, _ in submitted(tmp_path / "out")), timeout=20)
    shown = json.loads(cli(timed, "schedules", "--json"))
    assert [one["declared_by"] for one in shown] == [TARGET, TARGET, None]


def cli(fleet: Fleet, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "taskrunner", *words],
        cwd=ROOT,
        env=fleet.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line_goes_the_whole_road(timed: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(timed)
    cli(timed, "schedules", "add", "s", "record", json.dumps(str(out)), "--every", "0.3")
    eventually(lambda: len(submitted(out)) >= 2, timeout=40)
    job = cli(timed, "schedules", "trigger", "s").strip()
    eventually(lambda: any(line.endswith(job) for line in lines(out)), timeout=20)
    assert job in cli(timed, "schedules", "history", "s")
    cli(timed, "schedules", "remove", "s", "--yes")
    assert stored(timed) == {}


def test_a_change_reaches_every_node_within_a_second(timed: Fleet, tmp_path: Path) -> None:
    """Of the nodes' own clocks nothing is asked: the store says when a slot was claimed."""
    out = tmp_path / "out"
    app = timed.app()
    for _ in range(2):
        start(timed)
    eventually(lambda: len(app.broker.nodes()) == 2, timeout=40)
    app.schedules.add("first", "record", (str(out),), every=0.1)
    eventually(lambda: len(submitted(out)) >= 3, timeout=20)
    waits = []
    for n in range(10):
        added = app.broker.now()
        app.schedules.add(f"s{n}", "record", (str(out),), every=0.01)

        def first(name: str = f"s{n}") -> float:
            (record,) = app.broker.slots("default", [name], firings=50)
            return min((fired.at for fired in record.firings), default=0.0)

        eventually(lambda: first() > 0, timeout=20)
        waits.append(first() - added)
        app.schedules.remove(f"s{n}")
    assert sorted(waits)[5] < 1.0, waits


def test_what_nobody_can_run_waits_and_is_shown(timed: Fleet) -> None:
    start(timed)
    app = timed.app()
    app.schedules.add("s", "of.a.later.version", every=0.2)

    def waiting() -> int:
        info = app.schedules.get("s")
        return 0 if info is None else info.waiting

    eventually(lambda: waiting() >= 2, timeout=40)


def test_a_task_makes_a_schedule(timed: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(timed)
    timed.app().enqueue("reschedule", args=(str(out),)).result(timeout=40)
    eventually(lambda: len(submitted(out)) >= 3, timeout=20)
    assert {name for name, _ in submitted(out)} == {"made-inside"}


RELOADED = """
from taskrunner import App
from tests.process.apps.basic import write
app = App()

@app.cron(every={every}, name="s", args=({out!r},))
@app.task(name="note")
def note(out):
    write(out, "{every}")
"""


def test_new_code_brings_new_schedules(redis_server: RedisServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    module = f"reloaded_{uuid.uuid4().hex[:8]}"

    def deploy(every: float) -> None:
        text = RELOADED.format(every=every, out=str(out))
        (tmp_path / "new.tmp").write_text(text)
        (tmp_path / "new.tmp").replace(tmp_path / f"{module}.py")

    deploy(0.25)
    environ = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with Fleet(
        f"{module}:app", broker=redis_server.url, folder=tmp_path, root=ROOT, environ=environ
    ) as fleet:
        node = fleet.start(*NODE)
        eventually(lambda: "0.25" in lines(out), timeout=40)
        deploy(0.125)
        node.send_signal(signal.SIGHUP)
        eventually(lambda: "0.125" in lines(out), timeout=40)
        assert stored(fleet) == {"s": 0.125}
