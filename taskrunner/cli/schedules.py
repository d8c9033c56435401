"""`schedules`: what submits jobs again and again, and everything one does with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import ago, complain, confirmed, local, say, show_json, show_table
from taskrunner.cli.submitting import chosen, job_options, moment, named, number, values
from taskrunner.cron import Effect
from taskrunner.scheduleinfo import Firing, ScheduleInfo
from taskrunner.schedules import RULE_NAMES
from taskrunner.zones import in_zone, zone_of

F = TypeVar("F", bound=Callable[..., Any])

_EFFECTS: Final = {
    Effect.NONE: "",
    Effect.MISSING: "its local time does not exist on that day: at the end of the gap",
    Effect.FIRST: "its local time comes twice on that day: the first time",
    Effect.SECOND: "its local time comes twice on that day: the second time",
}
_OF_RULE: Final[Sequence[tuple[str, str, Any, str]]] = (
    ("--cron", "EXPRESSION", str, "minute hour day month weekday, and perhaps second and year."),
    ("--every", "SECONDS", number, "Instead of --cron."),
    ("--timezone", "NAME", str, "Of the expression, such as Europe/Berlin. [default: UTC]"),
    (
        "--start",
        "TIME",
        moment,
        "Nothing before: ISO 8601 with a time zone; --every counts from it.",
    ),
    ("--end", "TIME", moment, "Nothing after."),
    ("--jitter", "SECONDS", number, "Put each job off by a part of it, always the same one."),
    ("--catch-up", "none|latest|all", str, "Which of those that were missed. [default: latest]"),
    ("--max-catch-up", "N", number, "With all: the newest N at most. [default: 100]"),
    ("--overlap", "allow|skip", str, "While the last job is unfinished. [default: allow]"),
)


def _rule_options(command: F) -> F:
    for flag, metavar, kind, text in reversed(_OF_RULE):
        command = click.option(flag, metavar=metavar, type=kind, help=text)(command)
    return command


def _common(command: F) -> F:
    """Where the schedules are, and how to show them."""
    for option in (json_option, broker_options, app_option):
        command = option(command)
    return command


def _named(command: F) -> F:
    return _common(click.argument("name", metavar="NAME")(command))


@click.group(invoke_without_command=True)
@_common
@click.pass_context
def schedules(
    context: click.Context,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> None:
    """Show the schedules of a namespace: when each falls due next, and what became of its last job.

    The commands below change them, and look closer; each has options of its own.
    """
    if context.invoked_subcommand is None:
        _list(target, broker, namespace, wants_json)


@schedules.command("list")
@_common
def list_(target: str | None, broker: str | None, namespace: str | None, wants_json: bool) -> None:
    """The same as `schedules` alone."""
    _list(target, broker, namespace, wants_json)


def _list(target: str | None, broker: str | None, namespace: str | None, wants_json: bool) -> None:
    with connected(target, broker=broker, namespace=namespace) as app:
        found = app.schedules.list()
        now = in_zone(app.broker.now(), zone_of("UTC"))
        where = app.config.namespace
    if wants_json:
        show_json(found)
    elif not found:
        complain(f"there are no schedules in the namespace {where}")
    else:
        rows = [[one.name, one.task or "", _when(one), *_standing(one, now)] for one in found]
        show_table(["schedule", "task", "when", "next", "last"], rows)
        _complain_of(found)


def _when(one: ScheduleInfo) -> str:
    if one.every is not None:
        return f"every {one.every:g} s"
    return f"{one.cron} {one.timezone}" if one.cron else ""


def _standing(one: ScheduleInfo, now: Any) -> tuple[str, str]:
    """Its next and its last run, in words."""
    if one.problem is not None:
        coming = "cannot be followed"
    elif one.paused:
        coming = "paused"
    elif not one.stored:
        coming = "not in effect yet"
    else:
        coming = "never again" if one.next is None else ago(one.next, now)
    last = "never" if one.last is None else f"{ago(one.last.at, now)}: {one.last.outcome}"
    return coming, last


def _complain_of(found: Sequence[ScheduleInfo]) -> None:
    for one in found:
        if one.problem is not None:
            complain(f"taskrunner: {one.name}: {one.problem}")
        if one.waiting:
            jobs = "1 job waits" if one.waiting == 1 else f"{one.waiting} jobs wait"
            complain(f"taskrunner: {one.name}: {jobs}, since no node there knows {one.task}")


@schedules.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", metavar="NAME")
@click.argument("task", metavar="TASK")
@click.argument("words", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--kwargs", metavar="JSON", help="Arguments by name, one JSON object.")
@_rule_options
@job_options
@click.option("--replace", is_flag=True, help="Change the schedule of that name.")
@_common
def add(  # noqa: PLR0913  as many as click hands over
    name: str,
    task: str,
    words: tuple[str, ...],
    kwargs: str | None,
    replace: bool,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
    **rest: Any,
) -> None:
    """Add a schedule, or with --replace change it: in effect on all nodes within a second.

    TASK is the task's name. With --app the task, its own options and the arguments are those of that
    App; without one they are not looked at. ARGS are JSON values, as for `enqueue`.
    """
    args, by_name = values(words, add), named(kwargs)
    said = chosen(rest)
    with connected(target, broker=broker, namespace=namespace) as app:
        made = app.schedules.add(name, task, args, by_name, replace=replace, **said)
    if wants_json:
        show_json(made)
    else:
        say(f"{name}: next {local(made.next) or 'never'}")


@schedules.command()
@_named
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(
    name: str,
    yes: bool,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> int:
    """Forget a schedule. What it has submitted goes on."""
    if not confirmed(f"Remove the schedule {name}?", yes):
        return Exit.REFUSED
    with connected(target, broker=broker, namespace=namespace) as app:
        was_there = app.schedules.remove(name)
    if wants_json:
        show_json({"name": name, "removed": was_there})
    elif was_there:
        say("removed")
    else:
        complain(f"taskrunner: there is no schedule {name!r}")
    return Exit.OK if was_there else Exit.NOT_FOUND


@schedules.command()
@_named
def pause(
    name: str, target: str | None, broker: str | None, namespace: str | None, wants_json: bool
) -> None:
    """Let it submit nothing until it is resumed."""
    with connected(target, broker=broker, namespace=namespace) as app:
        app.schedules.pause(name)
    _changed(name, "paused", wants_json)


@schedules.command()
@_named
def resume(
    name: str, target: str | None, broker: str | None, namespace: str | None, wants_json: bool
) -> None:
    """Let it go on from now: what would have been in the pause was not missed."""
    with connected(target, broker=broker, namespace=namespace) as app:
        app.schedules.resume(name)
    _changed(name, "resumed", wants_json)


def _changed(name: str, what: str, wants_json: bool) -> None:
    if wants_json:
        show_json({"name": name, "done": what})
    else:
        say(what)


@schedules.command()
@_named
def trigger(
    name: str, target: str | None, broker: str | None, namespace: str | None, wants_json: bool
) -> None:
    """Submit its job now, also while it is paused; prints the job's id."""
    with connected(target, broker=broker, namespace=namespace) as app:
        job = app.schedules.trigger(name)
    if wants_json:
        show_json({"id": job.id, "queue": job.queue, "schedule": name})
    else:
        say(job.id)


@schedules.command()
@_named
@click.option("--count", type=int, default=10, help="How many. [default: 10]")
@click.option("--after", metavar="TIME", type=moment, help="ISO 8601 with a time zone.")
def preview(
    name: str,
    count: int,
    after: Any,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> None:
    """Show its next slots, and what a change of the clocks does to them."""
    with connected(target, broker=broker, namespace=namespace) as app:
        slots = app.schedules.forecast(name, count, after)
        now = in_zone(app.broker.now(), zone_of("UTC"))
    if wants_json:
        show_json(slots)
    elif not slots:
        complain(f"taskrunner: {name} never falls due after that")
    else:
        has_jitter = any(slot.starts != slot.at for slot in slots)
        rows = [
            [slot.at.isoformat(), ago(slot.at, now)]
            + [slot.starts.isoformat(timespec="milliseconds")] * has_jitter
            + [_EFFECTS[slot.effect]]
            for slot in slots
        ]
        show_table(["slot", "", *["submitted"] * has_jitter, ""], rows)


@schedules.command()
@_named
@click.option("--count", type=int, default=20, help="How many at most. [default: 20]")
def history(
    name: str,
    count: int,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> None:
    """Show its newest firings, the newest first, and what became of their jobs."""
    with connected(target, broker=broker, namespace=namespace) as app:
        found = app.schedules.history(name, count)
    if wants_json:
        show_json(found)
    elif not found:
        complain(f"taskrunner: {name} was not fired yet")
    else:
        show_table(["slot", "fired", "job", "outcome"], [_row(one) for one in found])


def _row(one: Firing) -> list[str]:
    slot = "by hand" if one.slot is None else one.slot.isoformat()
    return [slot, local(one.at), one.job_id or "", one.outcome]


assert {flag[2:].replace("-", "_") for flag, *_ in _OF_RULE} == set(RULE_NAMES)
