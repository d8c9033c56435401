"""`enqueue`: submit a job by the name of its task, and perhaps wait for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click

from taskrunner.cli.connect import broker_options, connected, json_option
from taskrunner.cli.exits import Exit, exit_of
from taskrunner.cli.output import as_json, complain, say, show_json
from taskrunner.errors import JobError, JobFailed, OptionError, ResultExpired
from taskrunner.job import Job
from taskrunner.naming import nearest
from taskrunner.retry import Backoff


def _number(text: str) -> Any:
    """A whole number or a fraction; what is neither is left for the option itself to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _moment(text: str) -> Any:
    """A moment as ISO 8601; what is none is left for the option itself to refuse."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _number_or_moment(text: str) -> Any:
    found = _number(text)
    return _moment(text) if isinstance(found, str) else found


def _backoff(text: str) -> Backoff:
    """`initial=1,factor=2,maximum=600,jitter=true`, any of them."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return Backoff(**{name.strip(): json.loads(value) for name, _, value in pairs})
    except (TypeError, json.JSONDecodeError) as error:
        accepts = "initial=1,factor=2,maximum=600,jitter=true, or some of these"
        raise click.BadParameter(f"{text!r}: expected {accepts}") from error


def _options(command: Any) -> Any:
    described: list[tuple[str, str, Any, str]] = [
        ("--queue", "NAME", str, "Instead of the task's own queue."),
        ("--priority", "0..9", _number, "9 is the most urgent."),
        ("--delay", "SECONDS", _number, "Not before that long from now."),
        ("--eta", "TIME", _moment, "Not before: ISO 8601 with a time zone."),
        ("--expires", "SECONDS|TIME", _number_or_moment, "Not started by then: expired."),
        ("--timeout", "SECONDS", _number, "For each run."),
        ("--deadline", "TIME", _moment, "For all runs: ISO 8601 with a time zone."),
        ("--retries", "N", _number, "Runs after an error."),
        ("--backoff", "VALUES", _backoff, "initial=1,factor=2,maximum=600,jitter=true"),
        ("--retention", "SECONDS", _number, "Keep the finished job that long."),
        ("--job-id", "ID", str, "Instead of a new one: refused while an unfinished job has it."),
        ("--durability", "WHICH", str, "default, replicated or fsynced: what the store confirms."),
    ]
    for flag, metavar, kind, text in reversed(described):
        command = click.option(flag, metavar=metavar, type=kind, help=text)(command)
    command = click.option(
        "--retry-on",
        metavar="CLASS",
        multiple=True,
        help="Only for these, builtins.OSError; repeat.",
    )(command)
    return click.option(
        "--header", "headers", metavar="KEY=VALUE", multiple=True, help="Travels along; repeat."
    )(command)


@click.command(
    # So that -5 can be an argument of the task; what is left over is judged in `_values`.
    context_settings={"ignore_unknown_options": True},
)
@click.argument("app", metavar="APP")
@click.argument("task", metavar="TASK")
@click.argument("words", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--kwargs", metavar="JSON", help="Arguments by name, one JSON object.")
@_options
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
    args, named = _values(words), _named(kwargs)
    options = {name: value for name, value in rest.items() if value not in (None, ())}
    if "headers" in options:
        options["headers"] = dict(_headers(options["headers"]))
    with connected(app, broker=broker, namespace=namespace) as found:
        job = found.enqueue(task, args=args, kwargs=named, **options)
        if not wait and wait_timeout is None:
            _submitted(job, task, wants_json)
            return Exit.OK
        return _waited(job, task, wait_timeout, wants_json)


def _values(words: Iterable[str]) -> tuple[Any, ...]:
    return tuple(_value(place, word) for place, word in enumerate(words, 1))


def _value(place: int, word: str) -> Any:
    try:
        return json.loads(word)
    except json.JSONDecodeError as error:
        if word.startswith("--"):
            known = [flag for p in enqueue.params for flag in p.opts if flag.startswith("--")]
            raise click.UsageError(f"no such option {word}: {nearest(word, known)}") from error
        raise click.UsageError(
            f"argument {place} is not JSON: {word} ({error.msg}). Text keeps its quotes:"
            f" '{json.dumps(word, ensure_ascii=False)}'"
        ) from error


def _named(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.UsageError(f"--kwargs is not JSON: {text} ({error.msg})") from error
    if not isinstance(found, dict):
        raise click.UsageError(f"--kwargs={text}: expected one JSON object, as in '{{\"a\": 1}}'")
    return found


def _headers(pairs: Iterable[str]) -> Iterable[tuple[str, str]]:
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise OptionError(f"--header={pair!r}: expected KEY=VALUE")
        yield key, value


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
