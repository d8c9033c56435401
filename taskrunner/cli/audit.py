"""`audit`: what was changed over HTTP, and by whom."""

from __future__ import annotations

import click

from taskrunner.access.audit import Entry
from taskrunner.access.setup import trail
from taskrunner.cli.connect import broker_options, connected, json_option
from taskrunner.cli.output import complain, show_json, show_table

_SLICE = 500


@click.command()
@click.argument("target", metavar="APP")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, help="How many. [default: 50]"
)
@broker_options
@json_option
def audit(
    target: str, limit: int, broker: str | None, namespace: str | None, wants_json: bool
) -> None:
    """Show what was changed over HTTP, the newest first: who, what, when, and what came of it.

    As far as the store of APP remembers it; the lines that the service writes have all of it.
    """
    with connected(target, broker=broker, namespace=namespace) as app:
        kept = trail(app.config, app.broker)
        entries: list[Entry] = []
        cursor = ""
        while len(entries) < limit:
            page = kept.page(cursor, limit=min(_SLICE, limit - len(entries)))
            entries += page.entries
            cursor = page.cursor
            if not cursor:
                break
    if wants_json:
        show_json([entry.as_map() for entry in entries])
    elif not entries:
        complain("nothing was changed over HTTP, as far as the store remembers")
    else:
        rows = [_row(entry) for entry in entries]
        show_table(["when", "who", "from", "what", "to", "outcome"], rows)


def _row(entry: Entry) -> list[str]:
    times = "" if entry.count == 1 else f" ({entry.count} times)"
    return [
        str(entry.as_map()["at"]),
        f"{entry.name} ({entry.who})",
        entry.address,
        f"{entry.action}{times}",
        _object(entry),
        f"{entry.outcome} ({entry.status})",
    ]


def _object(entry: Entry) -> str:
    """What it was done to."""
    jobs = ", ".join(entry.jobs[:3]) + (
        f" and {len(entry.jobs) - 3} more" if entry.jobs[3:] else ""
    )
    named = (entry.task, jobs, entry.queue and f"in {entry.queue}", entry.target)
    return " ".join(filter(None, named))
