"""An application that hangs at the place that GATE names: while it is imported, or in a child's start."""

from __future__ import annotations

import os
import sys
import threading

from taskrunner import App, Middleware


def hang(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
    threading.Event().wait()


class Gate(Middleware):
    def child_start(self) -> None:
        if os.environ.get("GATE") == "start":
            hang("hangs")


# The supervisor imports it too, for its broker: only the fork server, a leader of its session, is held.
if os.environ.get("GATE") == "import" and os.getsid(0) == os.getpid():
    hang("imports")

app = App(middleware=[Gate()])


@app.task
def never() -> None:
    """Nobody gets as far as this."""
