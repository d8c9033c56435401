"""`jobs`: the jobs that a filter means, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.output import complain, local, show_json, show_table
from taskrunner.cli.submitting import moment
from taskrunner.inspector import Inspector, JobFilter
from taskrunner.jobinfo import JobInfo
from taskrunner.states import State

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN: Final = (
    *("id", "task", "queue", "state", "reason", "priority", "attempt"),
    *("created_at", "eta", "started_at", "finished_at", "node"),
)


def filter_options(command: F) -> F:
    """Which jobs are meant, besides by queue."""
    described: list[tuple[str, str, str, Any]] = [
        ("--task", "PATTERN", "Only of this task; * and ? stand for anything.", str),
        (
            "--text",
            "TEXT",
            "Only where id, task, reason, errors, headers or arguments have it.",
            str,
        ),
        ("--since", "TIME", "Only those due, ended or submitted from then on: ISO 8601.", moment),
        ("--until", "TIME", "Only those due, ended or submitted up to then.", moment),
    ]
    for flag, metavar, text, kind in reversed(described):
        command = click.option(flag, metavar=metavar, help=text, type=kind)(command)
    return click.option(
        "--state",
        "states",
        metavar="|".join(State),
        multiple=True,
        help="Only in this state; may be repeated.",
    )(command)


@click.command()
@click.option("--queue", "queues", metavar="NAME", multiple=True, help="Only this; repeat.")
@filter_options
@click.option("--limit", type=int, default=100, help="So many at most. [default: 100]")
@click.option("--cursor", default="", help="Where the last page ended, as it said.")
@app_option
@broker_options
@json_option
def jobs(
    limit: int,
    cursor: str,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
    **wanted: Any,
) -> None:
    """Show jobs, queue by queue and state by state: those that wait in the order in which their turn
    comes, those that are finished the newest first.

    A page says where the next one begins. With --task or --text a page may be short, and more follow.
    """
    meant = meant_by(**wanted)
    with connected(target, broker=broker, namespace=namespace) as app:
        page = Inspector(app).jobs(meant, cursor=cursor, limit=limit)
        rows = [_as_map(info) for info in page.jobs]
    if wants_json:
        show_json({"jobs": rows, "cursor": page.cursor})
        return
    if rows:
        columns = ("id", "queue", "task", "state", "attempt", "when", "reason")
        show_table(columns, [_row(info) for info in page.jobs])
    else:
        complain("there are no such jobs" if not page.cursor else "none on this page")
    if page.cursor:
        complain(f"more: --cursor {page.cursor}")


def meant_by(*, queues: tuple[str, ...], states: tuple[str, ...], **others: Any) -> JobFilter:
    """The filter that options say. Raises OptionError."""
    return JobFilter.of(queue=queues or None, state=states or None, **others)


def _row(info: JobInfo) -> list[object]:
    when = info.finished_at or info.started_at or info.eta or info.created_at
    named = [info.id, info.queue, info.task or "?", str(info.state)]
    return [*named, info.attempt, local(when), info.reason or ""]


def _as_map(info: JobInfo) -> dict[str, object]:
    error = info.error
    return {
        **{name: getattr(info, name) for name in _SHOWN},
        "error": error and {"type": error.type, "message": error.message},
    }
