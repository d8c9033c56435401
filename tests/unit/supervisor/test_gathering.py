"""Quick jobs cost little because they share fetches and settles: and nobody waits for that in vain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskrunner.supervisor import settle as settling
from taskrunner.supervisor.portions import AHEAD_S
from tests.unit.supervisor.desk import Desk, desk
from tests.unit.supervisor.one_part import OnePart

QUICK_S = AHEAD_S / 10
FOREVER_S = 600.0


def quick(some: Desk, *, children: int = 1) -> list[str]:
    """Teach it how quick the task is, and fill its children."""
    some.fetched("first")
    some.done(some.children[0], "first", ran=QUICK_S)
    ids = [f"job-{i}" for i in range(9 * children)]
    some.fetched(*ids)
    some.rooms = 0
    some.could_wait.clear()
    return ids


def test_more_is_fetched_when_half_of_what_a_child_was_given_has_run() -> None:
    with desk() as some:
        ids = quick(some)
        child = some.children[0]
        while some.dispatcher.room("q") == 0:
            assert not some.rooms, "nobody is woken to fetch nothing"
            some.done(child, ids.pop(0), ran=QUICK_S)
        assert some.rooms == 1
        assert len(child.held) in (4, 5)
        assert some.dispatcher.room("q") >= 4, "many at a time"


def test_a_slot_that_is_idle_is_filled_at_once() -> None:
    with desk(2) as some:
        ids = quick(some)
        first, second = some.children
        assert len(first.held) + len(second.held) == len(ids)
        for held in list(second.held.values()):
            some.done(second, held.delivery.id, ran=QUICK_S)
        assert some.dispatcher.room("q") > 0


def test_with_a_fixed_prefetch_too() -> None:
    with desk(prefetch=4) as some:
        some.fetched("a", "b", "c", "d", "e")
        child = some.children[0]
        assert some.dispatcher.room("q") == 0
        some.done(child, "a")
        assert some.dispatcher.room("q") == 0
        some.done(child, "b")
        assert some.dispatcher.room("q") == 2


def test_outcomes_may_wait_only_while_every_slot_is_busy() -> None:
    with desk() as some:
        ids = quick(some)
        child = some.children[0]
        for job_id in ids:
            some.done(child, job_id, ran=QUICK_S)
        assert some.could_wait == [True] * (len(ids) - 1) + [False]


def test_nothing_waits_while_a_node_stops() -> None:
    with desk() as some:
        ids = quick(some)
        some.dispatcher.give_back()
        some.done(some.children[0], ids[0], ran=QUICK_S)
        assert some.could_wait == [False]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[OnePart]:
    """One whose settle thread would wait for ever."""
    monkeypatch.setattr(settling, "GATHER_S", FOREVER_S)
    made = OnePart()
    yield made
    made.parts.settle.stop()


def test_what_can_wait_is_settled_together_with_what_cannot(node: OnePart) -> None:
    first, *others, last = node.deliver("first", "a", "b", "c", "last")
    settle = node.parts.settle
    settle.start()
    settle.put(node.id, [first])
    assert settle.flush(30.0)
    for outcome in others:
        settle.put(node.id, [outcome], can_wait=True)
    settle.put(node.id, [last])
    assert settle.flush(30.0)
    assert node.broker.calls["settle"] == 2
    assert {node.state(i) for i in ("first", "a", "b", "c", "last")} == {"succeeded"}


def test_what_can_wait_does_not_where_nothing_was_settled_just_now(node: OnePart) -> None:
    (only,) = node.deliver("only")
    node.parts.settle.start()
    node.parts.settle.put(node.id, [only], can_wait=True)
    assert node.parts.settle.flush(30.0)


def test_many_do_not_wait_for_more(node: OnePart) -> None:
    count = settling.MOST_GATHERED
    first, *others = node.deliver(*(f"job-{i}" for i in range(count + 1)))
    settle = node.parts.settle
    settle.start()
    settle.put(node.id, [first])
    assert settle.flush(30.0)
    for outcome in others:
        settle.put(node.id, [outcome], can_wait=True)
    assert settle.flush(30.0)


def test_a_stop_does_not_wait_for_more(node: OnePart) -> None:
    first, second = node.deliver("first", "second")
    settle = node.parts.settle
    settle.start()
    settle.put(node.id, [first])
    assert settle.flush(30.0)
    settle.put(node.id, [second], can_wait=True)
    settle.stop()
    assert node.broker.calls["settle"] <= 2
