"""What does a job cost in counts: commands, round trips, bytes, calls of functions?

    python -m benchmarks.counts [--json] [--runs N] [--quick]

The same on every machine, give or take how jobs happen to be batched; `bounds.py` holds the most that
each may be, and the suite fails where one is more. Times are not looked at. Runs are one.

    submit    one by one, and in bulk
    carry     with an argument of 100 and of 1,000 bytes
    store     the broker alone: a fetch and a settle of a full batch
    run       a node of one child, embedded in this process
"""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.bounds import BOUNDS
from benchmarks.harness.answer import Answer, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.counted import Calls, app, calls_so_far, carry, empty
from benchmarks.harness.floor import LEASE_MS, NIL
from benchmarks.harness.meters import Meter, Reading
from benchmarks.harness.stage import PATIENCE_S, Stage
from taskrunner.brokers.base import Broker, NodeInfo, Outcome, OutcomeKind, Take
from taskrunner.crashpoints import BROKER_CALLS

FEW = 200
MANY = 5_000
BATCH = 250
SIZES = 100, 1_000
QUEUE = "default"
HOT_THREADS = frozenset({"taskrunner fetch", "taskrunner settle"})
NODE = "counts"

Counts = dict[str, float]


def ask(_: How) -> Answer:
    few, many = FEW, MANY  # quick as it is: fewer would be done before anybody looks
    counts: Counts = {}
    with Stage(app) as stage:
        for _turn in range(2):  # the first makes the queue known, the second the usual script
            empty.enqueue()
        counts |= submitting(
            stage, "one by one", few, lambda: [empty.enqueue() for _ in range(few)]
        )
        counts |= submitting(
            stage, "in bulk", many, lambda: app.enqueue_many([empty.message() for _ in range(many)])
        )
        for size in SIZES:
            counts |= carrying(stage, size, many)
        counts |= footprint(stage, many)
        counts |= store(stage)
        stage.clear()
        counts |= running(stage, many)
        app.close()
    return _answer(counts)


def _answer(counts: Counts) -> Answer:
    table = Table(
        "what a job costs, counted",
        ("what", "now", "usual", "at most"),
        note="per job unless it says otherwise; `benchmarks/bounds.py` has the bounds.",
    )
    targets = []
    for what, count in counts.items():
        bound = BOUNDS.get(what)
        table.add(what, count, bound and bound.usual, bound and bound.most)
        if bound is not None and count > bound.most:
            targets.append(Target.at_most(what, bound.most, count))
    return Answer([table], targets)


@contextmanager
def metered(stage: Stage, jobs: int, what: str, counts: Counts) -> Iterator[None]:
    """Put what happens in the block into `counts`, per job."""
    meter = Meter(stage, {})
    before = meter.read()
    yield
    counts |= _per_job(meter.used(before), jobs, what)


def _per_job(used: Reading, jobs: int, what: str) -> Counts:
    found = {
        "round trips": used.round_trips,
        "commands on the wire": used.wire,
        "commands inside scripts": used.inside,
        "bytes to Redis": used.bytes_in,
        "bytes from Redis": used.bytes_out,
    }
    return {f"{what}: {name}": count / jobs for name, count in found.items()}


def submitting(stage: Stage, how: str, jobs: int, submit: Callable[[], object]) -> Counts:
    counts: Counts = {}
    with metered(stage, jobs, f"submit {how}", counts):
        submit()
    with Calls() as calls:
        submit()
    counts[f"submit {how}: calls of functions"] = calls.of_this() / jobs
    return counts


def footprint(stage: Stage, jobs: int) -> Counts:
    """Memory of Redis for a waiting job without arguments."""
    gc.collect()
    stage.clear()
    empty.enqueue()
    before = stage.memory()
    app.enqueue_many([empty.message() for _ in range(jobs)])
    return {"bytes of a waiting job in Redis": (stage.memory() - before) / jobs}


def carrying(stage: Stage, size: int, jobs: int) -> Counts:
    """What jobs cost Redis whose argument is so many random bytes; memory beside these."""
    broker = app.broker
    assert isinstance(broker, Broker)

    def submit() -> None:
        app.enqueue_many([carry.message(os.urandom(size)) for _ in range(jobs)])

    submit()  # connections and scripts take memory only once
    gc.collect()
    stage.clear()
    broker.join(NodeInfo(id=NODE, lease=LEASE_MS / 1000), (QUEUE,))
    broker.fetch(NODE, (Take(QUEUE, 1),), 1)
    counts: Counts = {}
    before = stage.memory()
    with metered(stage, jobs, "submit", counts):
        submit()
    held = (stage.memory() - before) / jobs - size
    with metered(stage, BATCH, "fetch", counts):
        broker.fetch(NODE, (Take(QUEUE, BATCH),), 2)
    return {
        f"bytes of a waiting job in Redis beside {size:,} bytes": held,
        **{
            f"{what} with {size:,} bytes: commands inside scripts": counts[
                f"{what}: commands inside scripts"
            ]
            for what in ("submit", "fetch")
        },
    }


def store(stage: Stage) -> Counts:
    """One fetch and one settle of as many jobs as go into one command."""
    counts: Counts = {}
    broker = app.broker
    assert isinstance(broker, Broker)
    broker.join(NodeInfo(id=NODE, lease=LEASE_MS / 1000), (QUEUE,))
    first = 1
    for measured in (False, True):  # the first time the scripts are loaded
        found: Counts = {}
        with metered(stage, BATCH, f"fetch {BATCH}", found):
            deliveries = broker.fetch(NODE, (Take(QUEUE, BATCH),), first).deliveries
        outcomes = [
            Outcome(QUEUE, one.id, one.number, OutcomeKind.SUCCEEDED, result=NIL)
            for one in deliveries
        ]
        with metered(stage, BATCH, f"settle {BATCH}", found):
            broker.settle(NODE, outcomes)
        first += BATCH
        if measured:
            counts |= found
    return counts


class Asked:
    """Counts what the threads of a node that fetch and settle ask of their broker."""

    def __init__(self, broker: Broker) -> None:
        self.calls: Counter[str] = Counter()
        self._broker = broker
        for name in BROKER_CALLS:
            setattr(broker, name, self._counted(name, getattr(broker, name)))

    def close(self) -> None:
        for name in BROKER_CALLS:
            delattr(self._broker, name)

    @property
    def batches(self) -> int:
        return self.calls["fetch"] + self.calls["settle"]

    @property
    def others(self) -> int:
        return self.calls.total() - self.batches

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread().name in HOT_THREADS:
                self.calls[name] += 1
            return call(*arguments, **named)

        return counted


def running(stage: Stage, jobs: int) -> Counts:
    """A whole node: what it costs Redis, its own threads, and its child. The jobs wait before it
    starts, so that its batches are full; a job before and one behind them bring the child's count."""
    counts: Counts = {}
    first = calls_so_far.enqueue()
    app.enqueue_many([empty.message() for _ in range(jobs)])
    last = calls_so_far.enqueue()
    meter = Meter(stage, {})
    assert isinstance(app.broker, Broker)
    asked = Asked(app.broker)
    with Calls() as calls, app.running(processes=1):
        in_child = -first.result(timeout=PATIENCE_S)
        done, before, mine = stage.processed(), meter.read(), calls.of_others()
        asked.calls.clear()
        in_child += last.result(timeout=PATIENCE_S)
        mine, used = calls.of_others() - mine, meter.used(before)
        done = stage.processed() - done
        beside = asked.others / max(1, asked.batches)
    asked.close()
    counts |= _per_job(used, done, "run")
    counts["run: other calls of the store for each fetch and settle"] = beside
    counts["run: calls of functions in the supervisor"] = mine / done
    counts["run: calls of functions in the child"] = in_child / jobs
    return counts


if __name__ == "__main__":
    main(ask, runs=1)
