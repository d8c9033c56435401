"""A probe seen by whoever sends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from taskrunner.brokers.base import COMMANDS_KEPT, Command, NodeInfo
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.inspector.health import NodeHealth, Prober
from taskrunner.probes import ChildAnswer, ChildState, Hop, NodeAnswer

LEASE = 60.0
FINE = NodeAnswer(is_final=True, children=(ChildAnswer(1, 11, ChildState.ANSWERED, 0.01),))

Node = Callable[[Command], None]


class Store(MemoryBroker):
    """Passes what is sent to a node straight on to it."""

    def __init__(self) -> None:
        super().__init__()
        self.does: dict[str, Node] = {}
        self.error: Exception | None = None

    def node(self, node_id: str, does: Node = lambda _: None) -> None:
        self.join(NodeInfo(node_id, lease=LEASE), [])
        self.does[node_id] = does

    def answers(self, node_id: str, *answers: NodeAnswer | bytes) -> None:
        """A node that puts these into the store, one over the other."""

        def answer(command: Command) -> None:
            for one in answers:
                value = one if isinstance(one, bytes) else one.pack()
                self.put_record(command.details["to"], node_id, value, ttl=60.0)

        self.node(node_id, answer)

    def send(self, node: str, command: Command) -> bool:
        known = super().send(node, command)
        if known:
            self.does[node](command)
        return known


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    assert all(not kept for kept in store._records._kinds.values()), "records were left behind"


def probe(store: Store, timeout: float = 0.2) -> dict[str, NodeHealth]:
    return {one.node.id: one for one in Prober(store).probe(store.nodes(), timeout)}


def hop(found: NodeHealth) -> Hop | None:
    return None if found.fault is None else found.fault.hop


def test_every_node_is_asked_at_once_and_answers_for_itself(store: Store) -> None:
    store.answers("n1", NodeAnswer(), FINE)
    busy = FINE.children[0]._replace(state=ChildState.BUSY)
    store.answers("n2", NodeAnswer(is_final=True, children=(*FINE.children, busy)))
    found = probe(store, timeout=20.0)
    assert [hop(one) for one in found.values()] == [None, None]
    assert all(one.round_trip is not None and one.round_trip < 20 for one in found.values())
    assert found["n2"].count(ChildState.BUSY) == 1
    assert found["n2"].count(ChildState.BUSY, ChildState.ANSWERED) == 2


def test_the_details_say_how_long_the_node_may_wait(store: Store) -> None:
    seen: list[Command] = []
    store.node("n1", seen.append)
    probe(store, timeout=0.1)
    assert seen[0].details["patience"] == pytest.approx(0.08)


def test_a_node_that_does_not_answer_keeps_nobody_from_answering(store: Store) -> None:
    store.node("deaf")
    store.answers("stuck", NodeAnswer())
    store.answers("fine", FINE)
    store.answers("newer", b"what nobody can read")
    found = probe(store)
    assert {name: hop(one) for name, one in found.items()} == {
        "deaf": Hop.SUPERVISOR,
        "stuck": Hop.MAIN,
        "fine": None,
        "newer": Hop.SUPERVISOR,
    }
    assert found["deaf"].round_trip is None


def test_a_node_that_beats_and_does_not_answer(store: Store) -> None:
    def beat(_: Command) -> None:
        store.set_skew(0.0)
        store.beat(NodeInfo("n1", LEASE), [])

    store.set_skew(-10.0)
    store.node("n1", beat)
    assert hop(probe(store)["n1"]) is Hop.FETCH


def test_a_node_whose_lease_has_run_out(store: Store) -> None:
    store.node("n1")
    store.set_skew(LEASE + 1.0)
    assert hop(probe(store)["n1"]) is Hop.LEASE


def test_a_node_that_leaves_meanwhile(store: Store) -> None:
    store.node("n1", lambda _: store.leave("n1", []))
    found = probe(store)["n1"]
    assert hop(found) is Hop.LEASE
    assert "it is gone" in found.fault.text  # type: ignore[union-attr]


def test_a_node_that_is_sent_too_much(store: Store) -> None:
    store.node("n1")
    for n in range(COMMANDS_KEPT):
        store.send("n1", Command(f"c{n}", "dump"))
    assert hop(probe(store)["n1"]) is Hop.FETCH


def test_a_broker_that_goes_away_meanwhile(store: Store) -> None:
    def lose(_: Command) -> None:
        raise BrokerUnavailable("gone")

    store.node("n1", lose)
    with pytest.raises(BrokerUnavailable, match="gone"):
        probe(store)
