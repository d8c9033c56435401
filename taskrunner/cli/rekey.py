"""`rekey`: seal what is in the store with the first key."""

from __future__ import annotations

import click

from taskrunner.cli.connect import broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import complain, say, show_json
from taskrunner.clock import monotonic
from taskrunner.inspector import Inspector, Rekeyed

TOLD_EVERY_S = 2.0


@click.command()
@click.argument("app", metavar="APP")
@click.option("--dry-run", is_flag=True, help="Count what would be changed, and change nothing.")
@broker_options
@json_option
def rekey(
    app: str, dry_run: bool, broker: str | None, namespace: str | None, wants_json: bool
) -> int:
    """Encrypt, or sign, with the first key of APP what is in the store under other keys or under
    none: jobs in every state with their results and errors, and schedules.

    Jobs go on meanwhile. What no key here opens is left alone, and named: then the exit code is 7.
    """
    done = Rekeyed()
    with connected(app, broker=broker, namespace=namespace) as found:
        told = monotonic()
        for done in Inspector(found).rekey(dry_run=dry_run):
            if monotonic() - told > TOLD_EVERY_S:
                told = monotonic()
                complain(_so_far(done, dry_run))
    if wants_json:
        counts = {"looked_at": done.looked_at, "changed": done.changed}
        show_json({**counts, "dry_run": dry_run, "left": dict(done.left)})
    else:
        say(_so_far(done, dry_run))
    for why, count in done.left.most_common():
        complain(f"taskrunner: left {count}: {why}")
    return Exit.REFUSED if done.left else Exit.OK


def _so_far(done: Rekeyed, dry_run: bool) -> str:
    return f"{done.looked_at} looked at, {done.changed} {'to be changed' if dry_run else 'changed'}"
