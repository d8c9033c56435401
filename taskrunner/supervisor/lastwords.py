"""A child's last words: before it is killed it is asked for the stacks of its threads.

It writes them into the memory it shares with us (`worker.evidence`), which takes some milliseconds.
The loop looks there now and then, and kills when nothing more comes, or when the time is up. Main
thread only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from taskrunner.supervisor.child import Child

LOOK_S = 0.01
PATIENCE_S = 0.5
"""One that has written nothing by then does not get to run at all."""


class LastWords:
    """`is_there` answers whether a child has not been buried: its number may be another's since."""

    def __init__(self, is_there: Callable[[Child], bool]) -> None:
        self._is_there = is_there

    def kill(self, child: Child) -> None:
        """Ask for the stacks, then kill."""
        loop = asyncio.get_running_loop()
        if child.generation.dump(child.number):
            loop.call_later(LOOK_S, self._look, child, 0, loop.time() + PATIENCE_S)
        else:
            child.generation.kill(child.number)

    def _look(self, child: Child, size: int, until: float) -> None:
        if not self._is_there(child):
            return
        loop = asyncio.get_running_loop()
        size_now = len(child.evidence.stacks())
        if loop.time() >= until or size_now == size > 0:
            child.generation.kill(child.number)
        else:
            loop.call_later(LOOK_S, self._look, child, size_now, until)
