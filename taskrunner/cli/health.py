"""`health`: a probe along the road that jobs take, to each node, and the hop that fails."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import click

from taskrunner.brokers.base import NodeInfo
from taskrunner.cli.connect import app_option, broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import complain, show_json, show_table
from taskrunner.inspector.health import NodeHealth, Prober
from taskrunner.probes import ChildState

_HEADINGS = (
    "node",
    "host",
    "pid",
    "answered",
    "busy",
    "silent",
    "round trip ms",
    "broker ms",
    "health",
)


@click.command()
@click.option("--node", "node_id", metavar="ID", help="Only this one; its first characters do.")
@click.option("--here", is_flag=True, help="Only those of this machine, or container.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600.0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for answers.",
)
@app_option
@broker_options
@json_option
def health(
    node_id: str | None,
    here: bool,
    timeout: float,
    target: str | None,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
) -> int | None:
    """Send a probe through the broker to every node and its processes, and back.

    A process that runs a job cannot answer and need not: it is busy. Where a probe does not come
    back, the hop that failed is named.
    """
    with connected(target, broker=broker, namespace=namespace) as app:
        nodes = _wanted(app.broker.nodes(), node_id or "", socket.gethostname() if here else None)
        found = Prober(app.broker).probe(nodes, timeout) if nodes else []
        where = app.config.namespace
    if wants_json:
        show_json([_as_map(one) for one in found])
    if not nodes:
        which = f" {node_id!r}" if node_id else ""
        place = " of this machine" if here else ""
        complain(f"there is no node{which}{place} in the namespace {where}")
        return Exit.NOT_FOUND
    if not wants_json:
        show_table(_HEADINGS, [_row(one) for one in found])
    for one in found:
        if one.fault is not None:
            complain(f"node {one.node.id}: {one.fault.hop}: {one.fault.text}")
    return Exit.UNHEALTHY if any(one.fault for one in found) else None


def _wanted(nodes: Sequence[NodeInfo], prefix: str, host: str | None) -> list[NodeInfo]:
    found = [n for n in nodes if n.id.startswith(prefix) and host in (None, n.host)]
    return sorted(found, key=lambda node: (node.host, node.pid))


def _row(one: NodeHealth) -> list[Any]:
    return [
        one.node.id,
        one.node.host,
        one.node.pid,
        one.count(ChildState.ANSWERED),
        one.count(ChildState.BUSY),
        one.count(ChildState.SILENT, ChildState.STUCK),
        "" if one.round_trip is None else f"{1000 * one.round_trip:.1f}",
        f"{1000 * one.broker:.1f}",
        "ok" if one.fault is None else str(one.fault.hop),
    ]


def _as_map(one: NodeHealth) -> dict[str, Any]:
    answer, fault = one.answer, one.fault
    return {
        "node": one.node.id,
        "host": one.node.host,
        "pid": one.node.pid,
        "healthy": fault is None,
        "fault": None if fault is None else {"hop": str(fault.hop), "text": fault.text},
        "round_trip_s": one.round_trip,
        "broker_s": one.broker,
        "inside_s": answer.inside if answer is not None and answer.is_final else None,
        "children": [child._asdict() for child in answer.children] if answer else [],
        "failing": answer.failing if answer else (),
        "last_beat_s": one.node.seen_ago,
    }
