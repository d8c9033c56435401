"""Jobs that come with a bell: each is taken once, or given back once, and never both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from taskrunner.brokers.base import (
    Bell,
    BellKind,
    Delivery,
    Fetched,
    JobKey,
    Mailbox,
    Take,
)
from taskrunner.errors import BrokerUnavailable
from taskrunner.message import Header, Message
from taskrunner.supervisor.handover import REMEMBERED, Handover
from tests.unit.supervisor.one_part import OnePart, SickBroker

WIRE = Message("id", "q", Header("t"), b"").wire


def delivery(number: int, job_id: str = "a", node: str = "n1") -> Delivery:
    return Delivery("q", job_id, node, number, WIRE, 0, 0, 0, 0, None, None)


def bell(found: Delivery) -> Bell:
    return Bell(BellKind.HANDED, found.queue, found.id, found)


# -- the book


class Taken:
    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.book = Handover(self._accept)

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        self.numbers += [found.number for found in deliveries]


def test_a_job_is_taken_once() -> None:
    taken = Taken()
    for _ in range(2):
        taken.book.take(delivery(7))
    assert taken.numbers == [7]
    assert taken.book.fresh([delivery(7), delivery(8)]) == [delivery(8)]


def test_what_a_repeated_fetch_has_brought_no_bell_brings_again() -> None:
    taken = Taken()
    assert taken.book.fresh([delivery(7)]) == [delivery(7)]
    taken.book.take(delivery(7))
    assert taken.numbers == []


def test_what_is_given_back_is_not_taken_any_more() -> None:
    taken = Taken()
    key = JobKey("q", "a")
    assert taken.book.strays([(key, 7), (key, 8)], lambda: {8}) == [(key, 7)]
    taken.book.take(delivery(7))
    assert taken.numbers == []
    taken.book.take(delivery(8))
    assert taken.numbers == [8]


def test_what_has_been_taken_is_ours_when_strays_are_sought() -> None:
    """It is in the dispatcher's hands before anybody asks what is."""
    taken = Taken()
    taken.book.take(delivery(7))
    assert taken.book.strays([(JobKey("q", "a"), 7)], lambda: set(taken.numbers)) == []


def test_the_book_does_not_grow_for_ever() -> None:
    taken = Taken()
    for number in range(REMEMBERED + 10):
        taken.book.take(delivery(number))
    assert len(taken.book._known) == REMEMBERED


# -- the fetch thread


class Ear(Mailbox):
    """Rings these bells, once."""

    def __init__(self) -> None:
        self.bells: list[Bell] = []

    def wait(self, timeout: float) -> list[Bell]:
        rung, self.bells = self.bells, []
        return rung

    def wake(self) -> None: ...

    def close(self) -> None: ...


class Handed(OnePart):
    """A node whose broker hands over; `taken` are the deliveries that it accepted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, room: int = 1) -> None:
        can = replace(SickBroker.capabilities, hands_over=True)
        monkeypatch.setattr(SickBroker, "capabilities", can)
        super().__init__()
        self.ear = Ear()
        self.room = room
        self.taken: list[Delivery] = []
        self.plans: list[list[Take]] = []
        self.answers: list[Fetched | Exception] = []
        monkeypatch.setattr(self.broker, "open_mailbox", lambda _name: self.ear)
        monkeypatch.setattr(self.broker, "fetch", self._fetch)
        monkeypatch.setattr(self.parts.dispatcher, "room", lambda _queue: self.room)
        monkeypatch.setattr(self.parts.dispatcher, "accept", self.taken.extend)

    def _fetch(self, _node: str, plan: list[Take], _first: int) -> Fetched:
        self.plans.append(plan)
        answer = self.answers.pop(0) if self.answers else Fetched([], {"q": 0})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def turn(self, *bells: Bell) -> None:
        self.ear.bells += bells
        self.parts.fetch.run_once()


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Handed:
    made = Handed(monkeypatch)
    made.turn()  # it asks for the first time, and has nothing
    return made


def test_it_says_that_it_may_be_handed_jobs(node: Handed) -> None:
    assert node.plans == [[Take("q", 1, slots=0, hands=True)]]


def test_where_the_broker_cannot_do_that_it_does_not_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = OnePart()
    plans: list[list[Take]] = []

    def fetch(_node: str, plan: list[Take], _first: int) -> Fetched:
        plans.append(plan)
        return Fetched([], {})

    monkeypatch.setattr(part.parts.dispatcher, "room", lambda _queue: 1)
    monkeypatch.setattr(part.broker, "fetch", fetch)
    part.parts.fetch.run_once()
    part.parts.fetch.stop()
    assert plans == [[Take("q", 1, slots=0)]]


def test_what_a_bell_brings_is_taken_and_more_is_asked_for(node: Handed) -> None:
    found = delivery(1, node=node.id)
    node.turn(bell(found))
    assert node.taken == [found]
    node.turn()
    assert len(node.plans) == 2


def test_what_is_not_for_this_node_is_left_alone(node: Handed) -> None:
    node.turn(bell(delivery(1, node="what it was called before")))
    assert node.taken == []


def test_what_there_is_no_room_for_goes_back_at_once(node: Handed) -> None:
    node.enqueue("a")
    (found,) = SickBroker.fetch(node.broker, node.id, [Take("q", 1)], 50).deliveries
    node.room = 0
    node.turn(bell(found))
    node.parts.settle.run_once()
    assert node.taken == []
    assert node.state("a") == "pending"


def test_a_fetch_that_had_to_be_repeated_takes_nothing_twice(node: Handed) -> None:
    found, other = delivery(1, node=node.id), delivery(2, "b", node=node.id)
    node.turn(bell(found))
    node.answers += [BrokerUnavailable("gone"), Fetched([found, other], {"q": 0})]
    node.turn()
    assert node.taken == [found, other]
    node.turn(bell(other))
    assert node.taken == [found, other]


def test_bells_that_were_not_heard_are_made_up_for(
    node: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_bell: Bell) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(node.parts.fetch, "_hears", type("Deaf", (), {"rung": staticmethod(fails)}))
    with pytest.raises(RuntimeError):
        node.turn(Bell(BellKind.DUE, "q"), bell(delivery(1, node=node.id)))
    assert node.taken == []
    assert node.parts.outage.returned.is_set()


def test_who_stops_steps_off_the_lists(node: Handed) -> None:
    node.parts.fetch.stop()
    assert node.plans[-1] == [Take("q", 0)]


def test_a_job_whose_bell_was_lost_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    part = OnePart()
    (outcome,) = part.deliver("a")
    part.parts.fetch._first = outcome.number + 1
    assert part.state("a") == "active"
    part.parts.outage.returned.set()
    assert part.parts.chores.reconcile()
    assert part.state("a") == "pending"
    part.parts.fetch.handover.take(delivery(outcome.number, node=part.id))
    assert part.parts.dispatcher.count == 0
