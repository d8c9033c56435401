"""The application of the tests for encryption: everything that a task can leave in the store."""

from __future__ import annotations

import logging
import os
import subprocess
import time

from taskrunner import App, current_job

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))


FOUND_AT_IMPORT = os.environ.get("TASKRUNNER_BROKER", "")


@app.task(retries=0)
def look_around() -> dict[str, object]:
    """What a task, and a program that it starts, can see of secrets."""
    inherited = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    return {
        "environ": [f"{name}={value}" for name, value in os.environ.items()],
        "inherited": inherited,
        "imported": app.config.broker == FOUND_AT_IMPORT,
        "other app": App().config.broker == app.config.broker,
    }


@app.task(retries=0, redact=("url",))
def knock(url: str) -> None:
    """At a broker that is not there: what the error says of it is kept."""
    App(url).broker.ping()


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
