"""How fast are other Python queues, doing the same work here and now?

    python -m benchmarks.peers [--json] [--runs N] [--quick] [--only NAME ...]

Empty jobs, results kept, two processes, Redis over loopback. Each is installed into an environment of
its own under `build/peers`, the first time; what each is set to stands in `queues.py` and at the top of
its script. All are counted as taskrunner is: jobs wait before a worker starts, and the clock runs from
the moment at which a tenth is done to the moment at which all are, by what stands in Redis.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target
from benchmarks.harness.ask import How, machine
from benchmarks.harness.drain import WARM, bare_loop, drain
from benchmarks.harness.drain import submit as submit_ours
from benchmarks.harness.floor import Floor
from benchmarks.harness.meters import Meter, Reading
from benchmarks.harness.show import show
from benchmarks.harness.stage import Stage, until
from benchmarks.peers.environments import SCRIPTS, environment, version
from benchmarks.peers.queues import PEERS, Peer
from benchmarks.tasks import app, empty
from taskrunner.testing.processes import descendants, kill, with_environ

OURS = "taskrunner"
JOBS = 100_000
ONE_BY_ONE = 3_000
STOP_S = 10.0
FIRST_S = 60.0
LAST_S = 120.0
SLACK = 5
"""jobs by which a count of keys may be wrong, since a few of them are no results"""
MARK = "PEER_RUN"


@dataclass(slots=True)
class Found:
    """What was measured of one of them, each time."""

    rates: list[float] = field(default_factory=list)
    one_by_one: list[float] = field(default_factory=list)
    in_bulk: list[float] = field(default_factory=list)
    workers_cpu: list[float] = field(default_factory=list)
    redis_cpu: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)

    def add(self, jobs: int, used: Reading, workers: Sequence[str]) -> None:
        """What the meters say of so many jobs."""
        self.rates.append(jobs / used.at)
        self.workers_cpu.append(sum(used.cpu[role] for role in workers) * 10_000 / jobs)
        self.redis_cpu.append(used.cpu["Redis"] * 10_000 / jobs)
        self.round_trips.append(used.round_trips / jobs)
        self.commands.append((used.wire + used.inside) / jobs)


def ask(how: How, peers: Sequence[Peer]) -> Answer:
    places = {peer.script: environment(_short(peer), peer.requirements) for peer in peers}
    found = {OURS: Found(), **{peer.name: Found() for peer in peers}}
    floors: list[float] = []
    with Stage(app) as stage:
        for _ in range(how.runs):
            ours(stage, how, found[OURS])
            floors.append(_floor(stage, how))
            for peer in peers:
                try:
                    one_run(stage, peer, places[peer.script], how, found[peer.name])
                except (TimeoutError, subprocess.CalledProcessError) as error:
                    print(f"{peer.name} is left out of this run: {error}", file=sys.stderr)
                stage.clear()
    found = {name: one for name, one in found.items() if one.rates}
    versions = {peer.name: version(places[peer.script], peer.package) for peer in peers}
    return _answer(found, Spread.of(floors), versions, how)


def ours(stage: Stage, how: How, found: Found) -> None:
    """taskrunner, with its default settings."""
    python = Path(sys.executable)
    few, count = how.size(ONE_BY_ONE), how.size(JOBS)
    found.one_by_one.append(_submitted(stage, python, "with_taskrunner", "one", few, {}))
    stage.clear()
    found.in_bulk.append(_submitted(stage, python, "with_taskrunner", "many", few * 10, {}))
    stage.clear()
    submit_ours(app, empty.message, count)
    run = drain(stage, count, "--processes", "2")
    found.add(run.jobs, run.used, ("supervisor", "fork server", "children"))
    stage.clear()


def _floor(stage: Stage, how: How) -> float:
    floor = Floor(stage.server.unix_url)
    try:
        return bare_loop(floor, submit_ours(app, empty.message, how.size(JOBS)))
    finally:
        floor.close()
        stage.clear()


def one_run(stage: Stage, peer: Peer, programs: Path, how: How, found: Found) -> None:
    """One of the others: submit one by one, then many, and have those run."""
    python = programs / "python"
    few, count = how.size(ONE_BY_ONE), how.size(peer.jobs)
    found.one_by_one.append(_submitted(stage, python, peer.script, "one", few, peer.environ))
    stage.clear()
    found.in_bulk.append(_submitted(stage, python, peer.script, "many", count, peer.environ))
    submitted = count + 1  # the first one, which is not timed
    done_before = peer.done(stage.redis, submitted)

    def done() -> int:
        stage.looks += 1
        stage.looked += 1
        return peer.done(stage.redis, submitted) - done_before

    with workers(stage, peer, programs) as pids:
        until(lambda: done() >= WARM * count, timeout=FIRST_S)
        meter = Meter(stage, {"workers": pids()})
        before, first = meter.read(), done()
        until(lambda: done() >= count - SLACK, timeout=LAST_S)
        used = meter.used(before)
        found.add(count - SLACK - first, used, ("workers",))


def _submitted(
    stage: Stage, python: Path, script: str, way: str, count: int, environ: Mapping[str, str]
) -> float:
    """Jobs a second, as the script says."""
    said = subprocess.run(
        [str(python), f"{script}.py", way, str(count)],
        cwd=SCRIPTS,
        env=_environ(stage, environ),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(said.stdout.split()[-1])


def _environ(stage: Stage, more: Mapping[str, str]) -> dict[str, str]:
    """With the store, as our scripts and as RQ want to be told."""
    url = stage.server.url
    return {**os.environ, "PEER_REDIS": url, "RQ_REDIS_URL": url, **more}


@contextmanager
def workers(stage: Stage, peer: Peer, programs: Path) -> Iterator[Callable[[], list[int]]]:
    """Its workers, until the block ends; a call says which processes there are."""
    mark = f"{os.getpid()}-{monotonic()}"
    environ = {**_environ(stage, peer.environ), MARK: mark}
    program, *arguments = peer.workers
    started = [
        subprocess.Popen(
            [str(programs / program), *arguments],
            cwd=SCRIPTS,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(peer.starts)
    ]
    try:
        yield lambda: [pid for one in started for pid in (one.pid, *descendants(one.pid))]
    finally:
        for one in started:
            one.terminate()
        for one in started:
            _end(one)
        kill(*with_environ(MARK, mark))  # what a killed one has left behind


def _end(process: subprocess.Popen[bytes]) -> None:
    """Some do not end when they are told to."""
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# -- the answer


def _answer(found: dict[str, Found], floor: Spread, versions: dict[str, str], how: How) -> Answer:
    mine = Spread.of(found[OURS].rates).median
    rates = Table(
        "empty jobs a second beside other queues",
        ("queue", "version", "jobs/s", "taskrunner is faster by", "one by one/s", "in bulk/s"),
        note=f"2 processes, results kept, {how.runs} runs in turns. The last two columns: submitting.",
        chart=Chart("queue", "jobs/s"),
    )
    costs = Table(
        "what a job costs there",
        (
            "queue",
            "workers, CPU s per 10,000",
            "Redis, CPU s per 10,000",
            "round trips",
            "commands",
        ),
        note="Round trips and commands per job; commands include those inside scripts.",
    )
    order = sorted(found, key=lambda name: -Spread.of(found[name].rates).median)
    for name in order:
        one = found[name]
        rate = Spread.of(one.rates)
        submits = Spread.of(one.one_by_one), Spread.of(one.in_bulk)
        rates.add(name, versions.get(name, ""), rate, mine / rate.median, *submits)
        spreads = (one.workers_cpu, one.redis_cpu, one.round_trips, one.commands)
        costs.add(name, *map(Spread.of, spreads))
    rates.add("the floor: a bare loop", "", floor, mine / floor.median, None, None)
    return Answer([rates, costs], _targets(found, floor))


def _targets(found: dict[str, Found], floor: Spread) -> list[Target]:
    def best(of: Callable[[Found], list[float]]) -> float:
        return max((Spread.of(of(one)).median for n, one in found.items() if n != OURS), default=0)

    mine = found[OURS]
    rate, single = Spread.of(mine.rates).median, Spread.of(mine.one_by_one).median
    targets = [Target.at_least("empty jobs beside the floor loop", 0.6, rate / floor.median)]
    if len(found) > 1:
        fastest, quickest = best(lambda one: one.rates), best(lambda one: one.one_by_one)
        targets += [
            Target.at_least("empty jobs, of the fastest Python peer", 8, rate / fastest, " x"),
            Target.at_least("submit one by one, of the fastest peer", 1, single / quickest, " x"),
        ]
    return targets


def _short(peer: Peer) -> str:
    return peer.script.removeprefix("with_")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--runs", type=int, default=3, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    names = sorted({_short(peer) for peer in PEERS})
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    options = parser.parse_args()
    chosen = [peer for peer in PEERS if not options.only or _short(peer) in options.only]
    answer = ask(How(runs=options.runs, quick=options.quick), chosen)
    if options.json:
        print(json.dumps({**answer.as_map(), "machine": machine()}))
    else:
        show(answer)


if __name__ == "__main__":
    main()
