"""`pause`, `resume` and `limits`: what holds jobs back, seen and changed while nodes go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from taskrunner.brokers.base import LimitState
from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.output import complain, in_words, say, show_json, show_table
from taskrunner.cli.submitting import number
from taskrunner.limitbook import as_map, scope_of
from taskrunner.limits import NONE, Limit, ScopeKind

F = TypeVar("F", bound=Callable[..., Any])


def _scope_options(command: F) -> F:
    command = click.option("--key", metavar="KEY", help="Only the jobs of this key.")(command)
    return click.option("--task", metavar="NAME", help="Only the jobs of this task.")(command)


def _where(command: F) -> F:
    return _scope_options(app_option(broker_options(command)))


@click.command()
@click.argument("queue")
@click.option(
    "--for",
    "seconds",
    metavar="SECONDS",
    type=number,
    help="End by itself after so long. [default: when it is resumed]",
)
@_where
def pause(queue: str, seconds: Any, task: str | None, key: str | None, **where: Any) -> None:
    """Start no more jobs of QUEUE on any node; they are kept, and what runs goes on."""
    with connected(where.pop("target"), **where) as app:
        app.limits.pause(queue, task=task, key=key, seconds=seconds)
    until = f"for {in_words(seconds)}" if seconds is not None else "until it is resumed"
    say(f"{_named(queue, task, key)} is paused {until}")


@click.command()
@click.argument("queue")
@_where
def resume(queue: str, task: str | None, key: str | None, **where: Any) -> None:
    """Start the jobs of QUEUE again."""
    with connected(where.pop("target"), **where) as app:
        was_paused = app.limits.resume(queue, task=task, key=key)
    if was_paused:
        say(f"{_named(queue, task, key)} goes on")
    else:
        complain(f"{_named(queue, task, key)} was not paused")


@click.group()
def limits() -> None:
    """Show, set and remove limits: how many jobs may start in a time, how many run at once.

    What is set is kept in the broker, holds on all nodes and acts at once, also on jobs that wait;
    it outranks what the code declares until it is removed.
    """


@limits.command("list")
@click.option("--queue", metavar="NAME", help="Only this one.")
@app_option
@broker_options
@json_option
def list_(queue: str | None, target: str | None, wants_json: bool, **where: Any) -> None:
    """Show what was declared, set and paused, and how it is now."""
    with connected(target, **where) as app:
        found = app.limits.list(queue)
    if wants_json:
        show_json([as_map(state) for state in found])
    elif not found:
        complain("no limits were declared or set, and nothing is paused")
    else:
        _show(found)


@limits.command("set")
@click.argument("queue")
@click.option("--rate", metavar="RATE", help='Starts per time: "100/s", "5/m burst 10"; or none.')
@click.option(
    "--max-running", metavar="N", type=number, help="Runs at once, on all nodes; or none."
)
@_where
def set_(
    queue: str, rate: str | None, max_running: Any, task: str | None, key: str | None, **where: Any
) -> None:
    """Hold the jobs of QUEUE, of a task there or of a key there by a limit.

    What is not given is as the code declares it; "none" lifts that.
    """
    with connected(where.pop("target"), **where) as app:
        app.limits.set(queue, task=task, key=key, rate=rate, max_running=max_running)
        state = app.limits.get(queue, task=task, key=key)
    say(f"{_named(queue, task, key)}: {_words(state.holds) or 'no limit'}")


@limits.command("remove")
@click.argument("queue")
@_where
def remove(queue: str, task: str | None, key: str | None, **where: Any) -> None:
    """Hold the jobs of QUEUE, of a task there or of a key there by what the code declares."""
    with connected(where.pop("target"), **where) as app:
        was_set = app.limits.remove(queue, task=task, key=key)
        state = app.limits.get(queue, task=task, key=key)
    if not was_set:
        complain(f"nothing was set for {_named(queue, task, key)}")
    say(f"{_named(queue, task, key)}: {_words(state.holds) or 'no limit'}")


def _named(queue: str, task: str | None, key: str | None) -> str:
    scope = scope_of(task, key)
    if scope.kind is ScopeKind.QUEUE:
        return f"queue {queue}"
    return f"{scope.kind} {scope.name} in queue {queue}"


def _words(limit: Limit | None) -> str:
    if limit is None:
        return ""
    rate = "no rate" if limit.rate == NONE else limit.rate
    most = "any number at once" if limit.max_running == NONE else None
    if most is None and limit.max_running is not None:
        most = f"{limit.max_running} at once"
    return ", ".join(str(part) for part in (rate, most) if part is not None)


def _show(found: Sequence[LimitState]) -> None:
    rows = [
        [
            state.queue,
            str(state.scope),
            _words(state.declared),
            _words(state.set),
            _now(state),
            state.running,
            state.waiting,
        ]
        for state in found
    ]
    show_table(["queue", "scope", "declared", "set", "now", "running", "waiting"], rows)


def _now(state: LimitState) -> str:
    if state.problem:
        return f"holds everything: {state.problem}"
    if state.is_paused:
        return "paused" if state.paused_for is None else f"paused for {in_words(state.paused_for)}"
    if state.opens_in:
        return f"next start in {state.opens_in:.3g} s"
    return ""
