"""Tasks of which no two runs may ever overlap, and that notice when they do: a lock on a file, which
the kernel takes from whoever dies. And tasks that reach for what is not theirs."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from taskrunner import App, Backoff
from taskrunner.errors import TaskInterrupt
from tests.process.apps.basic import write

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))


@contextmanager
def alone(path: str, name: str) -> Iterator[None]:
    """Say when it begins and ends, and when another run of this name has not ended yet."""
    fd = os.open(f"{path}.{name}.lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            write(path, f"overlap {name}")
        write(path, f"begin {name}")
        yield
        write(path, f"end {name}")
    finally:
        os.close(fd)


@app.task(name="gated")
def gated(path: str, name: str, gate: str) -> str:
    """Until the gate is gone."""
    with alone(path, name):
        while os.path.exists(gate):
            time.sleep(0.005)
    return name


@app.task(name="last")
def last(path: str, name: str, seconds: float) -> str:
    """For so long."""
    with alone(path, name):
        time.sleep(seconds)
    return name


@app.task(name="stubborn", retries=2, timeout=0.2, backoff=Backoff(initial=0, jitter=False))
def stubborn(path: str, name: str) -> None:
    """Does not stop: not when it is interrupted, and not when that is repeated."""
    with alone(path, name):
        while True:
            try:
                time.sleep(60)
            except TaskInterrupt:
                write(path, f"interrupted {name}")


@app.task(name="astubborn", retries=2, timeout=0.2, backoff=Backoff(initial=0, jitter=False))
async def astubborn(path: str, name: str) -> None:
    """The same, on a loop."""
    with alone(path, name):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                write(path, f"interrupted {name}")


@app.task(name="append")
def append(path: str, text: str) -> str:
    write(path, text)
    return text


@app.task(name="scribble")
def scribble(path: str, data: bytes) -> None:
    """Write to every unix socket of this process: one of them is its pipe."""
    write(path, str(os.getpid()))
    for entry in os.listdir("/proc/self/fd"):
        try:
            line = socket.socket(fileno=os.dup(int(entry)))
        except OSError:
            continue
        if line.family == socket.AF_UNIX:
            line.send(data)
        line.detach()
    time.sleep(60)


def client(url: str, namespace: str) -> App:
    """An App of another process, which knows these tasks by name."""
    other = App(url, namespace=namespace)
    for name, task in app.tasks.items():
        other.task(name=name)(task.fn)
    return other
