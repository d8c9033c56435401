"""`nodes` and `control`: the supervisors of a namespace, and what they are told."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from taskrunner.brokers.base import NodeInfo
from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import complain, say, show_json, show_table
from taskrunner.inspector import Inspector
from taskrunner.inspector.nodes import Action

_ACTIONS = "|".join(Action)


@click.command()
@app_option
@broker_options
@json_option
def nodes(target: str | None, broker: str | None, namespace: str | None, wants_json: bool) -> None:
    """Show the nodes of a namespace: supervisors that have beaten within their lease or a little
    longer, as they were at their last beat."""
    with connected(target, broker=broker, namespace=namespace) as app:
        found = Inspector(app).nodes()
        where = app.config.namespace
    if wants_json:
        show_json([_as_map(node) for node in found])
    elif not found:
        complain(f"there are no nodes in the namespace {where}")
    else:
        headings = ("node", "host", "pid", "processes", "busy", "queues", "version", "beat s ago")
        show_table(headings, [_row(node) for node in found])


def _row(node: NodeInfo) -> list[Any]:
    queues = ",".join(sorted(node.queues))
    size = (node.processes, node.busy)
    return [node.id, node.host, node.pid, *size, queues, node.version, f"{node.seen_ago:.1f}"]


def _as_map(node: NodeInfo) -> dict[str, Any]:
    known = asdict(node)
    last = known.pop("seen_ago")
    return {"node": known.pop("id"), **known, "queues": sorted(node.queues), "last_beat_s": last}


@click.command()
@click.argument("words", metavar=f"[NODE] {_ACTIONS}", nargs=-1, required=True)
@click.option("--all", "wants_all", is_flag=True, help="Tell every node.")
@app_option
@broker_options
@json_option
def control(
    words: tuple[str, ...],
    wants_all: bool,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> int:
    """Tell a node, or with --all every one, to do something: NODE is its id or how that begins.

    \b
    grow     one worker process more
    shrink   one fewer; what it runs it finishes
    reload   new code, in new processes, without a gap
    stop     take no more, finish what runs, end; told again, without waiting
    dump     log its state

    It is done a moment later; the node's log says what came of it.
    """
    name, action = _parsed(words, wants_all)
    with connected(target, broker=broker, namespace=namespace) as app:
        inspector = Inspector(app)
        told = inspector.control(name, action)
        where = app.config.namespace
    if wants_json:
        show_json([{"node": node.id, "action": action} for node in told])
    for node in [] if wants_json else told:
        say(f"{node.id} ({node.host}, pid {node.pid}) was told to {action}")
    if not told:
        complain(f"there are no nodes in the namespace {where}")
        return Exit.NOT_FOUND
    return Exit.OK


def _parsed(words: tuple[str, ...], wants_all: bool) -> tuple[str | None, Action]:
    wanted = 1 if wants_all else 2
    if len(words) != wanted:
        form = f"--all {_ACTIONS}" if wants_all else f"NODE {_ACTIONS}, or --all"
        raise click.UsageError(f"expected {form}")
    *names, action = words
    if action not in list(Action):
        raise click.UsageError(f"{action!r} is nothing that a node does: expected {_ACTIONS}")
    return (names[0] if names else None), Action(action)
