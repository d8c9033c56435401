"""The pool's own book-keeping, on real pipes with nobody behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from taskrunner.supervisor import pool as pool_module
from taskrunner.supervisor.generation import Exit
from tests.faults.one_pool import DEAD_PID, OnePool


def play(story: Callable[[OnePool], Awaitable[None]]) -> None:
    async def live() -> None:
        it = OnePool()
        try:
            await story(it)
            assert it.unhandled == []
        finally:
            it.close()

    asyncio.run(live())


def test_a_child_whose_end_is_reported_while_it_is_buried_is_buried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(it: OnePool) -> None:
        await it.ready()
        it.give()
        (child,) = it.pool.children
        it.pool.stop()
        alive = iter([True, False])

        def is_alive(pid: int) -> bool:
            # The fork server's word comes while this waits.
            asyncio.get_running_loop().call_soon(it.pool.child_exited, Exit(1, DEAD_PID, -9))
            return next(alive)

        monkeypatch.setattr(pool_module, "is_alive", is_alive)
        await it.pool.bury_all([child])
        assert it.pool.children == []
        assert it.settled == []
        assert it.dispatcher.count == 1, "what it had not begun waits for another"

    play(story)
