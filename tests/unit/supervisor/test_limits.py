"""What a node does about limits: it declares them, gets no more than can start, looks in time."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Delivery, Fetched, Take
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.errors import BrokerUnavailable
from taskrunner.limits import Limit, Rate, Scope, ScopeKind
from taskrunner.message import Header
from taskrunner.supervisor.plan import Planner
from taskrunner.testing._conformance_kit import make_message
from tests.unit.supervisor.one_part import OnePart

TASK = Scope(ScopeKind.TASK, "t")


def delivery(queue: str) -> Delivery:
    return Delivery(queue, "j", "n", 1, b"", 0, 0, 0, 0, None, None)


def test_a_queue_that_withholds_is_asked_for_what_starts_at_once() -> None:
    planner = Planner([("q", 1)], strict=False)
    assert planner.plan(lambda _: 11, slots=2) == [Take("q", 11, slots=2)]
    planner.learn([Take("q", 50)], Fetched([delivery("q")], {"q": 9}, frozenset("q")))
    assert planner.plan(lambda _: 11, slots=2) == [Take("q", 2, slots=2)]
    assert planner.plan(lambda _: 11, slots=0) == []
    # Of quick ones, what starts within a moment.
    assert planner.plan(lambda _: 250, slots=2) == [Take("q", 10, slots=10)]
    assert planner.hopeful
    planner.learn([Take("q", 2)], Fetched([delivery("q")] * 2, {"q": 9}))
    assert planner.plan(lambda _: 11, slots=0) == [Take("q", 11, slots=0)]


def test_the_slots_are_shared_among_the_queues_that_are_asked() -> None:
    planner = Planner([("a", 1), ("b", 1)], strict=False)
    assert {take.slots for take in planner.plan(lambda _: 10, slots=3)} == {2}


def test_a_node_tells_the_queues_it_joins_what_its_code_declares() -> None:
    part = OnePart()
    membership = part.parts.membership
    membership.declares({"t": Limit(Rate.parse("1/s"), 2), "u": None})
    membership.join()
    (state,) = part.broker.limits("q")
    assert (state.scope, state.declared) == (TASK, Limit(Rate.parse("1/s"), 2))


def test_new_code_is_told_once_and_again_where_the_store_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = OnePart()
    membership = part.parts.membership
    membership.declares({"t": Limit(None, 2)})
    with monkeypatch.context() as away:

        def raises(*_: object) -> None:
            raise BrokerUnavailable("gone")

        away.setattr(part.broker, "declare_limits", raises)
        with pytest.raises(BrokerUnavailable):
            membership.declare_limits()
    assert membership.declare_limits()
    assert not membership.declare_limits()
    assert [state.declared for state in part.broker.limits("q")] == [Limit(None, 2)]
    membership.declares({"t": None})
    assert membership.declare_limits()
    assert part.broker.limits("q") == []


def test_jobs_behind_a_rate_are_asked_for_when_it_permits_them() -> None:
    part = OnePart()
    part.broker.declare_limits(["q"], {"t": Limit(Rate.parse("1/m"))})
    part.broker.enqueue([make_message(f"j{n}", header=Header(task="t")) for n in range(3)])
    fetch = part.parts.fetch
    fetch._expect({"q": 0.0, "r": 60.0})
    assert fetch._patience() <= 0.01
    part.parts.membership.planner._believed.clear()
    fetch._look_behind_limits(SYSTEM_CLOCK.monotonic() + 0.01)
    assert part.parts.membership.planner.hopeful
    assert set(fetch._opens) == {"r"}
