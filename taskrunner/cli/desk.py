"""`retry`, `delete` and `reschedule`: what an operator does to one job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from taskrunner.cli.connect import connected
from taskrunner.cli.exits import Exit
from taskrunner.cli.jobs import job_of, job_options
from taskrunner.cli.output import complain, confirmed, say, show_json
from taskrunner.cli.submitting import moment, number
from taskrunner.inspector import Inspector, JobAction
from taskrunner.inspector.jobs import POSSIBLE
from taskrunner.job import Job
from taskrunner.states import State

Act = Callable[[Inspector, Job[Any]], bool]


@click.command()
@job_options
def retry(wants_json: bool, job_id: str, queue: str | None, **where: str | None) -> int:
    """Run a job again that failed, was cancelled or has expired, with all its retries before it; or
    one that waits for its time, now."""
    return _act(
        JobAction.RETRY,
        _of(job_id, queue, where),
        lambda inspector, job: inspector.retry(job.id, job.queue),
        wants_json=wants_json,
    )


@click.command()
@job_options
@click.option("--yes", is_flag=True, help="Do not ask before.")
def delete(wants_json: bool, job_id: str, queue: str | None, yes: bool, **where: str | None) -> int:
    """Remove a job and all that is kept of it: its arguments, its result, its errors. One that runs
    has to be cancelled first. Asks before."""
    if not confirmed(f"Remove the job {job_id} and all that is kept of it?", yes):
        complain("nothing was removed")
        return Exit.OK
    return _act(
        JobAction.DELETE,
        _of(job_id, queue, where),
        lambda inspector, job: inspector.delete(job.id, job.queue),
        wants_json=wants_json,
    )


@click.command()
@job_options
@click.option("--delay", metavar="SECONDS", type=number, help="From now.")
@click.option("--eta", metavar="TIME", type=moment, help="ISO 8601 with a time zone.")
def reschedule(
    wants_json: bool, job_id: str, queue: str | None, delay: Any, eta: Any, **where: str | None
) -> int:
    """Give a job that waits for its time, or for its next retry, another time."""
    return _act(
        JobAction.RESCHEDULE,
        _of(job_id, queue, where),
        lambda inspector, job: inspector.reschedule(job.id, job.queue, delay=delay, eta=eta),
        wants_json=wants_json,
    )


def _of(job_id: str, queue: str | None, where: dict[str, str | None]) -> dict[str, Any]:
    return {"job_id": job_id, "queue": queue, **where}


def _act(action: JobAction, asked: dict[str, Any], act: Act, *, wants_json: bool) -> int:
    job_id, queue, target = asked.pop("job_id"), asked.pop("queue"), asked.pop("target")
    with connected(target, **asked) as app:
        job = job_of(app, job_id, queue)
        before = job.state()
        is_done = act(Inspector(app), job)
    if wants_json:
        found = {"id": job_id, "queue": job.queue, "action": action, "done": is_done}
        show_json({**found, "was": before})
    elif is_done:
        say(_DONE[action])
    else:
        fitting = ", ".join(state for state in State if state in POSSIBLE[action])
        complain(f"taskrunner: job {job_id} is {before}; {action} is possible for: {fitting}")
    return Exit.OK if is_done else Exit.REFUSED


_DONE = {
    JobAction.RETRY: "is ready to run",
    JobAction.DELETE: "removed",
    JobAction.RESCHEDULE: "falls due at another time",
}
