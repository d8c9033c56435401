"""How many empty jobs a second do the brokers without a server run?

    python -m benchmarks.brokers [--json] [--runs N] [--quick]

By `app.running(processes=2)`, submitted in bulk from the same process while they are run: the memory
broker's jobs live in it.
"""

from __future__ import annotations

import os
from time import perf_counter

from benchmarks.harness.answer import Answer, Chart, Spread, Table
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import CHUNK, chunks
from benchmarks.harness.stage import PATIENCE_S
from benchmarks.tasks import app, empty

JOBS = 50_000


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    os.environ["TASKRUNNER_BROKER"] = "memory://"
    with app.running(processes=2):
        empty.enqueue().result(timeout=PATIENCE_S)
        rates = [rate(count) for _ in range(how.runs)]
    table = Table(
        "brokers without a server",
        ("broker", "submitted and run, jobs/s"),
        note=f"{count:,} jobs, 2 processes, {how.runs} runs.",
        chart=Chart("broker", "submitted and run, jobs/s"),
    )
    table.add("memory", Spread.of(rates))
    return Answer([table])


def rate(count: int) -> float:
    """From the first submit to the last result."""
    began = perf_counter()
    made = (empty.message() for _ in range(count))
    jobs = [job for chunk in chunks(made, CHUNK) for job in app.enqueue_many(chunk)]
    for job in reversed(jobs):
        job.result(timeout=PATIENCE_S)
    return count / (perf_counter() - began)


if __name__ == "__main__":
    main(ask)
