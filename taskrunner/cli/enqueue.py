"""`enqueue`: submit a job by the name of its task, and perhaps wait for it."""

from __future__ import annotations

from typing import Any

import click

from taskrunner.cli.connect import broker_options, connected, json_option
from taskrunner.cli.exits import Exit, exit_of
from taskrunner.cli.output import as_json, complain, say, show_json
from taskrunner.cli.submitting import chosen, job_options, named, values
from taskrunner.errors import JobError, JobFailed, ResultExpired
from taskrunner.job import Job


@click.command(
    # So that -5 can be an argument of the task; what is left over is judged in `values`.
    context_settings={"ignore_unknown_options": True},
)
@click.argument("app", metavar="APP")
@click.argument("task", metavar="TASK")
@click.argument("words", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--kwargs", metavar="JSON", help="Arguments by name, one JSON object.")
@job_options
@broker_options
@click.option("--wait", is_flag=True, help="Wait until it has ended and show the result.")
@click.option(
    "--wait-timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="Wait that long at most; implies --wait.",
)
@json_option
def enqueue(
    app: str,
    task: str,
    words: tuple[str, ...],
    kwargs: str | None,
    broker: str | None,
    namespace: str | None,
    **rest: Any,
) -> int:
    """Submit a job of TASK, a name that APP declares.

    Each of ARGS is one JSON value: 42 true '"text"' '[1, 2]' '{"a": 1}'. Text keeps its own quotes,
    so the shell needs another pair around them.

    Prints the job's id; with --wait the result as JSON below it.
    """
    wait, wait_timeout = rest.pop("wait"), rest.pop("wait_timeout")
    wants_json = rest.pop("wants_json")
    args, by_name, options = values(words, enqueue), named(kwargs), chosen(rest)
    with connected(app, broker=broker, namespace=namespace) as found:
        job = found.enqueue(task, args=args, kwargs=by_name, **options)
        if not wait and wait_timeout is None:
            _submitted(job, task, wants_json)
            return Exit.OK
        return _waited(job, task, wait_timeout, wants_json)


def _submitted(job: Job[Any], task: str, wants_json: bool) -> None:
    if wants_json:
        show_json({"id": job.id, "queue": job.queue, "task": task})
    else:
        say(job.id)


def _waited(job: Job[Any], task: str, timeout: float | None, wants_json: bool) -> int:
    """Wait for a job and show what became of it; the exit code."""
    if not wants_json:
        say(job.id)
    code, ended = Exit.OK, _ended(job, timeout)
    if isinstance(ended, ResultExpired):
        complain(f"taskrunner: {ended}")
    elif isinstance(ended, JobError):
        if not wants_json:
            raise ended
        code = exit_of(ended)
    elif not wants_json:
        say(as_json(ended["result"]))
    if wants_json:
        told = {"error": _told(ended)} if isinstance(ended, JobError) else ended
        show_json({"id": job.id, "queue": job.queue, "task": task, **told})
    return code


def _ended(job: Job[Any], timeout: float | None) -> dict[str, Any] | JobError:
    try:
        return {"result": job.result(timeout)}
    except JobError as error:
        return error


def _told(error: JobError) -> dict[str, Any]:
    """An error as JSON shows it. `kind` is the class of taskrunner's own exception."""
    told: dict[str, Any] = {"kind": type(error).__name__, "message": str(error.args[0])}
    if isinstance(error, JobFailed):
        told |= {
            "reason": error.reason,
            "type": error.error_type,
            "text": error.error_message,
            "traceback": error.remote_traceback,
        }
    return told
