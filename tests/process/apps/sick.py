"""An application whose supervisor is sick: SICK says which of its parts, and how.

SICK=settle:3        the next three settles raise; `main` instead of `settle`: looks of the loop
SICK=fetch:blocked   the fetch thread stands still while the file SICK_GATE is there;
                     `main`: the loop, `import`: the import of this module
SICK=settle:ended    the settle thread ends when that file is there
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from taskrunner import App, service
from taskrunner.service import ServiceThread
from taskrunner.supervisor.fetch import FetchService
from taskrunner.supervisor.settle import SettleService
from taskrunner.supervisor.supervisor import Supervisor

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "sick"))

PARTS: dict[str, tuple[Any, str]] = {
    "settle": (SettleService, "_settle"),
    "main": (Supervisor, "_look_once"),
    "fetch": (FetchService, "_answer"),
}


def infect(part: str, ill: Callable[[], None]) -> None:
    owner, method = PARTS[part]
    healthy: Any = getattr(owner, method)

    def sick(*args: Any) -> Any:
        ill()
        return healthy(*args)

    setattr(owner, method, sick)


def raises(times: int) -> Callable[[], None]:
    left = [times]

    def ill() -> None:
        if left[0]:
            left[0] -= 1
            raise ZeroDivisionError("this part is sick")

    return ill


def is_gate_shut() -> bool:
    return os.path.exists(os.environ["SICK_GATE"])


def block() -> None:
    while is_gate_shut():
        threading.Event().wait(0.01)


def end_thread(name: str) -> None:
    run: Any = ServiceThread._run

    def mortal(thread: ServiceThread) -> None:
        while thread.name == name and not is_gate_shut():
            thread._run_once()
        if thread.name != name:
            run(thread)

    thread: Any = ServiceThread
    thread._run = mortal


match os.environ.get("SICK", "").split(":"):
    case ["import", "blocked"]:
        if os.environ.setdefault("SICK_SUPERVISOR", str(os.getpid())) != str(os.getpid()):
            block()
    case [part, "blocked"]:
        infect(part, block)
    case [part, "ended"]:
        end_thread(part)
    case [part, times]:
        infect(part, raises(int(times)))
        service.MOST_PAUSE_S = 0.05


@app.task(timeout=0.2, retries=0)
def sleepy() -> None:
    while True:
        time.sleep(0.01)


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
def hold(gate: str) -> str:
    while os.path.exists(gate):
        time.sleep(0.01)
    return "held"
