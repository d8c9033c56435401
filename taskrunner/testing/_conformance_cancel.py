"""Cancelling: on the spot where nothing runs, by a mark where something does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskrunner.brokers.base import BellKind, JobKey, OutcomeKind
from taskrunner.states import FINISHED, IDLE, State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store
from taskrunner.testing._conformance_submit import bring_to


class CancelTests(BrokerKit):
    @pytest.mark.parametrize("state", sorted(IDLE))
    def test_what_waits_ends_on_the_spot(self, store: Store, state: State) -> None:
        bring_to(store, state)
        assert store.cancel("a") is True
        record = store.record("a")
        assert record.state is State.CANCELLED
        assert record.finished_at == pytest.approx(store.broker.now(), abs=1.0)
        store.check_counts()
        store.later(200.0)
        store.promote()
        store.join()
        assert store.fetch(5, parked=["k"]) == []

    @pytest.mark.parametrize("state", sorted(FINISHED - {State.CANCELLED}))
    def test_what_is_finished_stays_as_it_is(self, store: Store, state: State) -> None:
        bring_to(store, state)
        before = store.record("a")
        assert store.cancel("a") is False
        assert store.record("a") == before

    @pytest.mark.parametrize("state", [State.PENDING, State.CANCELLED])
    def test_a_repeated_cancel_is_answered_like_the_first(self, store: Store, state: State) -> None:
        bring_to(store, state)
        assert store.cancel("a") is True
        before = store.record("a")
        assert store.cancel("a") is True
        assert store.record("a") == before

    def test_each_key_has_its_own_answer_in_order(self, store: Store) -> None:
        store.settle(store.run("done"))
        store.enqueue("waits")
        keys = [JobKey("q", "done"), JobKey("q", "unknown"), JobKey("q", "waits")]
        assert store.broker.cancel([*keys, JobKey("nowhere", "a")]) == [False, None, True, None]
        assert store.broker.cancel([]) == []

    def test_the_others_keep_their_order(self, store: Store) -> None:
        store.join()
        store.enqueue("a", "b", "c", "d", "e")
        for job_id in ("a", "c", "e"):
            store.cancel(job_id)
        assert [d.id for d in store.fetch(5)] == ["b", "d"]

    def test_the_id_can_be_used_again(self, store: Store) -> None:
        store.join()
        store.enqueue("a", call="first")
        store.cancel("a")
        store.enqueue("a", call="second")
        assert [d.id for d in store.fetch(5)] == ["a"]

    # -- while it runs

    def test_what_runs_is_marked_and_goes_on(self, store: Store) -> None:
        delivery = store.run("a")
        assert store.cancel("a") is True
        record = store.record("a")
        assert (record.state, record.cancelling) == (State.ACTIVE, True)
        assert store.held() == {"a": delivery.number}

    def test_its_node_hears_of_it(self, store: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        store.run("a")
        store.cancel("a")
        assert node.hears(BellKind.CANCEL, "q", "a")

    def test_its_node_hears_of_it_again_with_each_beat(self, store: Store) -> None:
        delivery = store.run("a")
        store.enqueue("b")
        store.fetch_one()
        assert store.beat() == []
        store.cancel("a")
        marked = [(JobKey("q", "a"), delivery.number)]
        assert store.beat() == marked
        assert store.beat() == marked
        store.settle(delivery)
        assert store.beat() == []

    @pytest.mark.parametrize("kind", list(OutcomeKind))
    @pytest.mark.parametrize("started", [True, False])
    def test_the_mark_wins_over_every_outcome(
        self, store: Store, kind: OutcomeKind, started: bool
    ) -> None:
        delivery = store.run("a")
        store.cancel("a")
        fields = {"started": started, "delay": 5.0, "result": b"result", "retention": 100.0}
        assert store.settle(delivery, kind, **fields) is State.CANCELLED
        record = store.record("a")
        assert (record.state, record.result) == (State.CANCELLED, None)
        assert record.attempts == started
        assert (store.stats().processed, store.stats().failed) == (0, 0)
        assert store.settle(delivery, kind, **fields) is State.CANCELLED
        assert store.fetch() == []

    def test_what_its_run_came_to_is_written_down_all_the_same(self, store: Store) -> None:
        delivery = store.run("a")
        store.cancel("a")
        store.settle(delivery, OutcomeKind.FAILED, error=b"error")
        assert store.record("a").errors == (b"error",)

    def test_a_marked_job_of_a_lost_node_ends_as_cancelled(self, store: Store) -> None:
        late = store.run("a", node="lost")
        store.cancel("a")
        assert store.lose() == 1
        record = store.record("a")
        assert (record.state, record.losses) == (State.CANCELLED, 1)
        assert store.fetch(node="observer") == []
        assert store.settle(late) is None

    def test_a_marked_job_of_a_node_that_leaves_ends_as_cancelled(self, store: Store) -> None:
        store.run("a")
        store.cancel("a")
        store.broker.leave("n1", ["q"])
        assert store.state("a") is State.CANCELLED
