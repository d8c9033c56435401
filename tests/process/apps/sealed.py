"""The application of the tests for encryption: everything that a task can leave in the store."""

from __future__ import annotations

import logging
import os
import time

from taskrunner import App, current_job

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))


@app.task(retries=0)
def echo(text: str) -> str:
    return text + current_job().headers.get("tenant", "")


@app.task(retries=0)
def fail(text: str) -> None:
    raise ValueError(text)


@app.task
def die(text: str) -> None:
    """The last lines of its log are kept with the job."""
    logging.getLogger("shop").error("about to die: %s", text)
    os.abort()


@app.task
def wait_for(path: str, text: str = "") -> str:
    current_job().progress(1, 2, text)
    while not os.path.exists(path):
        time.sleep(0.01)
    return path
