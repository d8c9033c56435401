"""Submitting: what is kept, what is a repeat and what is a duplicate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from taskrunner.brokers.base import ACCEPTED, BellKind, JobKey, OutcomeKind, Receipt
from taskrunner.message import DURABILITIES, Header
from taskrunner.states import FINISHED, State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store, make_message

DUPLICATE = Receipt(False, duplicate_of="a")


def bring_to(store: Store, state: State, job_id: str = "a") -> None:
    """A job of the call "first" in any state."""
    if state is State.SCHEDULED:
        store.enqueue(job_id, call="first", delay=100.0)
    elif state is State.PENDING:
        store.enqueue(job_id, call="first")
    else:
        delivery = store.run(job_id, call="first")
        kinds = {
            State.WAITING: OutcomeKind.PARKED,
            State.RETRYING: OutcomeKind.RETRY,
            State.SUCCEEDED: OutcomeKind.SUCCEEDED,
            State.FAILED: OutcomeKind.FAILED,
            State.CANCELLED: OutcomeKind.CANCELLED,
            State.EXPIRED: OutcomeKind.EXPIRED,
        }
        if state in kinds:
            store.settle(delivery, kinds[state], delay=100.0, error=b"error", reason="reason")
    assert store.state(job_id) is state


class SubmitTests(BrokerKit):
    @pytest.mark.parametrize("durability", DURABILITIES)
    def test_what_is_confirmed_is_stored_and_what_is_not_is_explained(
        self, store: Store, durability: str
    ) -> None:
        confirms = store.broker.capabilities.confirms
        assert confirms <= set(DURABILITIES) - {"default"}
        if durability != "default" and durability not in confirms:
            pytest.skip("nobody asks this broker for that")
        message = replace(make_message("a", call="first"), durability=durability)
        store.given["q"].add("a")
        for _ in range(2):
            (receipt,) = store.broker.enqueue([message])
            assert receipt.duplicate_of is receipt.rejection is None
            assert (store.state("a") is State.PENDING) == receipt.accepted
            assert receipt.accepted or receipt.unconfirmed
            assert durability != "default" or receipt == ACCEPTED

    def test_a_record_says_what_was_sent(self, store: Store) -> None:
        before = store.broker.now()
        message = make_message("a", priority=7, body=b"\x00\xff", header=Header("t", retries=2))
        store.given["q"].add("a")
        assert store.broker.enqueue([message]) == [ACCEPTED]
        record = store.record("a")
        assert (record.queue, record.id, record.wire) == ("q", "a", message.wire)
        assert (record.state, record.priority) == (State.PENDING, 7)
        assert (record.attempts, record.failures, record.crashes, record.losses) == (0, 0, 0, 0)
        assert before - 0.01 <= record.created_at <= store.broker.now() + 0.01
        assert (record.node, record.number, record.eta) == (None, None, None)
        assert (record.started_at, record.finished_at) == (None, None)

    @pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 255, 256, 70_000])
    def test_a_wire_comes_back_byte_for_byte(self, store: Store, size: int) -> None:
        body = bytes(n % 256 for n in range(size))
        wire = make_message("a", body=body).wire
        store.enqueue("a", body=body)
        store.join()
        assert store.record("a").wire == wire
        assert store.fetch_one().wire == wire

    def test_a_wire_that_is_no_message_is_kept_and_delivered(self, store: Store) -> None:
        header = Header("t")
        header.__dict__["packed"] = b"\xc1\xff\x00garbage"  # what `wire` puts together
        store.enqueue("a", header=header)
        store.enqueue("b")
        store.join()
        bad, good = store.fetch(2)
        assert bad.wire == store.record("a").wire == make_message("a", header=header).wire
        assert good.wire == make_message("b").wire

    def test_each_message_has_its_own_receipt_in_order(self, store: Store) -> None:
        store.enqueue("a", call="first")
        store.given["q"] |= {"b", "c"}
        messages = [make_message(i, call="second") for i in ("b", "a", "c")]
        assert store.broker.enqueue(messages) == [ACCEPTED, DUPLICATE, ACCEPTED]
        assert store.stats().counts[State.PENDING] == 3

    def test_an_id_twice_in_one_call_is_one_job(self, store: Store) -> None:
        assert store.enqueue("a", "a", call="first") == [ACCEPTED, ACCEPTED]
        assert store.stats().counts[State.PENDING] == 1

    def test_nothing_to_enqueue(self, store: Store) -> None:
        assert store.broker.enqueue([]) == []

    def test_enqueue_from_asyncio(self, store: Store) -> None:
        store.given["q"].add("a")
        assert asyncio.run(store.broker.aenqueue([make_message("a")])) == [ACCEPTED]
        assert store.state("a") is State.PENDING

    def test_the_same_id_in_two_queues_is_two_jobs(self, store: Store) -> None:
        assert store.enqueue("a", queue="q", call="1") == [ACCEPTED]
        assert store.enqueue("a", queue="r", call="2") == [ACCEPTED]
        store.cancel("a", queue="r")
        assert store.state("a", queue="q") is State.PENDING
        assert store.state("a", queue="r") is State.CANCELLED

    # -- repeats

    @pytest.mark.parametrize("state", list(State))
    def test_a_repeated_call_is_accepted_and_changes_nothing(
        self, store: Store, state: State
    ) -> None:
        bring_to(store, state)
        before = store.record("a")
        assert store.enqueue("a", call="first") == [ACCEPTED]
        assert store.record("a") == before
        store.check_counts()

    def test_an_id_of_its_own_is_its_own_call(self, store: Store) -> None:
        store.settle(store.run("a"))
        assert store.enqueue("a") == [ACCEPTED]
        assert store.state("a") is State.SUCCEEDED
        assert store.fetch() == []

    @pytest.mark.parametrize("state", sorted(set(State) - FINISHED))
    def test_another_call_finds_an_unfinished_job_in_the_way(
        self, store: Store, state: State
    ) -> None:
        bring_to(store, state)
        before = store.record("a")
        assert store.enqueue("a", call="second") == [DUPLICATE]
        assert store.record("a") == before

    @pytest.mark.parametrize("state", sorted(FINISHED))
    def test_another_call_with_a_finished_id_is_a_new_job(self, store: Store, state: State) -> None:
        bring_to(store, state)
        assert store.enqueue("a", call="second", priority=2) == [ACCEPTED]
        record = store.record("a")
        assert (record.state, record.priority, record.attempts) == (State.PENDING, 2, 0)
        assert (record.errors, record.reason, record.node) == ((), None, None)
        assert (record.finished_at, record.result) == (None, None)
        store.check_counts()
        assert store.fetch_one().id == "a"

    def test_the_first_call_repeated_after_a_second_is_in_the_way_of_nothing(
        self, store: Store
    ) -> None:
        bring_to(store, State.SUCCEEDED)
        store.enqueue("a", call="second")
        assert store.enqueue("a", call="first") == [DUPLICATE]
        assert store.stats().counts[State.PENDING] == 1

    @pytest.mark.parametrize("call", ["", "first"])
    def test_a_repeated_call_is_known_when_the_record_is_gone_already(
        self, store: Store, call: str
    ) -> None:
        delivery = store.run("a", call=call)
        assert store.settle(delivery, retention=0.0) is State.SUCCEEDED
        assert store.find("a") is None
        assert store.enqueue("a", call=call) == [ACCEPTED]
        assert store.find("a") is None
        assert store.fetch() == []

    def test_another_call_begins_a_new_job_where_the_record_is_gone(self, store: Store) -> None:
        store.settle(store.run("a", call="first"), retention=0.0)
        assert store.enqueue("a", call="second") == [ACCEPTED]
        assert store.state("a") is State.PENDING
        assert store.fetch_one().id == "a"

    # -- when

    def test_a_delayed_job_is_scheduled_by_the_stores_clock(self, store: Store) -> None:
        store.later(1e6)
        before = store.broker.now()
        store.enqueue("a", delay=50.0)
        record = store.record("a")
        assert record.state is State.SCHEDULED
        assert record.eta == pytest.approx(before + 50.0, abs=1.0)

    def test_an_eta_is_a_moment_and_one_in_the_past_is_now(self, store: Store) -> None:
        now = store.broker.now()
        store.enqueue("later", eta=now + 50.0)
        store.enqueue("earlier", eta=now - 50.0)
        assert store.record("later").eta == pytest.approx(now + 50.0, abs=0.01)
        assert store.state("later") is State.SCHEDULED
        assert store.state("earlier") is State.PENDING

    def test_expiry_as_a_duration_and_as_a_moment(self, store: Store) -> None:
        now = store.broker.now()
        store.enqueue("duration", expires_in=30.0)
        store.enqueue("moment", expires_at=now + 40.0, deadline=now + 60.0)
        assert store.record("duration").expires_at == pytest.approx(now + 30.0, abs=1.0)
        assert store.record("moment").expires_at == pytest.approx(now + 40.0, abs=0.01)
        assert store.record("moment").deadline == pytest.approx(now + 60.0, abs=0.01)

    # -- where

    def test_queues_are_those_that_had_jobs(self, store: Store) -> None:
        store.join("n1", ["empty"])
        store.enqueue("a", queue="r")
        store.enqueue("a", queue="b")
        store.cancel("a", queue="r")
        assert store.broker.queues() == ["b", "r"]

    def test_a_new_queue_is_told_to_every_node(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        nowhere, elsewhere = ear("n1"), ear("n2")
        store.join("n1", [])
        store.join("n2", ["other"])
        store.enqueue("a", queue="fresh")
        assert nowhere.hears(BellKind.QUEUE, "fresh")
        assert elsewhere.hears(BellKind.QUEUE, "fresh")

    def test_what_is_unknown(self, store: Store) -> None:
        assert store.broker.get([JobKey("q", "a"), JobKey("nowhere", "a")]) == [None, None]
        assert store.broker.get([]) == []
        assert store.broker.stats([]) == []
        stats = store.stats("nowhere")
        assert stats.queue == "nowhere"
        assert sum(stats.counts.values()) == stats.processed == stats.failed == 0

    def test_records_come_in_the_order_of_the_question(self, store: Store) -> None:
        store.enqueue("a", "b")
        found = store.broker.get([JobKey("q", "b"), JobKey("q", "x"), JobKey("q", "a")])
        assert [record and record.id for record in found] == ["b", None, "a"]
