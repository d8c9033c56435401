"""Waiting on the supervisor's loop: for a condition, for a stop, for the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until(
    condition: Callable[[], bool], changed: asyncio.Event, timeout: float | None = None
) -> bool:
    """Wait for a condition, tested when `changed` is set; False after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                changed.clear()
                await changed.wait()
    except TimeoutError:
        return False
    return True


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work, unless `stop` is set first; whether it was done. Raises what it raised."""
    doing = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if doing.done():
        doing.result()
        return True
    doing.cancel()
    await asyncio.wait({doing})
    return False


async def apart(work: Callable[[], T]) -> T:
    """Do something that may block in a thread of its own, for which nobody waits at the end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(set_it: Callable[[Any], None], value: Any) -> None:
        def finish() -> None:
            if not done.done():
                set_it(value)

        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(finish)

    def run() -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            tell(done.set_exception, error)
        else:
            tell(done.set_result, value)

    threading.Thread(target=run, name="taskrunner apart", daemon=True).start()
    return await done


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
