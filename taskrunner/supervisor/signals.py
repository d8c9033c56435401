"""Signals become entries in a queue that the loop reads; nothing is done in a handler."""

from __future__ import annotations

import asyncio
import contextlib
import signal

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Signals:
    """The signals that have arrived, in order."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[signal.Signals] = asyncio.Queue()

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in HANDLED:
            loop.add_signal_handler(number, self._arrived.put_nowait, number)

    def remove(self) -> None:
        loop = asyncio.get_running_loop()
        for number in HANDLED:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)

    async def next(self) -> signal.Signals:
        return await self._arrived.get()
