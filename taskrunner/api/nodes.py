"""Nodes and their processes over HTTP: who is there, how they are, and what they are told."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response

from taskrunner.access import Scope
from taskrunner.api.answers import to_json
from taskrunner.api.caller import Caller, Needs
from taskrunner.api.shapes import HealthShape, NodesShape, ToldShape
from taskrunner.brokers.base import NodeInfo
from taskrunner.errors import NodeNotFound
from taskrunner.inspector.health import NodeHealth, Prober

MOST_PATIENCE_S = 30.0

router = APIRouter(prefix="/v1", tags=["nodes"])
Reader = Annotated[Caller, Depends(Needs(Scope.READ))]
Admin = Annotated[Caller, Depends(Needs(Scope.ADMIN))]
Patience = Annotated[
    float, Query(ge=0.1, le=MOST_PATIENCE_S, allow_inf_nan=False, description="seconds")
]


@router.get("/nodes", response_model=NodesShape, summary="The nodes")
def nodes(caller: Reader) -> Response:
    """Supervisors, as they were at their last beat; of those that serve a queue in reach."""
    return to_json({"nodes": [_view(node, caller) for node in _visible(caller)]})


def _visible(caller: Caller) -> list[NodeInfo]:
    found = caller.inspector.nodes()
    if caller.identity.reaches_everything:
        return found
    return [node for node in found if any(caller.queues(node.queues))]


def _view(node: NodeInfo, caller: Caller) -> dict[str, Any]:
    known = asdict(node)
    return {
        "node": known.pop("id"),
        "last_beat_s": known.pop("seen_ago"),
        **known,
        "queues": sorted(caller.queues(node.queues)),
    }


@router.get("/nodes/health", response_model=HealthShape, summary="How the nodes are")
def health(caller: Reader, timeout: Patience = 5.0) -> Response:
    """Sends a probe to every node and its processes, along the road that jobs take, and names the hop that
    fails."""
    return _probed(caller, _visible(caller), timeout)


@router.get("/nodes/{node}/children", response_model=HealthShape, summary="A node's processes")
def children(node: str, caller: Reader, timeout: Patience = 5.0) -> Response:
    """The same for one node."""
    found = [one for one in _visible(caller) if one.id == node]
    if not found:
        raise NodeNotFound(f"there is no node {node!r}")
    return _probed(caller, found, timeout)


def _probed(caller: Caller, wanted: list[NodeInfo], timeout: float) -> Response:
    found = Prober(caller.app.broker).probe(wanted, timeout) if wanted else []
    return to_json({"nodes": [_health(one) for one in found]})


def _health(one: NodeHealth) -> dict[str, Any]:
    answer, fault = one.answer, one.fault
    return {
        "node": one.node.id,
        "host": one.node.host,
        "pid": one.node.pid,
        "healthy": fault is None,
        "fault": None if fault is None else {"hop": str(fault.hop), "text": fault.text},
        "round_trip_s": one.round_trip,
        "last_beat_s": one.node.seen_ago,
        "children": [child._asdict() for child in answer.children] if answer else [],
    }


@router.post("/nodes/{node}/{action}", response_model=ToldShape, summary="Tell a node something")
def control(
    node: str, action: Literal["grow", "shrink", "reload", "stop", "dump"], caller: Admin
) -> Response:
    """One process more, one fewer, new code, a good end, its state in its log: done a moment later."""
    caller.note(f"{action} node", target=node)
    found = [one for one in _visible(caller) if one.id == node]
    if not found:
        raise NodeNotFound(f"there is no node {node!r}")
    for queue in found[0].queues:
        # Others' jobs run there too.
        caller.must_reach(queue=queue)
    told = caller.inspector.control(node, action)
    return to_json({"node": told[0].id, "action": action})
