"""The one start/stop contract of everything that runs beside the main thread."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """Something with a life of its own.

    `stop` before `start` is allowed, and so is `stop` twice. `run_once` is one pass of the
    service's loop, without waiting: unit tests call it, never the loop.
    """

    def start(self) -> None: ...

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        ...
