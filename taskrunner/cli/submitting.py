"""What is submitted, as words of a command line: arguments as JSON, and the options of a job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import click

from taskrunner.errors import OptionError
from taskrunner.naming import nearest
from taskrunner.retry import Backoff
from taskrunner.unique import Unique


def number(text: str) -> Any:
    """A whole number or a fraction; what is neither is left for the option itself to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def moment(text: str) -> Any:
    """A moment as ISO 8601; what is none is left for the option itself to refuse."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def number_or_moment(text: str) -> Any:
    """A duration or a moment; what is neither is left for the option itself to refuse."""
    found = number(text)
    return moment(text) if isinstance(found, str) else found


def _backoff(text: str) -> Backoff:
    """`initial=1,factor=2,maximum=600,jitter=true`, any of them."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return Backoff(**{name.strip(): json.loads(value) for name, _, value in pairs})
    except (TypeError, json.JSONDecodeError) as error:
        accepts = "initial=1,factor=2,maximum=600,jitter=true, or some of these"
        raise click.BadParameter(f"{text!r}: expected {accepts}") from error


_DESCRIBED: list[tuple[str, str, Any, str]] = [
    ("--queue", "NAME", str, "Instead of the task's own queue."),
    ("--priority", "0..9", number, "9 is the most urgent."),
    ("--delay", "SECONDS", number, "Not before that long from now."),
    ("--eta", "TIME", moment, "Not before: ISO 8601 with a time zone."),
    ("--expires", "SECONDS|TIME", number_or_moment, "Not started by then: expired."),
    ("--timeout", "SECONDS", number, "For each run."),
    ("--deadline", "TIME", moment, "For all runs: ISO 8601 with a time zone."),
    ("--retries", "N", number, "Runs after an error."),
    ("--backoff", "VALUES", _backoff, "initial=1,factor=2,maximum=600,jitter=true"),
    ("--retention", "SECONDS", number, "Keep the finished job that long."),
    ("--job-id", "ID", str, "Instead of a new one: refused while an unfinished job has it."),
    ("--unique-key", "KEY", str, "No second unfinished job with this key; implies --unique."),
    ("--unique-until", "WHEN", str, "finished or started: until then; implies --unique."),
    ("--unique-seconds", "SECONDS", number, "The key is free after that; implies --unique."),
    ("--on-conflict", "HOW", str, "reject, existing or replace; implies --unique."),
    ("--durability", "WHICH", str, "default, replicated or fsynced: what the store confirms."),
    ("--rate-limit", "RATE", str, "Starts per time: 100/s, 5/m, 1000/h, 100/s burst 20."),
    ("--rate-key", "KEY", str, "Counted by --rate-limit with the others of this key."),
    ("--max-running", "N", number, "Runs at once."),
    ("--running-key", "KEY", str, "Counted by --max-running with the others of this key."),
]


def job_options(command: Any) -> Any:
    """Gives a command every option of a job."""
    for flag, metavar, kind, text in reversed(_DESCRIBED):
        command = click.option(flag, metavar=metavar, type=kind, help=text)(command)
    command = click.option(
        "--retry-on",
        metavar="CLASS",
        multiple=True,
        help="Only for these, builtins.OSError; repeat.",
    )(command)
    command = click.option(
        "--give-up-on", metavar="CLASS", multiple=True, help="Not retried, whatever; repeat."
    )(command)
    command = click.option(
        "--unique/--not-unique",
        default=None,
        help="No second unfinished job with these arguments; or none of what the task declares.",
    )(command)
    return click.option(
        "--header", "headers", metavar="KEY=VALUE", multiple=True, help="Travels along; repeat."
    )(command)


def chosen(rest: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as `app.enqueue` takes them. Raises OptionError."""
    options = {name: value for name, value in rest.items() if value not in (None, ())}
    if "headers" in options:
        options["headers"] = dict(_pairs(options["headers"]))
    found = {name: options.pop(flag) for flag, name in _UNIQUE.items() if flag in options}
    if found:
        if options.get("unique") is False:
            raise OptionError(
                "--not-unique was given, and what a unique job is: expected one of them"
            )
        options["unique"] = Unique(**found)
    return options


_UNIQUE = {
    "unique_key": "key",
    "unique_until": "until",
    "unique_seconds": "seconds",
    "on_conflict": "on_conflict",
}
"""What a flag is called that says something of `unique`, and what that calls it."""


def values(words: Iterable[str], command: click.Command) -> tuple[Any, ...]:
    return tuple(_value(place, word, command) for place, word in enumerate(words, 1))


def _value(place: int, word: str, command: click.Command) -> Any:
    try:
        return json.loads(word)
    except json.JSONDecodeError as error:
        if word.startswith("--"):
            known = [flag for p in command.params for flag in p.opts if flag.startswith("--")]
            raise click.UsageError(f"no such option {word}: {nearest(word, known)}") from error
        raise click.UsageError(
            f"argument {place} is not JSON: {word} ({error.msg}). Text keeps its quotes:"
            f" '{json.dumps(word, ensure_ascii=False)}'"
        ) from error


def listed(text: str | None, option: str) -> list[Any]:
    """Arguments as one JSON array. Raises UsageError."""
    if text is None:
        return []
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.UsageError(f"{option} is not JSON: {text} ({error.msg})") from error
    if not isinstance(found, list):
        raise click.UsageError(f"{option}={text}: expected one JSON array, as in '[42, \"text\"]'")
    return found


def named(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.UsageError(f"--kwargs is not JSON: {text} ({error.msg})") from error
    if not isinstance(found, dict):
        raise click.UsageError(f"--kwargs={text}: expected one JSON object, as in '{{\"a\": 1}}'")
    return found


def _pairs(pairs: Iterable[str]) -> Iterable[tuple[str, str]]:
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise OptionError(f"--header={pair!r}: expected KEY=VALUE")
        yield key, value
