"""Jobs that a broker gives to an idle node with the bell, if it can do that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskrunner.brokers.base import Bell, BellKind, Delivery, Take
from taskrunner.limits import WHOLE_QUEUE, Limit
from taskrunner.message import REPLACE, Lock
from taskrunner.states import State
from taskrunner.testing._conformance_kit import LEASE, BrokerKit, Ear, Store, make_message

LIMIT = 3
READY = Bell(BellKind.READY, "q")


def holds_out_its_hands(store: Store, node: str = "n1", *, first: int = 101) -> None:
    """The node has nothing, and may be given one job under the last of LIMIT numbers."""
    store.join(node)
    assert store.broker.fetch(node, [Take("q", LIMIT, hands=True)], first).deliveries == []


def handed(ear: Ear) -> list[Delivery]:
    """What came with bells until now."""
    bells = [bell for bell in ear.everything() if bell.kind is BellKind.HANDED]
    assert all(bell.delivery and bell.id == bell.delivery.id for bell in bells)
    return [bell.delivery for bell in bells if bell.delivery is not None]


class HandTests(BrokerKit):
    @pytest.fixture
    def giving(self, store: Store) -> Store:
        if not store.broker.capabilities.hands_over:
            pytest.skip("this broker waits to be asked")
        return store

    def test_a_job_comes_with_the_bell(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.enqueue("a", body=bytes(range(256)))
        (delivery,) = handed(node)
        wire = make_message("a", body=bytes(range(256))).wire
        assert delivery == Delivery("q", "a", "n1", 103, wire, 0, 0, 0, 0, None, None)
        record = giving.record("a")
        assert (record.state, record.node, record.number) == (State.ACTIVE, "n1", 103)
        assert giving.held() == {"a": 103}
        giving.check_counts()
        assert giving.settle(delivery) is State.SUCCEEDED
        assert giving.settle(delivery) is State.SUCCEEDED, "a repeat"
        assert giving.held() == {}

    @pytest.mark.parametrize("length", [0, 40, 150, 1_000, 1_013, 50_000])
    def test_a_message_of_any_usual_length(
        self, giving: Store, ear: Callable[[str], Ear], length: int
    ) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        message = make_message("a", body=bytes(n % 256 for n in range(length)))
        giving.broker.enqueue([message])
        (delivery,) = handed(node)
        assert delivery.wire == message.wire == giving.record("a").wire

    def test_one_and_no_more(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.enqueue("a")
        giving.enqueue("b")
        assert [delivery.id for delivery in handed(node)] == ["a"]
        assert giving.state("b") is State.PENDING
        assert giving.broker.fetch("n1", [Take("q", 1)], 104).deliveries[0].id == "b"

    def test_and_again_after_the_next_fetch(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        for round_ in range(3):
            holds_out_its_hands(giving, first=101 + LIMIT * round_)
            giving.enqueue(f"job-{round_}")
            (delivery,) = handed(node)
            assert (delivery.id, delivery.number) == (f"job-{round_}", 103 + LIMIT * round_)
        assert set(giving.held().values()) == {103, 106, 109}

    def test_many_at_once_are_fetched(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.enqueue("a", "b")
        assert READY in node.everything()
        assert giving.state("a") is giving.state("b") is State.PENDING

    @pytest.mark.parametrize("timing", ["expires_in", "deadline", "delay"])
    def test_what_may_come_too_late_or_too_early_is_fetched(
        self, giving: Store, ear: Callable[[str], Ear], timing: str
    ) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        value = giving.broker.now() + 100.0 if timing == "deadline" else 100.0
        fields: dict[str, Any] = {timing: value}
        giving.enqueue("a", **fields)
        assert handed(node) == []
        assert giving.state("a") in (State.PENDING, State.SCHEDULED)

    def test_what_a_limit_concerns_is_fetched(
        self, giving: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        giving.join()
        giving.broker.set_limit("q", WHOLE_QUEUE, Limit(None, 1))
        holds_out_its_hands(giving)
        giving.enqueue("a")
        assert handed(node) == []
        assert giving.state("a") is State.PENDING

    def test_who_did_not_ask_for_it_is_rung(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        assert giving.broker.fetch("n1", [Take("q", 1)], 110).deliveries == []
        giving.enqueue("a")
        assert READY in node.everything()
        assert giving.state("a") is State.PENDING

    def test_who_has_stepped_off_gets_nothing(
        self, giving: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.broker.fetch("n1", [Take("q", 0)], 110)
        giving.enqueue("a")
        assert handed(node) == []
        assert giving.state("a") is State.PENDING

    def test_who_does_not_listen_gets_nothing(self, giving: Store) -> None:
        holds_out_its_hands(giving)
        giving.enqueue("a")
        assert giving.state("a") is State.PENDING
        assert giving.held() == {}

    def test_nor_one_whose_lease_has_run_out(
        self, giving: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.later(2 * LEASE)
        giving.enqueue("a")
        assert handed(node) == []
        assert giving.state("a") is State.PENDING

    def test_nor_one_that_has_left(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.broker.leave("n1", ["q"])
        giving.enqueue("a")
        assert handed(node) == []
        assert giving.state("a") is State.PENDING

    def test_nothing_passes_those_that_wait(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        nodes = [ear("n1"), ear("n2")]
        holds_out_its_hands(giving, "n1")
        holds_out_its_hands(giving, "n2")
        giving.enqueue("a", "b")
        giving.enqueue("urgent", priority=9)
        assert [found for node in nodes for found in handed(node)] == []
        found = giving.broker.fetch("n1", [Take("q", 3)], 110).deliveries
        assert [delivery.id for delivery in found] == ["urgent", "a", "b"]

    def test_a_fetch_that_is_repeated_answers_what_was_handed(
        self, giving: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.enqueue("a")
        (delivery,) = handed(node)
        again = giving.broker.fetch("n1", [Take("q", LIMIT, hands=True)], 101)
        assert again.deliveries == [delivery]
        giving.enqueue("b")
        assert handed(node) == [], "the number has been used"
        assert giving.state("b") is State.PENDING

    def test_a_submission_that_is_repeated_hands_over_once(
        self, giving: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.enqueue("a", call="c")
        (first,) = handed(node)
        holds_out_its_hands(giving, first=110)
        (receipt,) = giving.enqueue("a", call="c")
        assert receipt.accepted
        assert handed(node) == []
        assert giving.held() == {"a": first.number}

    def test_it_can_be_cancelled(self, giving: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        holds_out_its_hands(giving)
        giving.enqueue("a")
        assert giving.cancel("a") is True
        assert node.hears(BellKind.CANCEL, "q", "a")
        assert [number for _, number in giving.beat()] == [103]

    def test_what_its_node_had_when_it_was_lost_is_taken_back(
        self, giving: Store, ear: Callable[[str], Ear]
    ) -> None:
        ear("n1")
        holds_out_its_hands(giving)
        giving.enqueue("a")
        assert giving.reap(dead=["n1"]) == 1
        record = giving.record("a")
        assert (record.state, record.losses) == (State.PENDING, 1)

    def test_a_message_that_goes_into_another_job_is_not_handed_over(
        self, giving: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        lock = Lock("key", on_conflict=REPLACE)
        self._offer(giving, "a", lock, delay=100.0)
        holds_out_its_hands(giving)
        self._offer(giving, "b", lock)
        assert handed(node) == []
        assert giving.state("a") is State.PENDING
        assert giving.find("b") is None

    @staticmethod
    def _offer(store: Store, job_id: str, lock: Lock, **timing: Any) -> None:
        message = replace(make_message(job_id, **timing), lock=lock)
        assert store.broker.enqueue([message])[0].accepted
