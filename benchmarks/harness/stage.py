"""Where benchmarks happen: a private Redis, and nodes as users run them.

    with Stage() as stage:
        with stage.node("--processes", "2") as node: ...

The Redis keeps nothing on disk and is reached over loopback by those that are measured, and by its
unix socket by those that only look.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final, Self

from redis import Redis

from taskrunner import App
from taskrunner.brokers.redis.keys import Keys
from taskrunner.testing.processes import children_of, fork_server_of
from taskrunner.testing.redis_server import RedisServer

ROOT: Final = Path(__file__).parents[2]
TARGET: Final = "benchmarks.tasks:app"
NAMESPACE: Final = "taskrunner"
PATIENCE_S: Final = 180.0
LOOK_S: Final = 0.004
"""Between two looks at how much is done: a two-hundredth of the shortest run."""


class Node(subprocess.Popen[bytes]):
    """`python -m taskrunner run`, in a process of its own."""

    def roles(self) -> dict[str, list[int]]:
        """Pids by what they do."""
        children = children_of(self.pid)
        server = fork_server_of(self.pid)
        return {"supervisor": [self.pid], "fork server": [server], "children": children}


class Stage:
    """One Redis, with what uses it: nodes, and an App that names no broker in code and was not used
    before. `os.environ` tells both where it is."""

    def __init__(self, app: App) -> None:
        self.server = RedisServer()
        self._app = app
        self.looks = 0
        """round trips that this object has made to see how much is done"""
        self.looked = 0
        """commands in them"""

    def __enter__(self) -> Self:
        self.server.__enter__()
        self.redis: Redis = self.server.client()
        self._keys = Keys(NAMESPACE)
        self.use(self.server.url)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.redis.close()
        self._app.close()
        self.server.__exit__(kind, error, tb)

    def use(self, url: str) -> None:
        """From now on this is where new Apps and nodes look for their jobs."""
        os.environ["TASKRUNNER_BROKER"] = url
        os.environ["TASKRUNNER_NAMESPACE"] = NAMESPACE

    def clear(self) -> None:
        """Remove everything; only while nobody works. The scripts stay. An App goes on believing
        that the store knows the queues it had: use other ones than `default` only once."""
        self.redis.flushall()

    @contextmanager
    def node(self, *options: str, target: str = TARGET) -> Iterator[Node]:
        """A node with these options of `run`, default settings otherwise, until the block ends."""
        command = [sys.executable, "-m", "taskrunner", "run", target, "--log-level", "warning"]
        node = Node([*command, *options], cwd=ROOT)
        try:
            yield node
        finally:
            node.terminate()
            node.wait()

    @contextmanager
    def ready_node(self, *options: str) -> Iterator[Node]:
        """The same; it has run a job when the block begins."""
        with self.node(*options) as node:
            self._app.enqueue("benchmarks.tasks.empty").result(timeout=PATIENCE_S)
            yield node

    # -- how much is done

    def processed(self, queues: Sequence[str] = ("default",)) -> int:
        """Jobs that have ended, by the store's own counters, which a settle moves."""
        pipeline = self.redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.hget(self._keys.of_queue(queue, "stats"), "processed")
        self.looks += 1
        self.looked += len(queues)
        return sum(int(found or 0) for found in pipeline.execute())

    def memory(self) -> int:
        """Bytes that Redis uses."""
        return int(self.redis.info("memory")["used_memory"])


def until(
    condition: Callable[[], bool], *, timeout: float = PATIENCE_S, pause: float = LOOK_S
) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = monotonic() + timeout
    while not condition():
        if monotonic() > end:
            raise TimeoutError("the benchmark's condition did not come true")
        sleep(pause)
