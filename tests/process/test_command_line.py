"""The program as a process of its own: what a user sees of mistakes and of Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskrunner.cli.exits import Exit
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually

ROOT = Path(__file__).parents[2]
IN_TIME_S = 20.0
"""Promised are 5 seconds; a busy machine that runs the whole suite gets more."""

SHOP = """
from taskrunner import App
app = App()
other = 5
@app.task
def add(a, b=1): return a + b
"""

Start = Callable[..., "subprocess.Popen[str]"]


def environ(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TASKRUNNER_")}
    return {**own, "PYTHONPATH": str(ROOT), **more}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the program in a folder with `shop.py`, and leaves no process behind."""
    (tmp_path / "shop.py").write_text(SHOP)
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "taskrunner", *words],
            cwd=tmp_path,
            env=environ(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and errors of a process that is about to end."""
    out, err = process.communicate(timeout=IN_TIME_S)
    return process.returncode, out, err


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# -- mistakes


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nothing:app", "there is no module 'nothing'"),
        ("shop:nothing", "shop has no attribute 'nothing'; Apps in it: app"),
        ("shop:other", "shop:other is not an App but"),
    ],
)
def test_run_on_what_is_no_app(start: Start, target: str, says: str) -> None:
    code, out, err = ended(start("run", target))
    assert (code, out) == (Exit.CONFIG, "")
    assert says in err
    assert "Traceback" not in err


def test_run_on_a_module_that_raises(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import shop\nraise ValueError('my own mistake')\n")
    code, _, err = ended(start("broken:app"))
    assert code == Exit.CONFIG
    assert 'broken.py", line 2' in err
    assert "ValueError: my own mistake" in err
    assert str(ROOT) not in err


@pytest.mark.parametrize("command", [("run", "shop:app"), ("queues",), ("status", "x")])
def test_a_scheme_nobody_answers_to(start: Start, command: tuple[str, ...]) -> None:
    code, _, err = ended(start(*command, "--broker", "amqp://u:secret@h"))
    assert code == Exit.CONFIG
    assert "amqp" in err
    assert "redis" in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1


COMMANDS = [
    ("run", "shop:app"),
    ("enqueue", "shop:app", "shop.add", "1"),
    ("status", "x"),
    ("cancel", "x"),
    ("queues",),
    ("check", "shop:app", "--ping"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_listening(start: Start, command: tuple[str, ...]) -> None:
    port = free_port()
    code, _, err = ended(start(*command, "--broker", f"redis://u:secret@127.0.0.1:{port}/0"))
    assert code == Exit.BROKER
    assert f"127.0.0.1:{port}" in err
    assert "refused" in err
    assert "secret" not in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    with RedisServer(password="right") as server:
        yield server


@pytest.mark.needs_redis
@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password(start: Start, command: tuple[str, ...], locked: RedisServer) -> None:
    url = locked.url.replace("right", "wrong-secret")
    code, _, err = ended(start(*command, TASKRUNNER_BROKER=url))
    assert code == Exit.BROKER
    assert "password" in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.needs_redis
def test_a_right_password_is_not_shown_either(start: Start, locked: RedisServer) -> None:
    code, out, err = ended(start("check", "shop:app", "--ping", TASKRUNNER_BROKER=locked.url))
    assert code == Exit.OK, err
    assert f":***@127.0.0.1:{locked.port}" in out
    assert "right" not in out


# -- Ctrl-C

WAITING = """
import threading
from pathlib import Path
{before}
    Path("importing").touch()
    threading.Event().wait()
{after}
"""


@pytest.mark.parametrize("command", [("run", "slow:app"), ("check", "slow:app")])
@pytest.mark.parametrize(
    "after", ["finally:\n    pass", "except KeyboardInterrupt:\n    from shop import app"]
)
def test_ctrl_c_while_the_users_module_is_imported(
    start: Start, tmp_path: Path, command: tuple[str, ...], after: str
) -> None:
    (tmp_path / "slow.py").write_text(WAITING.format(before="try:", after=after))
    process = start(*command)
    eventually((tmp_path / "importing").exists, timeout=IN_TIME_S)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (Exit.INTERRUPTED, "")
    assert err.strip() == "interrupted"


@pytest.mark.needs_redis
def test_ctrl_c_while_waiting_for_a_job(start: Start, redis_url: str) -> None:
    process = start("enqueue", "shop:app", "shop.add", "1", "--wait", TASKRUNNER_BROKER=redis_url)
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code in (Exit.INTERRUPTED, -signal.SIGINT)
    assert err.strip() in ("interrupted", "")
    # The job is not lost with whoever waited for it.
    _, out, _ = ended(start("status", job_id, TASKRUNNER_BROKER=redis_url))
    assert "pending" in out


def test_ctrl_c_on_a_supervisor_in_memory(start: Start) -> None:
    process = start("shop:app", "--processes", "1")
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    said = [next(line for line in lines if "memory://" in line)]
    said += [next(line for line in lines if "started" in line)]
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == Exit.OK
    assert "inside its own tasks" in said[0]
    assert err.rstrip().endswith("stopped")
    assert "Traceback" not in err


# -- surroundings


def test_a_reader_that_has_seen_enough(start: Start) -> None:
    process = start("check", "shop:app", "--json")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    code, _, err = ended(process)
    assert (code, err) == (Exit.OK, "")


def test_output_that_cannot_show_a_character(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from taskrunner import App\napp = App()\n@app.task(name='名前')\ndef f(): ...\n"
    )
    process = start("check", "mine:app", PYTHONIOENCODING="latin-1")
    code, out, err = ended(process)
    assert (code, err) == (Exit.OK, "")
    assert r"\u540d\u524d" in out


def test_the_console_script_is_the_same_program(start: Start, tmp_path: Path) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["taskrunner"].partition(":")
    script = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from {module} import {function}; {function}()",
            "check",
            "nil:app",
        ],
        cwd=tmp_path,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=IN_TIME_S,
    )
    code, _, err = ended(start("check", "nil:app"))
    assert (script.returncode, script.stderr) == (code, err)
    assert code == Exit.CONFIG
