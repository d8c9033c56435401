"""`purge` and `requeue`: what an operator does to many jobs of a queue."""

from __future__ import annotations

from typing import Any

import click

from taskrunner.app import App
from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.listing import filter_options, meant_by
from taskrunner.cli.output import complain, confirmed, say, show_json
from taskrunner.inspector import BulkSlice, Inspector, JobAction, JobFilter
from taskrunner.states import IDLE, State


def _common(command: Any) -> Any:
    for option in (
        json_option,
        broker_options,
        app_option,
        click.option("--yes", is_flag=True, help="Do not ask before."),
        click.option("--dry-run", is_flag=True, help="Count them, and change nothing."),
        filter_options,
        click.argument("queue", metavar="QUEUE"),
    ):
        command = option(command)
    return command


@click.command()
@_common
def purge(**options: Any) -> int:
    """Remove jobs of a queue and all that is kept of them: without --state those that wait
    (pending, scheduled, retrying, waiting). Those that run are left alone. Asks before.

    Jobs that come while it works may be removed or not.
    """
    return _bulk(JobAction.DELETE, "removed", sorted(IDLE), **options)


@click.command()
@_common
def requeue(**options: Any) -> int:
    """Run the jobs of a queue again that failed, with all their retries before them; with --state
    also cancelled or expired ones, or at once those that are scheduled or retrying. Asks before."""
    return _bulk(JobAction.RETRY, "requeued", [State.FAILED], **options)


def _bulk(action: JobAction, word: str, usual: list[State], **options: Any) -> int:
    yes, dry_run, wants_json = (options.pop(name) for name in ("yes", "dry_run", "wants_json"))
    target, *where = (options.pop(name) for name in ("target", "broker", "namespace"))
    queue, states = options.pop("queue"), options.pop("states") or tuple(usual)
    wanted = meant_by(queues=(queue,), states=states, **options)
    with connected(target, broker=where[0], namespace=where[1]) as app:
        if not dry_run and not yes:
            count = _all(app, action, wanted, dry_run=True).matched
            if not count or not confirmed(f"{count} jobs of {queue} will be {word}: go on?", yes):
                complain(f"none was {word}")
                return Exit.OK
        total = _all(app, action, wanted, dry_run=dry_run)
    if wants_json:
        found = {"queue": queue, "action": action, "dry_run": dry_run}
        show_json({**found, "matched": total.matched, "done": total.done})
    else:
        say(f"{total.matched} would be {word}" if dry_run else f"{total.done} {word}")
    return Exit.OK


def _all(app: App, action: JobAction, wanted: JobFilter, *, dry_run: bool) -> BulkSlice:
    inspector, cursor = Inspector(app), ""
    matched = done = 0
    while True:
        part = inspector.bulk(action, wanted, dry_run=dry_run, cursor=cursor)
        matched += part.matched
        done += part.done
        cursor = part.cursor
        if not cursor:
            return BulkSlice(matched, done, "")
