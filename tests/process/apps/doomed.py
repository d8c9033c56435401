"""An application whose children cannot start, for the reason that DOOM names."""

from __future__ import annotations

import ctypes
import os

from taskrunner import App, Middleware


class Doom(Middleware):
    def child_start(self) -> None:
        match os.environ.get("DOOM"):
            case "raises":
                raise RuntimeError("no database today")
            case "falls":
                ctypes.string_at(1)
            case _:
                os._exit(7)


app = App(middleware=[Doom()])


@app.task
def never() -> None:
    """No child lives long enough to run this."""
