"""What is wrong with a node, by what came back."""

from __future__ import annotations

import pytest

from taskrunner.probes import ChildAnswer, ChildState, Fault, Hop, NodeAnswer, diagnose

FINE = ChildAnswer(1, 11, ChildState.ANSWERED, 0.01)


def answer(*children: ChildAnswer, **fields: object) -> NodeAnswer:
    return NodeAnswer(is_final=True, children=children or (FINE,), **fields)  # type: ignore[arg-type]


def judged(found: NodeAnswer | None, *, beaten: float = 1.0) -> Fault | None:
    return diagnose(found, waited=5.0, beaten=beaten, lease=15.0)


def test_an_answer_is_read_as_it_was_packed() -> None:
    busy = ChildAnswer(2, 12, ChildState.BUSY, 0.5, 3.25)
    found = answer(FINE, busy, inside=0.25, failing=("lease",), dead=("settle",), other_way=True)
    assert NodeAnswer.unpack(found.pack()) == found
    assert NodeAnswer.unpack(NodeAnswer().pack()) == NodeAnswer()


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x80", b"\x01", b"\x93abc"])
def test_what_cannot_be_read_is_no_answer(garbage: bytes) -> None:
    assert NodeAnswer.unpack(garbage) is None


@pytest.mark.parametrize("state", [ChildState.ANSWERED, ChildState.BUSY])
def test_a_node_whose_children_answer_or_work_is_healthy(state: ChildState) -> None:
    children = (FINE._replace(state=state), FINE._replace(state=ChildState.STARTING))
    assert judged(answer(*children)) is None
    assert judged(answer(*children, failing=("scheduler",))) is None


@pytest.mark.parametrize(
    ("found", "beaten", "hop", "text"),
    [
        (None, 20.0, Hop.LEASE, "its last beat came 20.0 s ago"),
        (None, 6.0, Hop.SUPERVISOR, "may be stopped"),
        (None, 2.0, Hop.FETCH, "it goes on beating"),
        (NodeAnswer(), 1.0, Hop.MAIN, "did nothing about it"),
        (answer(other_way=True), 1.0, Hop.SETTLE, "what children report"),
        (answer(dead=("settle",), other_way=True), 1.0, Hop.SETTLE, "settle thread has ended"),
        (answer(dead=("fetch",)), 1.0, Hop.FETCH, "fetch thread has ended"),
        (answer(dead=("lease",)), 1.0, Hop.SERVICE, "lease thread has ended"),
        (NodeAnswer(is_final=True), 1.0, Hop.CHILD, "no child is ready"),
        (answer(FINE._replace(state=ChildState.STARTING)), 1.0, Hop.CHILD, "no child is ready"),
        (
            answer(FINE, ChildAnswer(2, 12, ChildState.SILENT, 4.0, 60.0)),
            1.0,
            Hop.CHILD,
            "child 2 (pid 12) is silent: it read nothing from its pipe within 4.0 s; it has run a job",
        ),
        (answer(ChildAnswer(2, 12, ChildState.STUCK, 4.0)), 1.0, Hop.CHILD, "is stuck"),
    ],
)
def test_the_hop_that_failed_is_named(
    found: NodeAnswer | None, beaten: float, hop: Hop, text: str
) -> None:
    fault = judged(found, beaten=beaten)
    assert fault is not None
    assert fault.hop is hop
    assert text in fault.text
    assert "\n" not in fault.text
