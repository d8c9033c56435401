"""Tasks that do harm to the process they run in, and their peaceful neighbours."""

from __future__ import annotations

import os
import time

from taskrunner import App
from tests.process.apps.basic import write

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "taskrunner"))


@app.task(name="linger")
def linger(path: str, text: str, gate: str) -> str:
    """Says that it runs, waits for the gate, says that it ended."""
    write(path, f"started {text}")
    while os.path.exists(gate):
        time.sleep(0.005)
    write(path, f"ended {text}")
    return text


@app.task(name="kill")
def kill(path: str, text: str, gate: str) -> None:
    """The same, but it ends its process."""
    write(path, f"started {text}")
    while os.path.exists(gate):
        time.sleep(0.005)
    os.kill(os.getpid(), 9)


@app.task(name="ask")
def ask(path: str, gate: str) -> object:
    """Waits for the gate, then for a sub-job."""
    write(path, "started ask")
    while os.path.exists(gate):
        time.sleep(0.005)
    return linger.enqueue(path, "sub", "").result(timeout=40)


def client(url: str, namespace: str) -> App:
    """An App of another process, which knows these tasks by name."""
    other = App(url, namespace=namespace)
    for name, task in app.tasks.items():
        other.task(name=name)(task.fn)
    return other
