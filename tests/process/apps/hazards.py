"""Tasks that do harm to the process they run in, and their peaceful neighbours."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
import time

from taskrunner import App
from tests.process.apps.basic import write

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))


@app.task(name="linger")
def linger(path: str, text: str, gate: str) -> str:
    """Says that it runs, waits for the gate, says that it ended."""
    write(path, f"started {text}")
    while os.path.exists(gate):
        time.sleep(0.005)
    write(path, f"ended {text}")
    return text


@app.task(name="kill")
def kill(path: str, text: str, gate: str) -> None:
    """The same, but it ends its process."""
    write(path, f"started {text}")
    while os.path.exists(gate):
        time.sleep(0.005)
    os.kill(os.getpid(), 9)


@app.task(name="ask")
def ask(path: str, gate: str) -> object:
    """Waits for the gate, then for a sub-job."""
    write(path, "started ask")
    while os.path.exists(gate):
        time.sleep(0.005)
    return linger.enqueue(path, "sub", "").result(timeout=40)


kept: list[bytearray] = []


def say(text: str) -> None:
    """Once to the log and once to standard error."""
    logging.getLogger("shop").warning("logged %s", text)
    print("printed", text, file=sys.stderr)


@app.task(name="peace")
def peace(text: str) -> str:
    say(text)
    return text


@app.task(name="hang", retries=0)
def hang(path: str, text: str) -> None:
    """Waits in a C call with the interpreter lock in its hand."""
    say(text)
    nothing, _ = os.pipe()
    write(path, f"started {text}")
    ctypes.PyDLL(None).read(nothing, ctypes.create_string_buffer(1), 1)


@app.task(name="burn", retries=0)
def burn(path: str, text: str) -> None:
    """Computes for ever with the interpreter lock in its hand."""
    say(text)
    write(path, f"started {text}")
    re.match(r"(a+)+$", "a" * 100 + "b")


@app.task(name="compute")
def compute(path: str, text: str, seconds: float) -> str:
    """Computes, in Python."""
    write(path, f"started {text}")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return text


@app.task(name="work")
def work() -> int:
    return os.getpid()


@app.task(name="grow")
def grow(path: str, mebibytes: int, gate: str) -> int:
    """Fills memory, and keeps it when it has ended."""
    kept.append(bytearray(os.urandom(1)) * (mebibytes << 20))
    write(path, f"started {os.getpid()}")
    while os.path.exists(gate):
        time.sleep(0.005)
    return os.getpid()


@app.task(name="nap")
def nap(path: str, text: str) -> None:
    """Sleeps, and swallows every interrupt."""
    say(text)
    write(path, f"started {text}")
    while True:
        try:
            time.sleep(600)
        except BaseException:  # noqa: BLE001  that is its point
            say("not now")


@app.task(name="segfault")
def segfault(text: str) -> None:
    say(text)
    ctypes.string_at(1)


@app.task(name="take_down")
def take_down(path: str, text: str) -> None:
    """Takes its whole node with it, as a container that is out of memory does."""
    fork_server = os.getppid()
    with open(f"/proc/{fork_server}/stat", encoding="utf-8") as stat:
        supervisor = int(stat.read().rpartition(")")[2].split()[1])
    write(path, f"started {text}")
    os.kill(supervisor, 9)
    time.sleep(60)


@app.task(name="last")
def last(path: str, text: str, seconds: float) -> str:
    """Takes so long."""
    write(path, f"started {text}")
    time.sleep(seconds)
    write(path, f"ended {text}")
    return text


@app.task(name="shoot")
def shoot(text: str) -> None:
    """Ends its process as `kill -9` does."""
    say(text)
    os.kill(os.getpid(), 9)


def client(url: str, namespace: str) -> App:
    """An App of another process, which knows these tasks by name."""
    other = App(url, namespace=namespace)
    for name, task in app.tasks.items():
        other.task(name=name)(task.fn)
    return other
