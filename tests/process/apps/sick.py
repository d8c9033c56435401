"""An application whose supervisor is sick: SICK says which of its parts raises, and how often."""

from __future__ import annotations

import os
import time
from typing import Any

from taskrunner import App, service
from taskrunner.supervisor.settle import SettleService
from taskrunner.supervisor.supervisor import Supervisor

app = App(namespace=os.environ.get("TASKRUNNER_TEST_NAMESPACE", "sick"))

_PARTS: dict[str, tuple[Any, str]] = {
    "settle": (SettleService, "_settle"),
    "main": (Supervisor, "_look_once"),
}


def _infect(owner: Any, method: str, times: int) -> None:
    healthy: Any = getattr(owner, method)
    left = [times]

    def sick(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise ZeroDivisionError("this part is sick")
        return healthy(*args)

    setattr(owner, method, sick)
    service.MOST_PAUSE_S = 0.05


if found := os.environ.get("SICK"):
    part, _, times = found.partition(":")
    owner, method = _PARTS[part]
    _infect(owner, method, int(times))


@app.task(timeout=0.2, retries=0)
def sleepy() -> None:
    while True:
        time.sleep(0.01)


@app.task
def add(a: int, b: int) -> int:
    return a + b
