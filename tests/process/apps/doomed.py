"""An application whose children cannot start."""

from __future__ import annotations

import os
from typing import NoReturn

from taskrunner import App, Middleware


class Doom(Middleware):
    def child_start(self) -> NoReturn:
        os._exit(7)


app = App(middleware=[Doom()])


@app.task
def never() -> None:
    """No child lives long enough to run this."""
