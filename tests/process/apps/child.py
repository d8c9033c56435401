"""The application of the tests that drive one child by hand. Its broker is out of its reach."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from taskrunner import App, Middleware, Reject, current_job
from taskrunner.errors import TaskInterrupt


class Hooks(Middleware):
    def child_start(self) -> None:
        if os.environ.get("CHILD_START") == "raise":
            raise RuntimeError("no pool today")

    def child_stop(self) -> None:
        print("child_stop", file=sys.stderr, flush=True)


app = App("memory://", namespace="child", middleware=[Hooks()])


def here() -> None:
    """Let the test know that the task has come to this place."""
    current_job().progress(1)


@app.task(name="echo")
def echo(value: Any = None) -> Any:
    return value


@app.task(name="aecho")
async def aecho(value: Any = None) -> Any:
    await asyncio.sleep(0)
    return value


@app.task(name="gate")
def gate(path: str) -> str:
    """Wait until the file is gone."""
    while os.path.exists(path):
        time.sleep(0.002)
    return path


@app.task(name="nap")
def nap(seconds: float) -> None:
    """Sleep, in one go: only a signal ends it early."""
    here()
    time.sleep(seconds)


@app.task(name="anap")
async def anap(seconds: float) -> None:
    here()
    await asyncio.sleep(seconds)


@app.task(name="spin")
def spin(seconds: float) -> None:
    """Compute, for so long."""
    if seconds > 1:
        here()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@app.task(name="aspin")
async def aspin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0)


@app.task(name="swallow")
def swallow(as_error: bool = False) -> str:
    """Goes on after its interrupt, or makes an error of its own of it."""
    try:
        spin.fn(60)
    except TaskInterrupt as interrupt:
        if as_error:
            raise KeyError("lost") from interrupt
    return "went on"


@app.task(name="tidy")
async def tidy() -> str:
    """Counts how often it is cancelled, cleaning up meanwhile."""
    hits = 0
    for _ in range(2):
        try:
            here()
            await asyncio.sleep(0.5 if hits else 60)
        except asyncio.CancelledError:
            hits += 1
    return f"{hits} hits"


@app.task(name="last_words")
def last_words() -> None:
    """Rejects when it is interrupted."""
    try:
        spin.fn(60)
    except TaskInterrupt:
        raise Reject("enough") from None


@app.task(name="leave")
def leave() -> None:
    sys.exit(7)


@app.task(name="steps")
def steps(count: int) -> int:
    for step in range(count):
        current_job().progress(step + 1, count)
    return count


@app.task(name="parent")
def parent(queue: str) -> Any:
    return echo.options(queue=queue, job_id="sub").enqueue("from the sub-job").result(timeout=30)


@app.task(name="flood")
def flood() -> None:
    """Fills the pipe with submissions until it is interrupted."""
    while True:
        echo.enqueue("x" * 1_000_000)


@app.task(name="about")
def about() -> list[Any]:
    """What surrounds it: its standard input, and a signal that must not end it."""
    os.kill(os.getpid(), 15)
    os.kill(os.getpid(), 2)
    return [sys.stdin.read(), os.getpid()]
