"""`check`: load everything, say where each setting comes from, start nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from taskrunner.app import App
from taskrunner.cli.connect import broker_options, json_option, ping, settle
from taskrunner.cli.output import as_json, say, show_json, show_table
from taskrunner.config import SETTING_NAMES, Config
from taskrunner.task import DEFAULT_QUEUE
from taskrunner.timeline import Rule


@click.command()
@click.argument("app", metavar="APP")
@broker_options
@click.option(
    "--ping",
    "wants_ping",
    is_flag=True,
    help="Ask the broker and the result backend for an answer.",
)
@json_option
def check(
    app: str, broker: str | None, namespace: str | None, wants_ping: bool, wants_json: bool
) -> None:
    """Load APP and its settings; print each with where it comes from, the tasks and the schedules.

    Starts nothing; without --ping nothing is connected to either.
    """
    found = settle(app, {"broker": broker, "namespace": namespace})
    try:
        if wants_ping:
            ping(found)
        if wants_json:
            show_json(_as_map(found, wants_ping))
        else:
            _show(found, wants_ping)
    finally:
        found.close()


def _as_map(app: App, answered: bool) -> dict[str, Any]:
    config = app.config
    return {
        "settings": {
            name: {"value": config.shown(name), "source": config.source(name)}
            for name in SETTING_NAMES
        },
        "tasks": {
            name: {"queue": _queue(app, name), "async": task.is_async}
            for name, task in sorted(app.tasks.items())
        },
        "schedules": {
            name: {"task": one.template.task, "queue": one.queue, **asdict(one.rule)}
            for name, one in sorted(app.schedules.judged().items())
        },
        # Not asked is not the same as not there.
        "broker_answers": True if answered else None,
    }


def _queue(app: App, task: str) -> str:
    return app.tasks[task].declared.queue or DEFAULT_QUEUE


def _show(app: App, answered: bool) -> None:
    config = app.config
    rows = [(name, _in_words(config, name), config.source(name)) for name in SETTING_NAMES]
    show_table(("setting", "value", "from"), rows)
    say("")
    if app.tasks:
        tasks = [(name, _queue(app, name)) for name in sorted(app.tasks)]
        show_table(("task", "queue"), tasks)
    else:
        say("no tasks are declared")
    if schedules := sorted(app.schedules.judged().items()):
        say("")
        show_table(
            ("schedule", "task", "when"),
            [(name, one.template.task, _when(one.rule)) for name, one in schedules],
        )
    if answered:
        say(f"\nthe broker {config.shown('broker')} answers")


def _when(rule: Rule) -> str:
    return f"every {rule.every:g} s" if rule.every is not None else f"{rule.cron} {rule.timezone}"


_NONE_MEANS = {
    "backend": "the broker keeps results",
    "queues": "every queue",
    "prefetch": "auto",
}


def _in_words(config: Config, name: str) -> str:
    value = config.shown(name)
    if value is None:
        return _NONE_MEANS.get(name, "none")
    if name in ("encryption_keys", "signing_keys"):
        return ", ".join(value) or "none"
    if value == ():
        return "none"
    if name == "queues":
        return ",".join(f"{queue}={weight}" for queue, weight in value)
    return value if isinstance(value, str) else as_json(value)
