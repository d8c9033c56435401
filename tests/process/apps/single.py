"""A task of which there must never be two runs at a time; each run sees to it that this is noticed."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from taskrunner import App, Unique, current_job
from tests.process.apps.basic import write

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))

ONLY = Unique(key="only")


@app.task(name="only", unique=ONLY)
def only(folder: str) -> None:
    """The kernel lets go of the lock when its process dies, and not before."""
    out, gate = f"{folder}/out", Path(folder, "gate")
    with open(f"{folder}/lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            write(out, "two at a time")
        write(out, f"began {current_job().id} {os.getpid()}")
        while gate.exists():
            time.sleep(0.005)
        write(out, f"ended {current_job().id}")
