"""What the memory broker and backend do beyond the conformance suites."""

from __future__ import annotations

import pytest

from taskrunner.backends.base import ResultKey, StoredResult
from taskrunner.backends.memory import MemoryBackend
from taskrunner.brokers.base import Bell, BellKind, JobKey, Limits, OutcomeKind
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import OptionError
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store
from taskrunner.testing.clock import FakeClock


def make_broker() -> MemoryBroker:
    return MemoryBroker.from_url("memory://", namespace="n", limits=Limits())


def test_what_it_can_do() -> None:
    can = MemoryBroker.capabilities
    assert (can.results, can.shared, can.durable) == (True, False, False)
    assert MemoryBackend.shared is False


def test_two_of_one_url_are_two_stores() -> None:
    first, second = Store(make_broker()), Store(make_broker())
    first.enqueue("a")
    assert first.state("a") is State.PENDING
    assert second.state("a") is None


@pytest.mark.parametrize("url", ["memory://host", "memory://?a=b", "redis://", "memory"])
def test_a_url_with_more_in_it_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match="memory://"):
        MemoryBroker.from_url(url, namespace="n", limits=Limits())
    with pytest.raises(OptionError, match="memory://"):
        MemoryBackend.from_url(url, namespace="n")


def test_the_time_is_the_clocks() -> None:
    clock = FakeClock(wall=100.0)
    broker = MemoryBroker(clock=clock)
    broker.set_skew(5.0)
    assert broker.now() == 105.0
    clock.step(-50.0)
    assert broker.now() == 55.0


def test_the_same_bell_twice_is_one() -> None:
    store = Store(make_broker())
    mailbox = store.broker.open_mailbox("n1")
    store.run("a")
    mailbox.wait(0.0)
    store.cancel("a")
    store.cancel("a")
    assert mailbox.wait(0.0) == [Bell(BellKind.CANCEL, "q", "a")]
    assert mailbox.wait(0.0) == []


def test_two_mailboxes_of_one_name_both_hear() -> None:
    store = Store(make_broker())
    first, second = store.broker.open_mailbox("n1"), store.broker.open_mailbox("n1")
    store.run("a")
    first.close()
    store.cancel("a")
    assert Bell(BellKind.CANCEL, "q", "a") in second.wait(0.0)
    assert Bell(BellKind.CANCEL, "q", "a") not in first.wait(0.0)


def test_a_closed_mailbox_waits_for_nothing() -> None:
    mailbox = make_broker().open_mailbox("n1")
    mailbox.close()
    assert mailbox.wait(1e6) == []


def test_nothing_is_left_of_what_is_over() -> None:
    """Ten of everything, and then a sweep much later: no index keeps a trace of a job."""
    broker = make_broker()
    store = Store(broker)
    for n in range(10):
        store.settle(store.run(f"gone-{n}"), retention=0.0)
        store.settle(store.run(f"done-{n}", expires_in=50.0), retention=float(n))
        store.settle(store.run(f"failed-{n}"), OutcomeKind.FAILED)
        store.park(f"parked-{n}")
        store.enqueue(f"cancelled-{n}", priority=n)
        broker.watch("waiter", [JobKey("q", f"cancelled-{n}")])
        store.cancel(f"cancelled-{n}")
    for _ in range(3):
        store.later(1e8)
        store.sweep()
    broker.leave("n1", ["q"])
    queue = broker._queues["q"]
    by_id = (queue.jobs, queue.tombstones, queue.parked, queue.held, queue.watchers)
    assert [len(found) for found in by_id] == [0] * 5
    indexes = (queue.timers, queue.parked_until, queue.done, queue.failed, queue.expiring)
    assert [len(index) for index in indexes] == [0] * 5
    assert [len(entries) for entries in queue.ready._lists.values()] == [0] * 10
    assert (queue.idle, queue.last_number, queue.leases.of) == ({}, {}, {})


def test_the_backend_does_not_grow_with_results_whose_time_is_up() -> None:
    clock = FakeClock()
    backend = MemoryBackend(clock=clock)
    for n in range(10_000):
        backend.store([StoredResult(ResultKey("q", "a", "n1", n), b"x", 1.0)])
        clock.advance(0.01)
    assert len(backend._results) <= 1024


def test_the_backend_keeps_results_as_long_as_it_was_told() -> None:
    clock = FakeClock()
    backend = MemoryBackend(clock=clock)
    key = ResultKey("q", "a", "n1", 1)
    backend.store([StoredResult(key, b"x", 5.0)])
    clock.step(1e6)
    clock.advance(4.9)
    assert backend.get([key]) == [b"x"]
    clock.advance(0.2)
    assert backend.get([key]) == [None]
