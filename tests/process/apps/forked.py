"""An application that knows what was imported when its process was forked."""

from __future__ import annotations

import os
import sys

from taskrunner import App

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))
before: set[str] = set()
os.register_at_fork(after_in_child=lambda: before.update(sys.modules))


@app.task(name="late")
def late() -> list[str]:
    """Modules that were imported after that."""
    return sorted(set(sys.modules) - before)
