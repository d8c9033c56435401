"""The application of the campaign: what runs while somebody is killed.

Declared for any App, so that a node inside the test can take over from one that was killed.
"""

from __future__ import annotations

import os
import time

from taskrunner import App, DuplicateJob, current_job
from tests.process.apps.basic import write


def declare(app: App) -> App:
    """Give an application the tasks of the campaign."""

    @app.task(name="append")
    def append(path: str, text: str) -> str:
        write(path, text)
        return text

    @app.task(name="linger")
    def linger(path: str, text: str) -> str:
        """Long enough for the store to be told that it runs."""
        current_job().progress(1, 2)
        time.sleep(0.05)
        write(path, text)
        return text

    @app.task(name="parent")
    def parent(path: str, text: str) -> str:
        """Waits for another job; run again, for the same one."""
        child = f"{current_job().id}-child"
        try:
            job = append.options(job_id=child).enqueue(path, f"below {text}")
        except DuplicateJob:
            job = app.job(child, queue="default")
        job.result(timeout=30)
        write(path, text)
        return text

    @app.task(name="hold")
    def hold(path: str, text: str, gate: str) -> str:
        """Say that it runs, and wait until the file `gate` is gone."""
        write(path, f"started {text}")
        while os.path.exists(gate):
            time.sleep(0.005)
        write(path, text)
        return text

    return app


app = declare(App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner")))
