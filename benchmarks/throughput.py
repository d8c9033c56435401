"""How many empty jobs a second does one node run, and what does a job cost?

    python -m benchmarks.throughput [--json] [--runs N] [--quick]

State and result are kept, as by default; then the same with retention 0. In turns with the floor: a
bare redis-py loop that fetches and settles the same jobs with the same scripts, a hundred at a time,
over the unix socket, with no worker at all.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.drain import Drained, bare_loop, drain, submit
from benchmarks.harness.floor import Floor
from benchmarks.harness.stage import Stage
from benchmarks.tasks import app, empty
from taskrunner.message import Message

JOBS = 100_000
PROCESSES = 2
ROLES = ("supervisor", "fork server", "children", "Redis", "client")
KINDS: dict[str, Callable[[], Message]] = {
    "state and result kept": empty.message,
    "retention 0": lambda: empty.options(retention=0).message(),
}
WIRE: dict[str, Callable[[Drained], float]] = {
    "round trips": lambda run: run.used.round_trips / run.jobs,
    "commands on the wire": lambda run: run.used.wire / run.jobs,
    "commands inside scripts": lambda run: run.used.inside / run.jobs,
    "bytes to Redis": lambda run: run.used.bytes_in / run.jobs,
    "bytes from Redis": lambda run: run.used.bytes_out / run.jobs,
}
FLOOR = "the floor: a bare loop"


def ask(how: How) -> Answer:
    count = how.size(JOBS)
    drained: dict[str, list[Drained]] = {kind: [] for kind in KINDS}
    floors: list[float] = []
    with Stage(app) as stage:
        for _ in range(how.runs):
            for kind, make in KINDS.items():
                submit(app, make, count)
                drained[kind].append(drain(stage, count, "--processes", str(PROCESSES)))
                stage.clear()
            floors.append(floor(stage, count))
            stage.clear()
    rates = Table(
        "empty jobs a second",
        ("what", "jobs/s", "of the floor"),
        note=f"{count:,} jobs, {PROCESSES} processes, {how.runs} runs in turns.",
        chart=Chart("what", "jobs/s"),
    )
    bare = Spread.of(floors)
    for kind, runs in drained.items():
        rate = Spread.of(run.rate for run in runs)
        rates.add(kind, rate, rate.median / bare.median)
    rates.add(FLOOR, bare, 1.0)
    kept = next(iter(drained.values()))
    return Answer([rates, costs(drained), memory(drained)], targets(kept, bare))


def floor(stage: Stage, count: int) -> float:
    ids = submit(app, empty.message, count)
    loop = Floor(stage.server.unix_url)
    try:
        return bare_loop(loop, ids)
    finally:
        loop.close()


def costs(drained: dict[str, list[Drained]]) -> Table:
    """What a job takes of each process and of the wire."""
    table = Table(
        "what a job costs",
        ("", *drained),
        note="CPU in seconds per 10,000 jobs, the client's is that of looking on; the rest per job.",
    )
    for role in ROLES:
        table.add(f"CPU of {role}", *(_spread(runs, _cpu(role)) for runs in drained.values()))
    for what, count in WIRE.items():
        table.add(what, *(_spread(runs, count) for runs in drained.values()))
    return table


def _spread(runs: list[Drained], of: Callable[[Drained], float]) -> Spread:
    return Spread.of(map(of, runs))


def _cpu(role: str) -> Callable[[Drained], float]:
    return lambda run: run.used.cpu.get(role, 0.0) * 10_000 / run.jobs


def memory(drained: dict[str, list[Drained]]) -> Table:
    table = Table(
        "peak memory in MiB, of the largest process of its kind",
        ("what", "supervisor", "fork server", "child", "Redis"),
    )
    for kind, runs in drained.items():
        peaks = [run.peaks for run in runs]
        roles = ("supervisor", "fork server", "children", "Redis")
        table.add(kind, *(Spread.of(peak[role] for peak in peaks) for role in roles))
    return table


def targets(kept: list[Drained], bare: Spread) -> list[Target]:
    rate = Spread.of(run.rate for run in kept).median
    trips = Spread.of(run.used.round_trips / run.jobs for run in kept).median
    return [
        Target.at_least("empty jobs, of the floor loop", 0.6, rate / bare.median),
        Target.at_most("Redis round trips per job under load", 0.1, trips),
    ]


if __name__ == "__main__":
    main(ask)
