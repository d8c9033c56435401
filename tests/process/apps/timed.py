"""An application with schedules: which, its environment says, as if its code changed with a deploy."""

from __future__ import annotations

import json
import os

from taskrunner import App, current_job
from tests.process.apps.basic import write

app = App()


@app.task(name="record")
def record(path: str) -> None:
    """Write down of which slot this job is, and its id."""
    me = current_job()
    slot = me.headers.get("taskrunner.slot", "by hand")
    write(path, f"{me.headers['taskrunner.schedule']} {slot} {me.id}")


@app.task(name="reschedule")
def reschedule(path: str) -> None:
    """A schedule that is made inside a task."""
    app.schedules.add("made-inside", record, (path,), every=0.2)


for _name, _said in json.loads(os.environ.get("TIMED_SCHEDULES", "{}")).items():
    app.schedules.add(_name, record, **_said)
