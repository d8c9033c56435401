"""`queues` and `stats`: how many jobs are in which state, by queue and in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import click

from taskrunner.brokers.base import QueueStats
from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.output import complain, show_facts, show_json, show_table
from taskrunner.inspector import Inspector
from taskrunner.options import validate_queue_name
from taskrunner.states import State

_ALWAYS: Final = frozenset({State.PENDING, State.ACTIVE, State.SUCCEEDED, State.FAILED})


@click.command()
@click.option("--queue", metavar="NAME", help="Only this one.")
@app_option
@broker_options
@json_option
def queues(
    queue: str | None,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> None:
    """Show the queues of a namespace and how many jobs each has in which state.

    The table leaves out states in which no queue has a job; --json shows them all. A queue of which
    nothing is started is shown as paused.
    """
    with connected(target, broker=broker, namespace=namespace) as app:
        names = app.broker.queues() if queue is None else [validate_queue_name(queue, "--queue")]
        found = app.broker.stats(names)
        paused = {stats.queue for stats in found if app.limits.get(stats.queue).is_paused}
        where = app.config.namespace
    if wants_json:
        show_json([{**_as_map(stats), "paused": stats.queue in paused} for stats in found])
    elif not found:
        complain(f"there are no queues in the namespace {where}")
    else:
        columns = [state for state in State if state in _ALWAYS or _occurs(state, found)]
        rows = [
            [_shown(stats.queue, paused), *(stats.counts.get(state, 0) for state in columns)]
            for stats in found
        ]
        show_table(["queue", *columns], rows)


@click.command()
@app_option
@broker_options
@json_option
def stats(target: str | None, broker: str | None, namespace: str | None, wants_json: bool) -> None:
    """Show a namespace in a few numbers: queues, nodes, processes, and jobs by state."""
    with connected(target, broker=broker, namespace=namespace) as app:
        found = Inspector(app).stats()
        where = app.config.namespace
    if wants_json:
        show_json({"namespace": where, **asdict(found)})
        return
    facts: list[tuple[str, object]] = [("namespace", where), ("queues", found.queues)]
    facts += [("nodes", found.nodes), ("processes", f"{found.processes}, {found.busy} jobs run")]
    facts += [(state, found.counts[state]) for state in State]
    facts += [("succeeded ever", found.processed), ("failed ever", found.failed)]
    show_facts(facts)


def _shown(queue: str, paused: set[str]) -> str:
    return f"{queue} (paused)" if queue in paused else queue


def _occurs(state: State, found: Sequence[QueueStats]) -> bool:
    return any(stats.counts.get(state, 0) for stats in found)


def _as_map(stats: QueueStats) -> dict[str, object]:
    return {
        "queue": stats.queue,
        "counts": {str(state): stats.counts.get(state, 0) for state in State},
        "pending_by_priority": stats.pending_by_priority,
        "parked": stats.parked,
        "processed": stats.processed,
        "failed": stats.failed,
    }
