"""`why`: what keeps a job from running."""

from __future__ import annotations

import click

from taskrunner.cli.connect import connected
from taskrunner.cli.jobs import job_of, job_options
from taskrunner.cli.output import say, show_json


@click.command()
@job_options
def why(
    job_id: str,
    queue: str | None,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> None:
    """Say why a job is not running, a line for each cause: its place, a limit, a pause, when it is
    due, nodes that are missing; or where it runs, or how it has ended.

    The exit code says whether the job was found.
    """
    with connected(target, broker=broker, namespace=namespace) as app:
        found = app.why(job_of(app, job_id, queue).id, queue)
    if wants_json:
        causes = [{"kind": c.kind, "text": c.text, "details": c.details} for c in found.causes]
        where = {"id": found.id, "queue": found.queue, "task": found.task, "state": found.state}
        show_json({**where, "causes": causes})
    else:
        say(str(found))
