"""What does encryption cost? Jobs a second with keys, beside the same without.

    python -m benchmarks.encryption [--json] [--runs N] [--quick]

Plain and encrypted runs take turns, so that what the machine does besides hits both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.harness.answer import Answer, Spread, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import drain, submit
from benchmarks.harness.stage import Stage
from benchmarks.tasks import app, empty
from taskrunner.config import Config
from taskrunner.crypto import Key

JOBS = 50_000
PROCESSES = 2
AT_LEAST = 0.7
VARIABLES = {
    "plain": None,
    "signed": "TASKRUNNER_SIGNING_KEYS",
    "encrypted": "TASKRUNNER_ENCRYPTION_KEYS",
}


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    submitted: dict[str, list[float]] = {kind: [] for kind in VARIABLES}
    run: dict[str, list[float]] = {kind: [] for kind in VARIABLES}
    with Stage(app) as stage:
        for _ in range(how.runs):
            for kind, variable in VARIABLES.items():
                with key(variable):
                    began = perf_counter()
                    submit(app, empty.message, count)
                    submitted[kind].append(count / (perf_counter() - began))
                    run[kind].append(drain(stage, count, "--processes", str(PROCESSES)).rate)
                stage.clear()
    rates = Table(
        "empty jobs a second, with and without keys",
        ("jobs", "submitted/s", "of plain", "run/s", "of plain"),
        note=f"{count:,} jobs, {PROCESSES} processes, {how.runs} runs in turns.",
    )
    plain = [Spread.of(rates["plain"]).median for rates in (submitted, run)]
    for kind in VARIABLES:
        ins, outs = Spread.of(submitted[kind]), Spread.of(run[kind])
        rates.add(kind, ins, ins.median / plain[0], outs, outs.median / plain[1])
    ratio = Spread.of(run["encrypted"]).median / plain[1]
    return Answer([rates], [Target.at_least("encrypted jobs, of plain ones", AT_LEAST, ratio)])


@contextmanager
def key(variable: str | None) -> Iterator[None]:
    """This process and the nodes that it starts have a new key."""
    if variable is not None:
        os.environ[variable] = Key.new().text
    app.adopt(Config.load(code=app.settings))
    try:
        yield
    finally:
        os.environ.pop(variable or "", None)


if __name__ == "__main__":
    main(ask)
