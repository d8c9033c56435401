"""The application of the soak: jobs of every kind, each of which writes down that it ran."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from taskrunner import App, Backoff, DuplicateJob, Unique, current_job
from tests.soak.journal import write

PATH = os.environ.get("SOAK_JOURNAL", "")
SLOT = os.environ.get("SOAK_SLOT", "")
CHILD = ".child"
RETRIED_MOST = 3

app = App()


@contextmanager
def written_down() -> Iterator[None]:
    me = current_job()
    write(PATH, "start", me.id, me.token, SLOT, os.getpid())
    try:
        yield
    except Exception:
        write(PATH, "raise", me.id, me.token)
        raise
    write(PATH, "end", me.id, me.token)


@app.task(name="instant")
def instant(n: int) -> int:
    with written_down():
        return n + 1


@app.task(name="short")
def short(n: int) -> int:
    with written_down():
        time.sleep(0.005)
        return n + 1


@app.task(name="async")
async def gentle(n: int) -> int:
    with written_down():
        await asyncio.sleep(0.003)
        return n + 1


@app.task(name="slow")
def slow(n: int) -> int:
    with written_down():
        current_job().progress(n, n)
        time.sleep(0.5 + (n % 10) / 10)
        return n + 1


@app.task(name="narrow", max_running=2)
def narrow(n: int) -> int:
    """Two at a time: a place that is left behind by a crash would strand all the others."""
    with written_down():
        time.sleep(0.005)
        return n + 1


@app.task(name="rated", rate_limit="50/s")
def rated(n: int) -> int:
    with written_down():
        return n + 1


@app.task(name="single", unique=Unique(key=lambda n: n % 7, on_conflict="existing"))
def single(n: int) -> int:
    """One of seven at a time: a key that is left behind would refuse all that come later."""
    with written_down():
        return n + 1


@app.task(name="big")
def big(n: int, data: bytes) -> bytes:
    with written_down():
        return bytes(reversed(data))


@app.task(name="retried", retries=20, backoff=Backoff(initial=0.05, maximum=0.3))
def retried(n: int) -> int:
    """Fails in its first runs, one to three of them."""
    with written_down():
        if current_job().attempt <= 1 + n % RETRIED_MOST:
            raise ValueError("not yet")
        return n + 1


@app.task(name="failing", retries=1, backoff=Backoff(initial=0.05))
def failing(n: int) -> int:
    with written_down():
        raise ValueError(f"never {n}")


@app.task(name="endless")
def endless(n: int) -> int:
    """Runs until it is cancelled, or for a few seconds."""
    with written_down():
        time.sleep(4)
        return n + 1


@app.task(name="nested", retries=100, backoff=Backoff(initial=0.2, maximum=2.0))
def nested(n: int) -> int:
    """Waits for a job of its own, the same one however often it runs, which goes before all others.
    It may be told that it would wait for ever (too many of its kind at once), or that the store is
    away."""
    with written_down():
        me = current_job()
        child = f"{me.id}{CHILD}"
        try:
            job = instant.options(job_id=child, queue=me.queue, priority=9).enqueue(n)
        except DuplicateJob:
            job = app.job(child, queue=me.queue)
        write(PATH, "accepted", child)
        return job.result(timeout=60) + 1


def payload(n: int) -> bytes:
    """Some ten thousand bytes that do not compress to nothing."""
    return zlib.compress(bytes(str(n), "ascii") * 50) * 200
