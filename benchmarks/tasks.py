"""The tasks that the benchmarks run."""

from __future__ import annotations

from taskrunner import App

app = App()


@app.task
def empty() -> None:
    """Nothing: what is measured is everything around it."""


@app.task
def stamp(path: str) -> float:
    """When it started, by the clock that all processes of a host share."""
    from time import monotonic

    return monotonic()


@app.task
def spin(seconds: float) -> None:
    """Use so much CPU time, as a job of pure Python does, which seldom asks the kernel for anything."""
    from time import thread_time

    end = thread_time() + seconds
    while thread_time() < end:
        for _ in range(500):
            pass


@app.task
def keep_busy(seconds: float) -> None:
    """Compute for so long by the clock, whoever else has the CPU meanwhile."""
    from time import perf_counter

    end = perf_counter() + seconds
    while perf_counter() < end:
        for _ in range(500):
            pass


@app.task
def nap(seconds: float) -> None:
    """Wait, as for somebody else's answer."""
    from time import sleep

    sleep(seconds)


@app.task
async def anap(seconds: float) -> None:
    """The same from asyncio."""
    import asyncio

    await asyncio.sleep(seconds)


@app.task
def carry(data: bytes) -> None:
    """Take something heavy, and drop it."""


@app.task
def linger(path: str) -> None:
    """Write down when it starts; stay for a while the first time, so that it can be stopped."""
    from time import monotonic, sleep

    with open(path, "a+") as stamps:
        stamps.write(f"{monotonic()}\n")
        stamps.flush()
        stamps.seek(0)
        first = len(stamps.readlines()) == 1
    if first:
        sleep(600)


@app.task
def begin(path: str, due: float) -> None:
    """Write down how late it starts, in seconds."""
    from time import time

    late = time() - due
    with open(path, "a", buffering=1) as stamps:
        stamps.write(f"{late}\n")
