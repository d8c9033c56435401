"""Encrypted jobs on a real node and a real Redis, looked at by somebody who can read all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskrunner import App, Job, JobFailed, State
from taskrunner.brokers.base import JobKey
from taskrunner.cli.program import execute
from taskrunner.crypto import Key
from taskrunner.inspector import Inspector
from taskrunner.message import Message
from taskrunner.states import FINISHED
from taskrunner.testing.fleet import Fleet
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.process.conftest import ROOT

TARGET = "tests.process.apps.sealed:app"
NAME = "tests.process.apps.sealed."
OLD, NEW = Key.new("old").text, Key.new("new").text
WAIT = 30


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One that writes down everything, and compresses nothing: what is in it can be searched."""
    with RedisServer(appendonly=True, extra=("--rdbcompression", "no")) as server:
        yield server


@pytest.fixture
def fleet(server: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    namespace = f"t{uuid4().hex[:8]}"
    with Fleet(
        TARGET,
        broker=server.url,
        folder=tmp_path,
        namespace=namespace,
        root=ROOT,
        environ={"TASKRUNNER_TEST_NAMESPACE": namespace},
    ) as fleet:
        yield fleet


def client(fleet: Fleet, **settings: Any) -> App:
    from tests.process.apps import sealed

    app = fleet.app_with(**settings)
    for name, task in sealed.app.tasks.items():
        app.task(name=name)(task.fn)
    return app


def submit(app: App, task: str, *args: Any, **options: Any) -> Job[Any]:
    return app.enqueue(NAME + task, args=args, **options)


def ended(job: Job[Any]) -> State:
    eventually(lambda: job.state() in FINISHED)
    return job.state()


def places_of(server: RedisServer, marker: str) -> set[str]:
    """Where the marker can be read in the memory of Redis, and in its files."""
    found = set()
    with server.client() as redis:
        redis.config_set("appendfsync", "always")
        keys = list(redis.scan_iter(count=1000))
        for key in keys:
            if marker.encode() in key + (redis.dump(key) or b""):
                found.add(key.decode(errors="replace"))
        redis.save()
    for path in server.folder.rglob("*"):
        if path.is_file() and marker.encode() in path.read_bytes():
            found.add(path.name.partition(".")[0])
    return found


def leave_everything(app: App, marker: str, gate: Path) -> None:
    """Have a node leave a marker in whatever a job can leave in the store."""
    echoed = submit(app, "echo", marker, headers={"tenant": marker})
    failed, died = submit(app, "fail", marker), submit(app, "die", marker)
    later = submit(app, "echo", marker, delay=3600)
    app.schedules.add("s", NAME + "echo", args=(marker,), every=3600, headers={"tenant": marker})
    fired = app.schedules.trigger("s")
    assert fired.result(timeout=WAIT) == marker * 2
    assert echoed.result(timeout=WAIT) == marker * 2
    assert ended(failed) is ended(died) is State.FAILED
    running = submit(app, "wait_for", str(gate), marker)
    assert eventually(lambda: running.info().progress) == (1, 2, marker)
    gate.touch()
    assert running.result(timeout=WAIT) == str(gate)
    for job in (failed, died):
        error = job.info().error
        assert error is not None
        assert marker in error.message + error.traceback
    assert later.info().args == (marker,)


@pytest.mark.needs_redis
@pytest.mark.timeout(120)
def test_a_marker_is_nowhere_in_redis(server: RedisServer, fleet: Fleet, tmp_path: Path) -> None:
    hidden, shown = uuid4().hex, uuid4().hex
    fleet.start("--processes", "2", TASKRUNNER_ENCRYPTION_KEYS=OLD, TASKRUNNER_MAX_CRASHES="1")
    leave_everything(client(fleet, encryption_keys=[OLD]), hidden, tmp_path / "a")
    assert places_of(server, hidden) == set()
    # The search finds what is there: the same of a node without keys.
    fleet.nodes[0].stop()
    app = client(fleet)
    app.schedules.remove("s")
    fleet.start("--processes", "2", TASKRUNNER_MAX_CRASHES="1")
    leave_everything(app, shown, tmp_path / "b")
    found = places_of(server, shown)
    assert len([place for place in found if place.startswith("{")]) >= 5, found
    assert {"appendonly", "dump"} & found, found


@pytest.mark.needs_redis
def test_what_was_altered_or_swapped_fails_alone_and_keeps_its_bytes(fleet: Fleet) -> None:
    app = client(fleet, encryption_keys=[OLD])
    made = [app.seals.message(app.tasks[NAME + "echo"].message(text)) for text in "abc"]
    swapped = _with(made[0], body=made[1].body), _with(made[1], body=made[0].body)
    altered = _with(made[2], body=made[2].body[:-1] + bytes([made[2].body[-1] ^ 1]))
    foreign = client(fleet, encryption_keys=[NEW])
    unknown = foreign.seals.message(foreign.tasks[NAME + "echo"].message("d"))
    bad = [*swapped, altered, unknown]
    fleet.start("--processes", "1", TASKRUNNER_ENCRYPTION_KEYS=OLD)
    app.broker.enqueue(bad)
    assert submit(app, "echo", "fine").result(timeout=WAIT) == "fine"
    for message in bad:
        job = app.job(message.id)
        assert ended(job) is State.FAILED
        info = job.info()
        assert (info.reason, info.record.wire) == ("undecryptable", message.wire)
        assert info.error is not None
        assert info.error.type == "taskrunner.errors.CryptoError"
        assert ("'new'" if message is unknown else "altered, moved") in info.error.message
        with pytest.raises(JobFailed, match="undecryptable"):
            job.result(timeout=1)


def _with(message: Message, **changes: Any) -> Message:
    return replace(message, **changes)


@pytest.mark.needs_redis
@pytest.mark.parametrize("kind", ["encryption", "signing"])
def test_a_node_that_requires_protection_refuses_what_has_none(fleet: Fleet, kind: str) -> None:
    keys = {f"{kind}_keys": [OLD]}
    environ = {f"TASKRUNNER_{kind.upper()}_KEYS": OLD, f"TASKRUNNER_REQUIRE_{kind.upper()}": "yes"}
    plain = submit(client(fleet), "echo", "plain")
    good = submit(client(fleet, **keys), "echo", "good")
    fleet.start("--processes", "1", crash=None, **environ)
    assert good.result(timeout=WAIT) == "good"
    assert ended(plain) is State.FAILED
    info = client(fleet, **keys).job(plain.id).info()
    assert (info.reason, info.args) == ("unprotected", ("plain",))
    assert info.error is not None
    assert f"require_{kind} is set" in info.error.message


@pytest.mark.needs_redis
def test_keys_are_rotated_while_jobs_run_and_none_is_lost(fleet: Fleet, tmp_path: Path) -> None:
    """In the order that the guide names: first every node learns the new key, then clients use it,
    then the store is sealed anew, and then the old one goes."""
    gate = tmp_path / "gate"
    before = client(fleet, encryption_keys=[OLD])
    fleet.start("--processes", "1", TASKRUNNER_ENCRYPTION_KEYS=OLD)
    running = [submit(before, "wait_for", str(gate)) for _ in range(1)]
    eventually(lambda: all(job.info().started_at for job in running))
    waiting = [submit(before, "echo", f"old {n}") for n in range(30)]
    fleet.start("--processes", "1", TASKRUNNER_ENCRYPTION_KEYS=f"{OLD},{NEW}")
    eventually(lambda: len(before.broker.nodes()) == 2)
    fleet.nodes[0].terminate()
    after = client(fleet, encryption_keys=[NEW, OLD])
    waiting += [submit(after, "echo", f"new {n}") for n in range(30)]
    gate.touch()
    assert fleet.nodes[0].wait(WAIT) == 0
    fleet.start("--processes", "1", TASKRUNNER_ENCRYPTION_KEYS=f"{NEW},{OLD}")
    eventually(lambda: len(before.broker.nodes()) == 2)
    assert fleet.nodes[1].stop() == 0
    waiting += [submit(after, "echo", f"last {n}") for n in range(30)]
    assert not [step.left for step in Inspector(after).rekey()][-1]
    for job in [*running, *waiting]:
        after.job(job.id).result(timeout=WAIT)
    assert not [step.left for step in Inspector(after).rekey()][-1]
    only = client(fleet, encryption_keys=[NEW])
    for job in [*running, *waiting]:
        args = only.job(job.id).info().args
        assert args is not None
        assert only.job(job.id).result(timeout=WAIT) == args[0]
    late = submit(after, "echo", "late")
    late.result(timeout=WAIT)
    (record,) = after.broker.get([JobKey("default", late.id)])
    assert record is not None
    assert record.result is not None
    assert record.result[3:6] == b"new"


@pytest.mark.needs_redis
def test_the_command_line_names_the_key_that_is_missing(
    fleet: Fleet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASKRUNNER_BROKER", fleet.url)

    def cli(*words: str, keys: str = "") -> tuple[int, str]:
        monkeypatch.setenv("TASKRUNNER_ENCRYPTION_KEYS", keys)
        capsys.readouterr()
        code = execute(words)
        return code, "".join(capsys.readouterr())

    path, where = tmp_path / "key", ("--namespace", fleet.namespace)
    keys = f"file:{path}"
    assert cli("new-key", "--file", str(path), "--id", "shop") == (0, f"{keys}\n")
    assert os.stat(path).st_mode & 0o777 == 0o600
    code, said = cli("new-key", "--file", str(path))
    assert (code, "File exists" in said) == (2, True)
    fleet.start("--processes", "1", TASKRUNNER_ENCRYPTION_KEYS=keys)
    words = ("enqueue", TARGET, NAME + "echo", '"hi"', "--wait", "--wait-timeout", "30", "--json")
    done = json.loads(cli(*words, *where, keys=keys)[1])
    assert done["result"] == "hi"
    code, shown = cli("status", done["id"], *where)
    assert (code, "the encryption key 'shop' is not known here" in shown) == (0, True)
    assert '"hi"' in cli("status", done["id"], *where, keys=keys)[1]
    code, checked = cli("check", TARGET, keys=keys)
    assert (code, "shop" in checked) == (0, True)
    assert path.read_text().partition(":")[2].strip() not in checked
