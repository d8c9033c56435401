"""`status` and `cancel`: one job by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from taskrunner.app import App
from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import as_json, complain, local, say, show_facts, show_json, show_table
from taskrunner.context import Progress
from taskrunner.errors import ResultExpired, TaskrunnerError
from taskrunner.job import Job
from taskrunner.jobinfo import JobInfo
from taskrunner.options import Options
from taskrunner.states import FINISHED, State

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN: Final = (
    *("id", "task", "queue", "state", "reason", "args", "kwargs", "priority"),
    *("attempt", "failures", "crashes", "losses", "suspect"),
    *("retries", "timeout", "retention"),
    *("created_at", "eta", "started_at", "finished_at", "expires_at", "deadline"),
    *(
        "unique_key",
        "replaced",
        "progress",
        "headers",
        "node",
        "pid",
        "cancelling",
        "errors",
        "unreadable",
    ),
)
"""What of a JobInfo `--json` shows, besides the result."""


def job_options(command: F) -> F:
    """Which job, where, and how to answer."""
    for option in (
        json_option,
        broker_options,
        app_option,
        click.option("--queue", metavar="NAME", help="Where several queues have a job of that id."),
        click.argument("job_id", metavar="JOB_ID"),
    ):
        command = option(command)
    return command


@click.command()
@job_options
def status(
    job_id: str,
    queue: str | None,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> None:
    """Show a job: its state, its times, its progress, its errors, its result while it is kept.

    The exit code says whether the job was found, not how it went.
    """
    with connected(target, broker=broker, namespace=namespace) as app:
        job = job_of(app, job_id, queue)
        info = job.info()
        result, is_kept = _result(job, info)
        if wants_json:
            found = {name: getattr(info, name) for name in _SHOWN}
            show_json({**found, "result": result, "result_kept": is_kept})
            return
        show_facts(_facts(info, as_json(result) if is_kept else None))
        _show_errors(info)


def job_of(app: App, job_id: str, queue: str | None) -> Job[Any]:
    """A handle. Raises OptionError for what cannot be an id."""
    Options.of(job_id=job_id)
    return app.job(job_id, queue)


def _result(job: Job[Any], info: JobInfo) -> tuple[Any, bool]:
    """What the job returned, and whether that is still known."""
    if info.state is not State.SUCCEEDED:
        return None, False
    try:
        return job.result(timeout=0), True
    except ResultExpired:
        return None, False
    except TaskrunnerError as error:
        complain(f"taskrunner: the result cannot be read: {error}")
        return None, False


def _facts(info: JobInfo, result: str | None) -> list[tuple[str, object]]:
    state: str = info.state
    if info.cancelling and info.state not in FINISHED:
        state += ", to be cancelled"
    return [
        ("id", info.id),
        ("task", info.task),
        ("queue", info.queue),
        ("state", state),
        ("reason", info.reason),
        ("arguments", _arguments(info)),
        ("unreadable", info.unreadable),
        ("priority", info.priority),
        ("attempt", f"{info.attempt} (retries after errors: at most {info.retries})"),
        ("crashes", info.crashes or None),
        ("nodes lost", info.losses or None),
        ("suspect", "of killing its process: it runs alone" if info.suspect else None),
        ("created", local(info.created_at)),
        ("due", local(info.eta)),
        ("started", local(info.started_at)),
        ("finished", local(info.finished_at)),
        ("expires", local(info.expires_at)),
        ("deadline", local(info.deadline)),
        ("time limit", None if info.timeout is None else f"{info.timeout:g} s a run"),
        ("unique by", info.unique_key),
        ("replaced", f"{info.replaced} times, by later submissions" if info.replaced else None),
        ("progress", _progress(info.progress)),
        ("headers", as_json(info.headers) if info.headers else None),
        ("node", info.node),
        ("process", info.pid or None),
        ("result", result),
    ]


def _arguments(info: JobInfo) -> str | None:
    if info.args is None or info.kwargs is None:
        return None
    named = [f"{name}={as_json(value)}" for name, value in info.kwargs.items()]
    return ", ".join([*map(as_json, info.args), *named])


def _progress(progress: Progress | None) -> str | None:
    if progress is None:
        return None
    of = "" if progress.total is None else f" of {progress.total:g}"
    return f"{progress.done:g}{of} {progress.text or ''}".rstrip()


def _show_errors(info: JobInfo) -> None:
    if not info.errors:
        return
    say("\nfailed runs, newest first:")
    rows = [(error.attempt, f"{error.type}: {error.message}") for error in info.errors]
    show_table(("run", "error"), rows)
    if info.errors[0].traceback:
        say(f"\n{info.errors[0].traceback.rstrip()}")


@click.command()
@job_options
def cancel(
    job_id: str,
    queue: str | None,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> int:
    """Cancel a job. One that runs is asked to stop, and ends as cancelled whatever it does then."""
    with connected(target, broker=broker, namespace=namespace) as app:
        job = job_of(app, job_id, queue)
        is_cancelled = job.cancel()
        state = job.state()
    if wants_json:
        show_json({"id": job_id, "queue": job.queue, "cancelled": is_cancelled, "state": state})
    elif not is_cancelled:
        complain(f"taskrunner: job {job_id} is finished: it {_ended(state)}")
    else:
        say("cancelled" if state is State.CANCELLED else "is asked to stop")
    return Exit.OK if is_cancelled else Exit.REFUSED


def _ended(state: State) -> str:
    return f"was {state}" if state is State.CANCELLED else str(state)
