"""What does an idle node cost: round trips, CPU, memory?

    python -m benchmarks.idle [--json] [--runs N] [--quick]

Once with one queue and once with ten. Round trips are the reads of the server; which commands they
are is counted apart, by MONITOR. Memory is proportional: what processes share is divided among them.
"""

from __future__ import annotations

from collections import Counter
from time import sleep

from benchmarks.harness.answer import Answer, Spread, Table, Target
from benchmarks.harness.ask import How, main
from benchmarks.harness.meters import Meter, proportional_mib
from benchmarks.harness.stage import PATIENCE_S, Node, Stage
from benchmarks.tasks import app, empty
from taskrunner.testing.wire import CommandCounter

SECONDS = 12
SETTLES_S = 3
"""After its last job a node still writes some things down."""
QUEUES = (1, 10)
ROLES = ("supervisor", "fork server", "children")


class Watched:
    """What was seen of one node in one span of time."""

    def __init__(self, stage: Stage, node: Node, seconds: float) -> None:
        meter = Meter(stage, node.roles())
        before = meter.read()
        sleep(seconds)
        used = meter.used(before)
        self.trips = used.round_trips / used.at
        self.cpu = {role: 100 * used.cpu[role] / used.at for role in ROLES}
        self.memory = {
            role: sum(map(proportional_mib, pids)) for role, pids in node.roles().items()
        }


def ask(how: How) -> Answer:
    seconds = SECONDS / (5 if how.quick else 1)
    found: dict[int, list[Watched]] = {number: [] for number in QUEUES}
    names: Counter[str] = Counter()
    with Stage(app) as stage:
        for number, runs in found.items():
            stage.clear()
            with stage.ready_node("--processes", "2") as node:
                fill(number)
                sleep(SETTLES_S)
                runs += [Watched(stage, node, seconds) for _ in range(how.runs)]
                if number == 1:
                    names = commands(stage, seconds)
    return Answer([_table(found, seconds), _named(names, seconds)], _targets(found))


def fill(queues: int) -> None:
    """Let there be so many queues, `default` among them."""
    for at in range(queues - 1):
        empty.options(queue=f"queue-{at}").enqueue().result(timeout=PATIENCE_S)


def commands(stage: Stage, seconds: float) -> Counter[str]:
    with CommandCounter(stage.server.url) as counted:
        sleep(seconds)
    return counted.by_name


def _table(found: dict[int, list[Watched]], seconds: float) -> Table:
    table = Table(
        "an idle node with 2 children",
        ("", *(f"{number} queue{'s' * (number > 1)}" for number in found)),
        note=f"watched for {seconds:g} s each time.",
    )
    table.add("round trips/s", *(Spread.of(one.trips for one in runs) for runs in found.values()))
    for role in ROLES:
        shares = (Spread.of(one.cpu[role] for one in runs) for runs in found.values())
        table.add(f"CPU % of {role}", *shares)
    for role in ROLES:
        sizes = (Spread.of(one.memory[role] for one in runs) for runs in found.values())
        table.add(f"memory of {role}, MiB", *sizes)
    return table


def _named(names: Counter[str], seconds: float) -> Table:
    table = Table("what it asks Redis, with one queue", ("command", "times a second"))
    for name, count in names.most_common():
        table.add(name, count / seconds)
    return table


def _targets(found: dict[int, list[Watched]]) -> list[Target]:
    def median(number: int) -> float:
        return Spread.of(one.trips for one in found[number]).median

    cpu = Spread.of(sum(one.cpu.values()) for one in found[1]).median
    further = (median(10) - median(1)) / 9
    return [
        Target.at_most("idle supervisor, round trips a second", 2, median(1)),
        Target.at_most("idle supervisor, round trips for each further queue", 0.5, further),
        Target.at_most("idle node, of a core", 1, cpu, " %"),
    ]


if __name__ == "__main__":
    main(ask)
