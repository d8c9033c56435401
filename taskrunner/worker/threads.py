"""The threads of a child that run `def` tasks beside its event loop.

Daemon threads, unlike those of `concurrent.futures`: a program whose embedded worker runs a task
that never ends can still exit. Each is started when all others are busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias

Work: TypeAlias = Callable[[], tuple[bool, Any]]
"""Something that answers (True, value) or (False, exception) and raises nothing."""


class Threads:
    """At most `most` threads. All methods are called on the loop's thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._busy = 0
        self._work: SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = SimpleQueue()

    async def run(self, work: Work) -> Any:
        """Do it in a thread. Answers the value, or raises the exception."""
        future = asyncio.get_running_loop().create_future()
        self._busy += 1
        if self._busy > self._count < self._most:
            self._count += 1
            threading.Thread(
                target=self._serve, name=f"taskrunner task {self._count}", daemon=True
            ).start()
        self._work.put((work, future))
        try:
            done, value = await future
        finally:
            self._busy -= 1
        if done:
            return value
        raise value

    def stop(self) -> None:
        """Let the threads end when they have nothing more to do."""
        for _ in range(self._count):
            self._work.put(None)
        self._count = 0

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            work, future = item
            ended = work()
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                future.get_loop().call_soon_threadsafe(_resolve, future, ended)
            del item, work, future, ended


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
