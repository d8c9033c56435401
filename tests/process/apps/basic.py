"""The application that the process tests run. Its broker comes from TASKRUNNER_BROKER.

Tasks append a line to the file they are given, so that a test sees from outside what ran.
"""

from __future__ import annotations

import asyncio
import os
import time

from taskrunner import App, Backoff, Reject, Retry, current_job

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))


def write(path: str, text: str) -> None:
    """One write to a file opened for appending: whole lines, whoever else writes."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


@app.task
def add(a: int, b: int = 0) -> int:
    return a + b


@app.task
async def aadd(a: int, b: int = 0) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task
def append(path: str, text: str) -> str:
    write(path, text)
    return text


@app.task
def block_then_append(path: str, text: str, gate: str) -> str:
    """Say that it runs, wait until the file `gate` is gone, append."""
    write(path, f"started {text}")
    while os.path.exists(gate):
        time.sleep(0.005)
    write(path, text)
    return text


@app.task(retries=2, backoff=Backoff(initial=0.01, maximum=0.05))
def fail(message: str) -> None:
    raise ValueError(message)


@app.task
def reject(message: str) -> None:
    raise Reject(message)


@app.task
def again(path: str) -> int:
    """Asks to be run again until its third run."""
    attempt = current_job().attempt
    write(path, str(attempt))
    if attempt < 3:
        raise Retry(delay=0.01, count=False)
    return attempt


@app.task(retries=0)
def forever(path: str) -> None:
    write(path, "started")
    try:
        while True:
            time.sleep(60)
    finally:
        write(path, "stopped")


@app.task(retries=0)
def stubborn(path: str) -> None:
    """Swallows every interrupt: only a kill ends it."""
    write(path, "started")
    while True:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001  that is its point
            write(path, "interrupted")


@app.task
def nest(depth: int) -> int:
    """Waits for a job of its own kind, `depth` times."""
    if depth == 0:
        return 0
    result = nest.enqueue(depth - 1).result(timeout=30)
    return int(result) + 1


@app.task
def progress(path: str, gate: str) -> str:
    current_job().progress(3, 10, "resizing")
    write(path, "started")
    while os.path.exists(gate):
        time.sleep(0.005)
    return "done"


@app.task
def die(path: str) -> None:
    """Kill the process that runs this."""
    write(path, str(os.getpid()))
    os.kill(os.getpid(), 9)


@app.task
def unpackable() -> object:
    return object()


@app.task
def pid() -> int:
    return os.getpid()


@app.task
def fib(n: int) -> int:
    """A tree of jobs: each waits for two others."""
    if n < 2:
        return n
    return sum(job.result(timeout=50) for job in [fib.enqueue(n - 1), fib.enqueue(n - 2)])


@app.task
def compute(gate: str) -> bool:
    """Computes until the file `gate` is gone."""
    while os.path.exists(gate):
        sum(range(10_000))
    return True
