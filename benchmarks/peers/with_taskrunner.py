"""taskrunner itself, submitted in the same way as the others; with its default settings."""

from __future__ import annotations

import os

from clocked import main

from taskrunner import App

app = App(os.environ["PEER_REDIS"])


@app.task(name="empty")
def empty() -> None:
    """Nothing."""


def one(count: int) -> None:
    for _ in range(count):
        empty.enqueue()


def many(count: int) -> None:
    app.enqueue_many([empty.message() for _ in range(count)])


if __name__ == "__main__":
    main(one, many)
