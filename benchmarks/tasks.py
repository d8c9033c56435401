"""The tasks that the benchmarks run."""

from __future__ import annotations

from taskrunner import App

app = App()


@app.task
def empty() -> None:
    """Nothing: what is measured is everything around it."""


@app.task
def stamp(path: str) -> float:
    """When it started, by the clock that all processes of a host share."""
    from time import monotonic

    return monotonic()
