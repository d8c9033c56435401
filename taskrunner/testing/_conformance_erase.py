"""Erasing a namespace: nothing of it is left, and it can be used again."""

from __future__ import annotations

from collections.abc import Callable

from taskrunner.brokers.base import Broker, JobKey, Limits, OutcomeKind
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store


class EraseTests(BrokerKit):
    def test_nothing_is_left_of_an_erased_namespace(self, store: Store) -> None:
        store.settle(store.run("done"), OutcomeKind.SUCCEEDED, result=b"r" * 100)
        store.settle(store.run("failed"), OutcomeKind.FAILED, error=b"e" * 100)
        store.enqueue(*(f"waits-{n}" for n in range(1500)))
        store.enqueue("later", delay=1000.0)
        store.enqueue("elsewhere", queue="other")
        store.broker.put_record("kind", "id", b"value")
        store.broker.erase()
        names = ("waits-0", "waits-1499", "later", "done", "failed")
        assert store.broker.get([JobKey("q", name) for name in names]) == [None] * 5
        assert store.broker.get([JobKey("other", "elsewhere")]) == [None]
        assert store.broker.queues() == []
        assert store.broker.nodes() == []
        assert store.broker.records("kind").records == []
        for stats in store.broker.stats(["q", "other"]):
            assert set(stats.counts.values()) == {0}
            assert stats.processed == stats.failed == 0

    def test_an_erased_namespace_can_be_used_again(self, store: Store) -> None:
        store.enqueue("a")
        store.broker.erase()
        store.broker.erase()
        store.enqueue("a")
        assert store.state("a") is State.PENDING
        assert store.broker.queues() == ["q"]

    def test_others_keep_what_they_have(self, fresh_broker: Callable[..., Broker]) -> None:
        mine, theirs = Store(fresh_broker(limits=Limits())), Store(fresh_broker(limits=Limits()))
        mine.enqueue("a")
        theirs.enqueue("a")
        theirs.broker.put_record("kind", "id", b"value")
        mine.broker.erase()
        assert theirs.state("a") is State.PENDING
        assert len(theirs.broker.records("kind").records) == 1
