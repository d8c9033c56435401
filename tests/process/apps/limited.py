"""Tasks that limits hold, and that see for themselves whether they do."""

from __future__ import annotations

import fcntl
import time
from contextlib import ExitStack
from pathlib import Path

from taskrunner import App

RATE = "100/s"
PLACES = 3

app = App()


@app.task(name="quick", rate_limit=RATE)
def quick() -> None: ...


@app.task(name="placed", max_running=PLACES, retries=0)
def placed(folder: str, number: int, seconds: float) -> None:
    """Take one of as many locks as may run at once. The system frees them when a process dies."""
    with ExitStack() as stack:
        for place in range(PLACES):
            lock = stack.enter_context((Path(folder) / f"place-{place}").open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            time.sleep(seconds)
            _write(folder, "done", number)
            return
        _write(folder, "too-many", number)


@app.task(name="in_order", max_running=1, running_key="{key}")
def in_order(folder: str, key: str, number: int) -> None:
    time.sleep(0.01)
    _write(folder, f"order-{key}", number)


@app.task(name="free")
def free() -> None: ...


def _write(folder: str, name: str, number: int) -> None:
    with (Path(folder) / name).open("a") as out:
        out.write(f"{number}\n")
