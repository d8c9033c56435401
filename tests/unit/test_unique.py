"""What makes a job unique, from the option to the answer of `enqueue`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App, DuplicateJob, JobInfo, OptionError, State, Unique
from taskrunner.crypto import Key
from taskrunner.errors import MessageError
from taskrunner.message import Lock, Message, unpack
from taskrunner.schedules import Schedule
from taskrunner.timeline import Rule

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app() -> App:
    return App("memory://")


def sync(user: int, *, deep: bool = False) -> str:
    return f"{user} {deep}"


def key_of(app: App, unique: bool | Unique, *args: Any, **kwargs: Any) -> str:
    name = f"t{len(app.tasks)}"
    message = app.task(name=name, unique=unique)(lambda *_args, **_kwargs: None).message(
        *args, **kwargs
    )
    assert message.lock is not None
    assert unpack(message.wire)[0].unique_key == message.lock.key
    assert message.lock.key.startswith(name)
    return message.lock.key.removeprefix(name)


# -- keys


def test_by_arguments(app: App) -> None:
    first = key_of(app, True, 1, deep=True, x={1: 2, "a": {3, 4}})
    assert first == key_of(app, Unique(), 1, x={"a": {4, 3}, 1: 2}, deep=True)
    others: list[tuple[Any, ...]] = [
        (),
        (1,),
        ("1",),
        (1.0,),
        (True,),
        ((1,),),
        ([1],),
        ({1},),
        (None,),
    ]
    keys = {key_of(app, True, *args) for args in others}
    assert len(keys | {first}) == len(others) + 1


def test_arguments_give_the_same_key_in_every_process() -> None:
    program = (
        "from taskrunner import App\n"
        "t = App('memory://').task(name='t', unique=True)(lambda x: None)\n"
        "print(t.message({'b', 'a', 'c', 'longer', ('x', 'y')}).lock.key)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_by_a_key_of_ones_own(app: App) -> None:
    assert key_of(app, Unique(key="night"), 1) == key_of(app, Unique(key="night"), 2)
    assert key_of(app, Unique(key=7)) == key_of(app, Unique(key=lambda x, **_: x), 7, deep=True)
    assert key_of(app, Unique(key="a")) != key_of(app, Unique(key="b"))


def test_a_key_is_of_one_task(app: App) -> None:
    one, other = (app.task(name=name, unique=Unique(key="k"))(lambda: None) for name in "ab")
    assert one.message().lock != other.message().lock


@pytest.mark.parametrize("unique", [True, Unique(key="ü" * 500)])
def test_a_key_is_short_and_tells_long_names_apart(app: App, unique: bool | Unique) -> None:
    names = ["m" * 200 + end for end in ("1", "2")]
    tasks = [app.task(name=name, unique=unique)(lambda: None) for name in names]
    keys = [task.message().lock.key for task in tasks if task.message().lock]  # type: ignore[union-attr]
    assert all(len(key.encode()) <= 64 for key in keys)
    assert len(set(keys)) == 2


# -- options


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"key": ""}, "unique key=''"),
        ({"key": b"x"}, "unique key=b'x'"),
        ({"key": True}, "unique key=True"),
        ({"key": float("nan")}, "unique key=nan"),
        ({"key": "\ud800"}, "unique key="),
        ({"until": "never"}, "unique until='never': expected 'finished' or 'started'"),
        ({"on_conflict": None}, "unique on_conflict=None"),
        ({"seconds": 0}, "unique seconds=0"),
        ({"seconds": -1}, "unique seconds=-1"),
        ({"seconds": timedelta(0)}, "unique seconds="),
        ({"seconds": float("inf")}, "unique seconds=inf"),
        ({"seconds": "60"}, "unique seconds='60'"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said.replace("(", r"\(")):
        Unique(**fields)


@pytest.mark.parametrize("value", ["yes", 1, Unique])
def test_the_option_names_what_it_accepts(app: App, value: Any) -> None:
    with pytest.raises(OptionError, match=r"unique=.*: expected True, False or a Unique"):
        app.task(unique=value)


def test_a_function_must_answer_a_key(app: App) -> None:
    task = app.task(name="t", unique=Unique(key=lambda user: [user]))(sync)  # type: ignore[arg-type,return-value]
    with pytest.raises(OptionError, match=r"unique key=\[1\]: expected text"):
        task.enqueue(1)


def test_an_id_of_its_own_contradicts_replace(app: App) -> None:
    replace = Unique(on_conflict="replace")
    with pytest.raises(OptionError, match="job_id='a'"):
        app.task(unique=replace)(sync).options(job_id="a")
    with pytest.raises(OptionError, match="job_id='a'"):
        app.enqueue(app.tasks[f"{__name__}.sync"], (1,), job_id="a", unique=replace)


def test_the_later_one_wins(app: App) -> None:
    task = app.task(name="t", unique=Unique(key="k", seconds=60))(sync)
    assert task.message(1).lock == Lock("t =k", seconds=60.0)
    assert task.options(unique=False).message(1).lock is None
    assert task.options(priority=3).message(1).lock == Lock("t =k", seconds=60.0)
    window = Unique(key="k", seconds=timedelta(minutes=1), until="started")
    assert task.options(unique=window).message(1).lock == Lock("t =k", "started", 60.0)


# -- answers


def test_reject_names_the_job_that_is_there(app: App) -> None:
    task = app.task(name="t", unique=True)(sync)
    job = task.enqueue(1)
    with pytest.raises(DuplicateJob, match="has the unique key") as caught:
        task.enqueue(1)
    assert caught.value.existing_id == job.id
    assert caught.value.job_id != job.id
    assert task.enqueue(2) != job
    job.cancel()
    assert task.enqueue(1) != job


def test_each_of_many_has_its_answer(app: App) -> None:
    task = app.task(name="t", unique=True)(sync)
    existing = task.options(unique=Unique(on_conflict="existing"))
    jobs = app.enqueue_many(
        [task.message(1), task.message(1), existing.message(1), task.message(2)]
    )
    assert [job.accepted for job in jobs] == [True, False, True, True]
    assert isinstance(jobs[1].rejection, DuplicateJob)
    assert jobs[1].rejection.existing_id == jobs[0].id == jobs[2].id


def test_existing_and_replace_answer_a_handle_of_the_first(app: App) -> None:
    existing = Unique(key="k", on_conflict="existing")
    job = app.enqueue("t", (1,), unique=existing)
    assert app.enqueue("t", (2,), unique=existing) == job
    assert job.info().args == (1,)
    replace = Unique(key="k", on_conflict="replace")
    assert app.enqueue("t", (3,), unique=replace, delay=50) == job
    info = job.info()
    assert (info.args, info.state, info.replaced) == ((3,), State.SCHEDULED, 1)
    assert info.unique_key == "t =k"


def test_what_runs_is_not_replaced(app: App) -> None:
    replace = Unique(key="k", on_conflict="replace")
    app.enqueue("t", (1,), unique=replace)
    broker: Any = app.broker
    from taskrunner.brokers.base import NodeInfo, Take

    broker.join(NodeInfo(id="n", lease=60.0), ["default"])
    broker.fetch("n", [Take("default", 1)], 1)
    with pytest.raises(DuplicateJob, match="runs already: it cannot be replaced"):
        app.enqueue("t", (2,), unique=replace)


# -- schedules


def test_a_schedule_carries_it(app: App) -> None:
    task = app.task(name="t", unique=Unique(key="k", seconds=60, until="started"))(sync)
    lock = task.message(1).lock
    app.schedules.add("s", task, every=60, args=(1,))
    template = task.submission((1,), {}).template(app, (1,), {})
    made = Schedule("s", Rule(every=60.0), template)
    assert Schedule.unpack("s", made.pack()).job(None).lock == lock
    plain = Schedule("s", Rule(every=60.0), task.options(unique=False).message(1))
    assert Schedule.unpack("s", plain.pack()).template.lock is None


def test_a_slot_cannot_replace(app: App) -> None:
    task = app.task(name="t", unique=Unique(on_conflict="replace"))(sync)
    with pytest.raises(OptionError, match="unique on_conflict='replace'"):
        app.schedules.add("s", task, every=60, args=(1,))
    app.schedules.add("s", task, every=60, args=(1,), unique=False)


def test_a_trigger_says_who_is_in_the_way(app: App) -> None:
    task = app.task(name="t", unique=True)(sync)
    app.schedules.add("s", task, every=60, args=(1,))
    job = app.schedules.trigger("s")
    with pytest.raises(DuplicateJob) as caught:
        app.schedules.trigger("s")
    assert caught.value.existing_id == job.id


@pytest.mark.parametrize(
    "found",
    [
        [],
        ["", "finished", None, "reject"],
        ["k", "x", None, "reject"],
        ["k", "finished", -1, "x"],
        7,
    ],
)
def test_garbage_is_no_lock(found: Any) -> None:
    with pytest.raises(MessageError):
        Lock.of(found)


# -- encrypted


@pytest.mark.parametrize("keys", ["encryption_keys", "signing_keys"])
def test_a_sealed_message_may_be_taken_by_the_job_that_has_its_key(keys: str) -> None:
    settings: Any = {keys: [Key.new("one").text]}
    app = App("memory://", **settings)
    task = app.task(name="t", unique=Unique(on_conflict="replace", key="k"), delay=50)(sync)
    job = task.enqueue(1)
    assert task.options(delay=0).enqueue(2, deep=True) == job
    info = job.info()
    assert (info.args, info.kwargs, info.unreadable) == ((2,), {"deep": True}, None)
    with app.running(threads=1):
        assert job.result(timeout=20) == "2 True"


def test_a_sealed_message_goes_with_its_key_and_no_other() -> None:
    app = App("memory://", encryption_keys=[Key.new("one").text])
    task = app.task(name="t")(sync)
    keys = [Unique(on_conflict="replace", key=key) for key in ("k", "l")]
    here, there = (task.options(unique=key).enqueue(n).info() for n, key in enumerate(keys))
    header, body = unpack(there.record.wire)
    forged = replace(header, unique_key=here.unique_key)
    forgery = Message("x", "default", forged, body).wire
    assert JobInfo(replace(here.record, wire=forgery), app).args is None


def test_a_key_of_arguments_does_not_betray_encrypted_ones() -> None:
    plain = App("memory://")
    one, other = (App("memory://", encryption_keys=[Key.new("one").text]) for _ in range(2))
    keys = set()
    for app in (plain, one, other):
        job = app.task(name="t", unique=True)(sync).enqueue(1)
        keys.add(job.info().unique_key)
        with pytest.raises(DuplicateJob):
            app.tasks["t"].enqueue(1)
        assert app.enqueue("t", (1,), unique=Unique(key="mine")).info().unique_key == "t =mine"
    assert len(keys) == 3
