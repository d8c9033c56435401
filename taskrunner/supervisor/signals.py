"""Signals become entries in a queue that the loop reads; nothing is done in a handler.

HUP has two meanings. Sent by somebody, it asks for new code. It also comes when the terminal is closed
in which the program was started: then the program is to end, as programs do, unless it was started to
outlive that (`nohup`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

HANDLED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
)


class Signals:
    """The signals that have arrived, in order."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._had_terminal = self._outlives_it = False

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        self._had_terminal = _has_terminal()
        self._outlives_it = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in HANDLED:
            loop.add_signal_handler(number, self._arrive, number)

    def _arrive(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP and self._had_terminal and not _has_terminal():
            if self._outlives_it:
                return
            number = signal.SIGTERM
        self._arrived.put_nowait(number)

    def remove(self) -> None:
        loop = asyncio.get_running_loop()
        for number in HANDLED:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)

    async def next(self) -> signal.Signals:
        return await self._arrived.get()


def _has_terminal() -> bool:
    """Somebody's, that can interrupt this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
