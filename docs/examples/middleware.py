"""A middleware: a request id that travels with each job, and the time that each run took.

python docs/examples/middleware.py
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from taskrunner import App, JobContext, Message, Middleware, current_job


class RequestIds(Middleware):
    """Every job carries the id of the request that submitted it."""

    current = "none"

    def on_enqueue(self, message: Message) -> Message:
        headers = {**message.header.headers, "request-id": self.current}
        return replace(message, header=replace(message.header, headers=headers))


class Timing(Middleware):
    """Prints how long each run took, from its worker process."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    def on_start(self, context: JobContext) -> None:
        self._started[context.token] = time.perf_counter()

    def on_finish(self, context: JobContext, result: Any) -> None:
        self._report(context, "returned")

    def on_failure(self, context: JobContext, error: BaseException) -> None:
        self._report(context, f"raised {type(error).__name__}")

    def _report(self, context: JobContext, what: str) -> None:
        seconds = time.perf_counter() - self._started.pop(context.token)
        print(f"{context.task} {what} after {seconds * 1000:.1f} ms", flush=True)


request_ids = RequestIds()
app = App("memory://", middleware=[request_ids, Timing()])


@app.task(name="greet")
def greet(name: str) -> str:
    return f"hello {name}, from request {current_job().headers['request-id']}"


def main() -> None:
    with app.running(processes=1):
        request_ids.current = "r-17"
        print(greet.enqueue("Ada").result(timeout=10))


if __name__ == "__main__":
    main()
