"""Upkeep: what goes when its time is up, in bounded slices, and what is repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskrunner.brokers.base import Broker, JobKey, Limits, OutcomeKind
from taskrunner.errors import OptionError
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store
from taskrunner.testing._conformance_submit import bring_to


class UpkeepTests(BrokerKit):
    # -- retention

    @pytest.mark.parametrize("kind", ["SUCCEEDED", "CANCELLED", "EXPIRED"])
    def test_a_record_goes_when_its_retention_is_over(self, store: Store, kind: str) -> None:
        for job_id, retention in (("short", 70.0), ("long", 500.0)):
            store.settle(store.run(job_id), OutcomeKind[kind], retention=retention)
        assert store.sweep() == 0
        store.later(71.0)
        assert store.sweep() > 0
        assert store.find("short") is None
        assert store.state("long") is State[kind]
        assert store.sweep() == 0

    def test_a_success_with_retention_0_is_the_only_one_that_goes_at_once(
        self, store: Store
    ) -> None:
        store.settle(store.run("a"), OutcomeKind.CANCELLED, retention=0.0)
        assert store.state("a") is State.CANCELLED
        store.later(1.0)
        store.sweep()
        assert store.find("a") is None

    def test_what_the_store_ends_itself_is_kept_as_long_as_the_limits_say(
        self, fresh_broker: Callable[..., Broker]
    ) -> None:
        store = Store(fresh_broker(limits=Limits(retention=200.0)))
        store.enqueue("cancelled")
        store.enqueue("expired", expires_in=10.0)
        store.cancel("cancelled")
        store.later(11.0)
        store.sweep()
        store.later(150.0)
        store.sweep()
        assert store.state("cancelled") is State.CANCELLED
        assert store.state("expired") is State.EXPIRED
        store.later(100.0)
        store.sweep()
        assert store.find("cancelled") is store.find("expired") is None
        store.check_counts()

    def test_repeats_are_known_when_the_record_was_swept_soon_after_its_end(
        self, store: Store
    ) -> None:
        delivery = store.run("a", call="first")
        store.settle(delivery, retention=10.0)
        store.later(11.0)
        store.sweep()
        assert store.find("a") is None
        assert store.settle(delivery, retention=10.0) is State.SUCCEEDED
        store.enqueue("a", call="first")
        assert store.find("a") is None
        assert store.stats().processed == 1

    def test_the_same_call_is_a_new_job_once_its_repeats_are_over(self, store: Store) -> None:
        store.settle(store.run("a", call="first"), retention=0.0)
        store.later(61.0)
        store.sweep()
        store.enqueue("a", call="first")
        assert store.state("a") is State.PENDING

    # -- the dead letter

    def test_failed_jobs_outlive_the_retention_of_the_others(self, store: Store) -> None:
        store.settle(store.run("a"), OutcomeKind.FAILED, retention=10.0)
        store.later(86_400.0)
        store.sweep()
        assert store.state("a") is State.FAILED

    def test_failed_jobs_go_when_they_are_too_old(
        self, fresh_broker: Callable[..., Broker]
    ) -> None:
        store = Store(fresh_broker(limits=Limits(failed_retention=1000.0)))
        store.settle(store.run("old"), OutcomeKind.FAILED)
        store.later(600.0)
        store.settle(store.run("new"), OutcomeKind.FAILED)
        store.later(500.0)
        assert store.sweep() > 0
        assert store.find("old") is None
        assert store.state("new") is State.FAILED
        store.check_counts()

    def test_failed_jobs_go_when_they_are_too_many_the_oldest_first(
        self, fresh_broker: Callable[..., Broker]
    ) -> None:
        store = Store(fresh_broker(limits=Limits(failed_max=2)))
        for n in range(5):
            store.settle(store.run(f"job-{n}"), OutcomeKind.FAILED)
            store.later(float(n))
        store.sweep(limit=2)
        kept = [n for n in range(5) if store.find(f"job-{n}") is not None]
        assert kept == [3, 4]
        assert store.stats().failed == 5
        store.check_counts()

    # -- expiry

    @pytest.mark.parametrize("state", ["SCHEDULED", "PENDING", "WAITING", "RETRYING"])
    def test_whatever_waits_expires(self, store: Store, state: str) -> None:
        fields: dict[str, Any] = {"expires_in": 10.0, "call": "first"}
        if state == "SCHEDULED":
            store.enqueue("a", delay=100.0, **fields)
        elif state == "PENDING":
            store.enqueue("a", **fields)
        else:
            kind = OutcomeKind.PARKED if state == "WAITING" else OutcomeKind.RETRY
            store.settle(store.run("a", **fields), kind, delay=100.0)
        assert store.sweep() == 0
        assert store.state("a") is State[state]
        store.later(11.0)
        assert store.sweep() > 0
        assert store.state("a") is State.EXPIRED

    def test_what_is_finished_does_not_expire(self, store: Store) -> None:
        store.settle(store.run("a", expires_in=10.0))
        store.later(11.0)
        assert store.sweep() == 0
        assert store.state("a") is State.SUCCEEDED

    # -- slices

    def test_a_slice_is_bounded(self, store: Store) -> None:
        store.enqueue(*[f"job-{n}" for n in range(10)], expires_in=10.0)
        store.later(11.0)
        done = [store.broker.sweep(["q"], 3) for _ in range(3)]
        assert done == [3, 3, 3]
        assert store.stats().counts[State.EXPIRED] == 9
        store.sweep(limit=3)
        assert store.stats().counts[State.EXPIRED] == 10

    def test_of_each_queue_that_is_named(self, store: Store) -> None:
        for queue in ("q", "r", "s"):
            store.enqueue("a", queue=queue, expires_in=10.0)
        store.later(11.0)
        assert store.broker.sweep(["q", "r", "nowhere"], 10) >= 2
        assert [store.state("a", queue=queue) for queue in ("q", "r", "s")] == [
            State.EXPIRED,
            State.EXPIRED,
            State.PENDING,
        ]
        assert store.broker.sweep([], 10) == 0

    @pytest.mark.parametrize("state", list(State))
    def test_nothing_to_do_is_nothing_done(self, store: Store, state: State) -> None:
        if state is State.ACTIVE:
            store.run("a")
        else:
            bring_to(store, state)
        store.sweep()
        before = store.record("a")
        assert store.sweep() == 0
        assert store.record("a") == before

    # -- what jobs leave behind

    def test_those_who_left_the_ready_lists_are_dropped(self, store: Store) -> None:
        sent = [f"job-{n}" for n in range(50)]
        store.enqueue(*sent)
        for job_id in sent[::2] + sent[25:]:
            store.cancel(job_id)
        store.sweep(limit=7)
        store.check_counts()
        store.join()
        assert [d.id for d in store.fetch(50)] == sent[1:25:2]

    def test_and_jobs_that_come_after_are_found_behind_them(self, store: Store) -> None:
        store.join()
        for n in range(3):
            store.enqueue(f"gone-{n}", priority=n)
            store.cancel(f"gone-{n}")
            store.enqueue(f"here-{n}", priority=n)
        store.sweep(limit=1)
        assert [d.id for d in store.fetch(9)] == ["here-2", "here-1", "here-0"]

    def test_an_active_job_that_no_set_holds_is_taken_back(self, store: Store) -> None:
        delivery = store.run("a")
        if not self.lose_from_active_set(store.broker, "n1", JobKey("q", "a")):
            pytest.skip("this store cannot be damaged")
        assert store.held() == {}
        assert store.sweep() > 0
        record = store.record("a")
        assert (record.state, record.losses) == (State.PENDING, 1)
        again = store.fetch_one()
        assert again.id == "a"
        assert store.settle(delivery) is None
        assert store.settle(again) is State.SUCCEEDED

    # -- connections

    def test_it_answers(self, store: Store) -> None:
        store.broker.ping()

    def test_a_closed_broker_may_be_used_again(self, store: Store) -> None:
        store.broker.close()
        store.broker.close()
        store.broker.ping()

    def test_a_url_of_another_kind_is_refused(self, store: Store) -> None:
        with pytest.raises(OptionError, match="gopher"):
            type(store.broker).from_url("gopher://x", namespace="n", limits=Limits())
