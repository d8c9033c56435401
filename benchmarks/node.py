"""What every benchmark needs: a private Redis and a node of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from taskrunner.testing.redis_server import RedisServer

ROOT = Path(__file__).parents[1]


@contextmanager
def redis() -> Iterator[str]:
    """A redis-server on a free port, without persistence; its URL, over loopback."""
    with RedisServer() as server:
        os.environ["TASKRUNNER_BROKER"] = server.url
        yield server.url


@contextmanager
def node(target: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m taskrunner run`, as a user runs it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "taskrunner", "run", target, "--log-level", "warning", *options],
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def until(condition: Callable[[], bool], timeout: float = 120.0) -> None:
    """Wait for a condition."""
    end = monotonic() + timeout
    while not condition():
        if monotonic() > end:
            raise TimeoutError("the benchmark's condition did not come true")
        sleep(0.01)
