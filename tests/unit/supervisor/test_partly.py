"""A store of which a part is away: its queues rest, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from taskrunner.backends.memory import MemoryBackend
from taskrunner.brokers.base import Fetched, NodeInfo, Outcome, Take
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable
from taskrunner.events import BrokerLost, Events, OutcomeFenced, QueuesBack, QueuesLost
from taskrunner.states import State
from taskrunner.supervisor.lease import LeaseService
from taskrunner.supervisor.outage import Outage
from taskrunner.supervisor.reachable import reachable
from taskrunner.testing.clock import FakeClock
from taskrunner.testing.waiting import eventually
from tests.unit.supervisor.one_part import OnePart

HERE, THERE = "here", "there"


class TwoServers(OnePart):
    """A node whose broker has one queue on each of two servers."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(HERE, THERE, **settings)
        self.away: frozenset[str] = frozenset()
        for name in ("fetch", "settle", "beat", "due", "reap", "sweep", "join"):
            self.broker.ills[name] = self._ill(name)

    def _ill(self, name: str) -> Callable[..., None]:
        def ill(*arguments: Any, **_: Any) -> None:
            if self.away:
                answer = getattr(self, f"_{name}")(*arguments)
                raise PartlyUnavailable("gone", queues=self.away, answer=answer)

        return ill

    def _queues(self, queues: Sequence[str]) -> list[str]:
        return [queue for queue in queues if queue not in self.away]

    def _fetch(self, node: str, plan: Sequence[Take], first: int) -> Fetched:
        fetched = Fetched([], {})
        for take in plan:
            if take.queue not in self.away:
                found = MemoryBroker.fetch(self.broker, node, [take], first)
                fetched.deliveries.extend(found.deliveries)
            first += take.limit
        return fetched

    def _settle(self, node: str, outcomes: Sequence[Outcome]) -> list[State | None]:
        return [
            None if o.queue in self.away else MemoryBroker.settle(self.broker, node, [o])[0]
            for o in outcomes
        ]

    def _beat(self, node: NodeInfo, queues: Sequence[str]) -> list[Any]:
        return MemoryBroker.beat(self.broker, node, self._queues(queues))

    def _join(self, node: NodeInfo, queues: Sequence[str]) -> None:
        MemoryBroker.join(self.broker, node, self._queues(queues))

    def _due(self, queues: Sequence[str], horizon: float, limit: int) -> list[Any]:
        return MemoryBroker.due(self.broker, self._queues(queues), horizon, limit)

    def _reap(self, queues: Sequence[str], limit: int, dead: Sequence[str] = ()) -> int:
        return MemoryBroker.reap(self.broker, self._queues(queues), limit, dead)

    def _sweep(self, queues: Sequence[str], limit: int) -> int:
        return MemoryBroker.sweep(self.broker, self._queues(queues), limit)


@pytest.fixture
def node() -> Iterator[TwoServers]:
    node = TwoServers()
    yield node
    for service in (node.parts.fetch, node.parts.scheduler, node.parts.settle, node.parts.lease):
        service.stop()


def asked(node: TwoServers) -> set[str]:
    """The queues that the next fetch would ask."""
    plan = node.parts.membership.planner.plan(lambda _: 10, node.parts.outage.queues)
    return {take.queue for take in plan}


# -- the broker in front of it


def test_what_is_there_is_the_answer_and_what_is_not_is_told(node: TwoServers) -> None:
    told: list[PartlyUnavailable] = []
    broker = reachable(node.broker, told.append)
    node.away = frozenset({THERE})
    assert broker.due([HERE, THERE], 5.0, 1) == []
    assert [error.queues for error in told] == [{THERE}]
    with pytest.raises(PartlyUnavailable):
        broker.settle(node.id, [])  # whoever settles must know what was not


def test_what_is_away_as_a_whole_is_an_error(node: TwoServers) -> None:
    node.broker.fails("due", BrokerUnavailable("no"))
    with pytest.raises(BrokerUnavailable):
        reachable(node.broker, lambda _: None).due([HERE], 5.0, 1)


# -- fetching


def test_queues_that_are_away_are_left_alone_until_a_beat_reaches_them(node: TwoServers) -> None:
    for queue in (HERE, THERE):
        node.enqueue("a", queue=queue)
    node.away = frozenset({THERE})
    assert asked(node) == {HERE, THERE}
    node.parts.fetch._fetch([Take(HERE, 1), Take(THERE, 1)])
    assert node.state("a", HERE) == State.ACTIVE
    assert node.state("a", THERE) == State.PENDING
    assert node.parts.outage.queues == {THERE}
    assert asked(node) == {HERE}
    node.parts.lease.run_once()
    assert node.parts.outage.queues == {THERE}
    node.away = frozenset()
    node.parts.lease._next_beat = 0.0
    node.parts.lease.run_once()
    assert node.parts.outage.queues == frozenset()
    assert THERE in asked(node)


def test_it_is_told_once_and_reconciled_when_it_is_back(node: TwoServers) -> None:
    node.away = frozenset({THERE})
    for _ in range(3):
        node.parts.fetch._fetch([Take(HERE, 1), Take(THERE, 1)])
        node.parts.lease._next_beat = 0.0
        node.parts.lease.run_once()
    assert not node.parts.outage.returned.is_set()
    node.away = frozenset()
    node.parts.lease._next_beat = 0.0
    node.parts.lease.run_once()
    assert [event.queues for event in node.events(QueuesLost)] == [(THERE,)]
    assert [event.queues for event in node.events(QueuesBack)] == [(THERE,)]
    assert node.events(BrokerLost) == []
    assert node.parts.outage.returned.is_set()


def test_whoever_finds_a_queue_away_hurries_the_beat(node: TwoServers) -> None:
    """It may have been a moment's trouble."""
    node.parts.lease.start()
    eventually(lambda: node.heard["lease_renewed"])
    beats = node.broker.calls["beat"]
    node.parts.outage.partly(
        frozenset({THERE}), PartlyUnavailable("", queues=frozenset(), answer=0)
    )
    eventually(lambda: node.broker.calls["beat"] > beats, timeout=4.0)  # a third of the lease is 5
    eventually(lambda: not node.parts.outage.queues)


# -- settling


def test_outcomes_of_what_is_away_wait_and_the_others_are_settled(node: TwoServers) -> None:
    outcomes: list[Any] = [*node.deliver("a", queue=THERE), *node.deliver("b", queue=HERE)]
    node.away = frozenset({THERE})
    settle = node.parts.settle
    settle.put(node.id, outcomes)
    settle.run_once()
    assert (node.state("a", THERE), node.state("b", HERE)) == (State.ACTIVE, State.SUCCEEDED)
    assert settle.pending == 1
    assert settle.tokens() == {(node.id, outcomes[0].number)}
    assert node.events(OutcomeFenced) == []
    calls = node.broker.calls["settle"]
    settle._unstall()
    assert not settle._waiting, "it waits for a while"
    node.away = frozenset()
    settle.retry()
    settle.run_once()
    assert node.state("a", THERE) == State.SUCCEEDED
    assert node.broker.calls["settle"] == calls + 1
    assert settle.flush(0.0)


def test_results_of_what_is_away_wait_too(
    node: TwoServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result backend may be a cluster of its own."""
    backend = MemoryBackend()
    away = [True]

    def store(results: Sequence[Any]) -> None:
        there = [result for result in results if result.key.queue == HERE or not away[0]]
        MemoryBackend.store(backend, there)
        if away[0]:
            raise PartlyUnavailable("gone", queues=frozenset({THERE}), answer=None)

    monkeypatch.setattr(backend, "store", store)
    settle = node.parts.settle
    settle._backend = backend
    outcomes = [*node.deliver("a", queue=THERE), *node.deliver("b", queue=HERE)]
    settle.put(node.id, [outcome._replace(result=b"result") for outcome in outcomes])
    settle.run_once()
    assert (node.state("a", THERE), node.state("b", HERE)) == (State.ACTIVE, State.SUCCEEDED)
    away[0] = False
    settle.retry()
    settle.run_once()
    assert node.state("a", THERE) == State.SUCCEEDED


# -- the lease


class LeaseAlone:
    """The lease service by a clock that a test moves."""

    def __init__(self, node: TwoServers) -> None:
        self.node = node
        self.clock = FakeClock()
        self.lease = LeaseService(
            broker=node.broker,
            membership=node.parts.membership,
            outage=Outage(url="", clock=self.clock, events=Events()),
            clock=self.clock,
            hears=node,
            mishaps=node.parts.mishaps,
        )

    def pass_time(self, seconds: float) -> None:
        """In steps, with the beats that are due."""
        for _ in range(int(seconds / 0.5)):
            self.clock.advance(0.5)
            self.lease.run_once()


def test_a_lease_runs_out_by_queue() -> None:
    node = TwoServers(lease_s=10.0)
    alone = LeaseAlone(node)
    alone.pass_time(4.0)
    node.away = frozenset({THERE})
    alone.pass_time(9.0)
    assert node.heard["queues_ran_out"] == []
    alone.pass_time(6.0)
    assert node.heard["queues_ran_out"] == [{THERE}]
    alone.pass_time(20.0)
    assert node.heard["lease_ran_out"] == []
    node.away = frozenset()
    alone.pass_time(1.0)
    assert node.heard["queues_ran_out"] == [{THERE}, frozenset()]


def test_what_may_start_is_bound_by_the_queue_that_was_missed_first() -> None:
    """Children are given one moment until which they may start anything."""
    node = TwoServers(lease_s=10.0)
    alone = LeaseAlone(node)
    alone.pass_time(0.5)
    began = alone.clock.monotonic()
    node.away = frozenset({THERE})
    alone.pass_time(8.0)
    assert node.heard["lease_renewed"][-1] <= began + 10.0
    alone.pass_time(8.0)
    assert node.heard["lease_renewed"][-1] > alone.clock.monotonic() + 9.0


def test_beats_come_sooner_while_a_part_is_away() -> None:
    node = TwoServers(lease_s=30.0)
    alone = LeaseAlone(node)
    node.away = frozenset({THERE})
    alone.pass_time(0.5)
    before = node.broker.calls["beat"]
    alone.pass_time(5.0)
    assert 8 <= node.broker.calls["beat"] - before <= 10


def test_a_queue_that_was_away_from_the_start_is_joined_under_the_same_id() -> None:
    """And not found by a beat that does not know this node: that would cost it its id everywhere."""
    node = TwoServers()
    node.away = frozenset({THERE})
    node.broker.leave(node.id, [HERE, THERE])
    node.parts.membership.join()
    lease = node.parts.lease
    for _ in range(2):
        lease._next_beat = 0.0
        lease.run_once()
    assert node.parts.outage.queues == {THERE}
    node.away = frozenset()
    lease._next_beat = 0.0
    lease.run_once()
    assert node.parts.outage.queues == frozenset()
    assert node.heard["node_lost"] == []
    node.enqueue("a", queue=THERE)
    assert len(node.broker.fetch(node.id, [Take(THERE, 1)], 1).deliveries) == 1


# -- what was fetched and has not started


def test_what_is_here_of_a_queue_that_ran_out_waits_and_is_not_given_back(node: TwoServers) -> None:
    dispatcher = node.parts.dispatcher
    for queue in (HERE, THERE):
        node.enqueue("a", queue=queue)
        first = 1 if queue == HERE else 2
        dispatcher.accept(node.broker.fetch(node.id, [Take(queue, 1)], first).deliveries)
    dispatcher.keep_out(frozenset({THERE}))
    assert [held.delivery.queue for held in dispatcher._lines.backlog] == [HERE]
    assert [held.delivery.queue for held in dispatcher._lines._shelf] == [THERE]
    assert dispatcher.count == 2
    assert len(dispatcher.numbers()) == 2
    assert dispatcher.room(THERE) == 0
    dispatcher._return_backlog(older_than=1e18)
    assert (len(dispatcher._lines.backlog), len(dispatcher._lines._shelf)) == (0, 1)
    dispatcher.keep_out(frozenset())
    assert [held.delivery.queue for held in dispatcher._lines.backlog] == [THERE]


def test_a_node_that_stops_gives_it_back_and_one_that_was_lost_forgets_it(node: TwoServers) -> None:
    dispatcher = node.parts.dispatcher
    node.enqueue("a", "b", queue=THERE)
    dispatcher.keep_out(frozenset({THERE}))
    dispatcher.accept(node.broker.fetch(node.id, [Take(THERE, 1)], 1).deliveries)
    dispatcher.disown(node.id)
    assert dispatcher.count == 0
    dispatcher._disowned.clear()
    dispatcher.accept(node.broker.fetch(node.id, [Take(THERE, 1)], 2).deliveries)
    dispatcher.give_back()
    node.parts.settle.run_once()
    assert node.state("b", THERE) == State.PENDING
