"""What operators do: turn pages, begin anew, remove, put off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskrunner.brokers.base import BellKind, Blame, JobKey, OutcomeKind, Span
from taskrunner.errors import OptionError
from taskrunner.states import FINISHED, State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store, every_page
from taskrunner.testing._conformance_submit import bring_to

AGAIN = sorted(FINISHED - {State.SUCCEEDED})
A = JobKey("q", "a")


def pages(store: Store, state: State, *, limit: int = 2, span: Span | None = None) -> list[str]:
    """Ids, in the order of the pages."""
    keys = every_page(store.broker, "q", state, limit=limit, span=span or Span())
    return [key.id for key in keys]


class DeskTests(BrokerKit):
    # -- pages

    @pytest.mark.parametrize("state", sorted(State))
    def test_a_job_is_on_the_pages_of_its_state_alone(self, store: Store, state: State) -> None:
        bring_to(store, state)
        for other in State:
            assert pages(store, other) == (["a"] if other is state else [])

    def test_pending_jobs_come_as_they_would_be_taken(self, store: Store) -> None:
        for n in range(7):
            store.enqueue(f"j{n}", priority=(5, 9, 0)[n % 3])
        store.join()
        for delivery in store.fetch(3):
            store.settle(delivery, OutcomeKind.RELEASED, started=False)
        shown = pages(store, State.PENDING)
        assert shown == [d.id for d in store.fetch(9)]

    def test_jobs_that_left_a_ready_list_are_on_no_page(self, store: Store) -> None:
        store.enqueue("a", "b", "c", "d", "e")
        for job_id in ("a", "c", "e"):
            store.cancel(job_id)
        assert pages(store, State.PENDING) == ["b", "d"]

    def test_pages_go_on_when_what_they_ended_with_is_taken(self, store: Store) -> None:
        store.enqueue(*[f"j{n}" for n in range(6)])
        first = store.broker.jobs("q", State.PENDING, limit=2)
        store.join()
        assert [d.id for d in store.fetch(2)] == [key.id for key in first.keys]
        following = store.broker.jobs("q", State.PENDING, first.cursor, limit=2)
        assert [key.id for key in following.keys] == ["j2", "j3"]

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.RETRYING])
    def test_what_waits_for_a_time_comes_soonest_first(self, store: Store, state: State) -> None:
        for n, delay in enumerate((300.0, 100.0, 200.0)):
            if state is State.SCHEDULED:
                store.enqueue(f"j{n}", delay=delay)
            else:
                store.settle(store.run(f"j{n}"), OutcomeKind.RETRY, delay=delay)
        assert pages(store, state) == ["j1", "j2", "j0"]
        now = store.broker.now()
        assert pages(store, state, span=Span(now + 150.0, now + 250.0)) == ["j2"]
        assert pages(store, state, span=Span(until=now + 250.0)) == ["j1", "j2"]
        assert pages(store, state, span=Span(since=now + 250.0)) == ["j0"]

    def test_the_last_that_failed_comes_first(self, store: Store) -> None:
        moments = []
        for job_id in ("a", "b", "c"):
            store.settle(store.run(job_id), OutcomeKind.FAILED)
            moments.append(store.broker.now())
            store.later(20.0)
        assert pages(store, State.FAILED) == ["c", "b", "a"]
        middle = Span(moments[1] - 10.0, moments[1] + 10.0)
        assert pages(store, State.FAILED, span=middle) == ["b"]

    def test_active_jobs_of_several_nodes(self, store: Store) -> None:
        for n in range(5):
            store.run(f"j{n}", node=f"n{n % 2}")
        assert pages(store, State.ACTIVE) == ["j0", "j2", "j4", "j1", "j3"]

    def test_many_jobs_of_one_moment_are_each_on_one_page(self, store: Store) -> None:
        ids = [f"j{n}" for n in range(25)]
        store.enqueue(*ids, delay=100.0)
        assert sorted(pages(store, State.SCHEDULED)) == sorted(ids)
        store.broker.cancel([JobKey("q", job_id) for job_id in ids])
        assert sorted(pages(store, State.CANCELLED)) == sorted(ids)

    def test_pages_go_on_when_what_they_ended_with_is_removed(self, store: Store) -> None:
        ids = [f"j{n}" for n in range(9)]
        store.enqueue(*ids)
        store.broker.cancel([JobKey("q", job_id) for job_id in ids])
        found, cursor = [], ""
        while True:
            page = store.broker.jobs("q", State.CANCELLED, cursor, limit=2)
            found += [key.id for key in page.keys]
            store.broker.delete(page.keys[-1:])
            cursor = page.cursor
            if not cursor:
                break
        assert sorted(found) == ids

    def test_states_that_share_an_index_are_told_apart(self, store: Store) -> None:
        store.enqueue("a", "b")
        store.cancel("b")
        store.join()
        store.settle(store.fetch_one())
        assert (pages(store, State.SUCCEEDED), pages(store, State.CANCELLED)) == (["a"], ["b"])

    def test_an_unknown_queue_has_no_jobs(self, store: Store) -> None:
        for state in State:
            assert store.broker.jobs("nowhere", state) == ([], "")

    @pytest.mark.parametrize("state", [State.PENDING, State.FAILED, State.ACTIVE])
    @pytest.mark.parametrize("cursor", ["x", "::", "9", "nan nan"])
    def test_a_cursor_that_no_page_answered(self, store: Store, state: State, cursor: str) -> None:
        store.enqueue("a")
        with pytest.raises(OptionError, match="cursor"):
            store.broker.jobs("q", state, cursor)

    def test_a_span_where_no_time_orders(self, store: Store) -> None:
        with pytest.raises(OptionError, match="pending"):
            store.broker.jobs("q", State.PENDING, span=Span(since=1.0))

    # -- how long

    def test_the_one_that_has_waited_longest_of_those_that_come_next(self, store: Store) -> None:
        assert store.broker.oldest(["q", "nowhere"]) == [None, None]
        store.enqueue("late", delay=50.0, priority=2)
        store.later(100.0)
        store.promote()
        store.enqueue("urgent", priority=9)
        store.later(30.0)
        store.enqueue("b")
        assert store.broker.oldest(["q"]) == [pytest.approx(80.0, abs=3.0)]
        store.cancel("late")
        assert store.broker.oldest(["q"]) == [pytest.approx(30.0, abs=3.0)]
        store.cancel("urgent")
        store.later(50.0)
        store.broker.requeue([JobKey("q", "urgent")])
        store.cancel("b")
        assert store.broker.oldest(["q"]) == [pytest.approx(0.0, abs=3.0)]

    # -- begin anew

    @pytest.mark.parametrize("state", AGAIN)
    def test_what_did_not_succeed_begins_anew(self, store: Store, state: State) -> None:
        bring_to(store, state)
        attempts = store.record("a").attempts
        assert store.broker.requeue([A]) == [True]
        record = store.record("a")
        assert (record.state, record.reason, record.result) == (State.PENDING, None, None)
        assert (record.finished_at, record.started_at, record.progress) == (None, None, None)
        assert (record.attempts, record.errors) == (attempts, (b"error",))
        store.check_counts()
        assert store.settle(store.fetch_one()) is State.SUCCEEDED
        assert store.record("a").attempts == attempts + 1

    def test_what_counts_against_it_counts_from_nothing(self, store: Store) -> None:
        store.settle(store.run("a"), OutcomeKind.RETRY, blame=Blame.CRASH)
        store.settle(store.fetch_one(), OutcomeKind.RETRY, blame=Blame.SUSPICION)
        store.settle(store.fetch_one(), OutcomeKind.FAILED, blame=Blame.FAILURE, started=False)
        record = store.record("a")
        assert (record.failures, record.crashes, record.suspect) == (1, 1, True)
        store.broker.requeue([A])
        record = store.record("a")
        assert (record.failures, record.crashes, record.losses) == (0, 0, 0)
        assert not record.suspect

    def test_an_end_that_has_passed_does_not_end_it_again(self, store: Store) -> None:
        store.join()
        store.enqueue("a", expires_in=10.0)
        store.enqueue("b", deadline=store.broker.now() + 10.0)
        store.enqueue("c", expires_in=100.0)
        store.cancel("c")
        store.later(20.0)
        assert store.fetch(5) == []
        assert (store.state("a"), store.state("b")) == (State.EXPIRED, State.FAILED)
        assert store.broker.requeue([A, JobKey("q", "b"), JobKey("q", "c")]) == [True] * 3
        assert [d.id for d in store.fetch(2)] == ["a", "b"]
        store.later(100.0)
        assert store.sweep() > 0
        assert store.state("c") is State.EXPIRED

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.RETRYING])
    def test_what_waits_for_a_time_falls_due(self, store: Store, state: State) -> None:
        bring_to(store, state)
        assert store.broker.requeue([A]) == [True]
        assert store.broker.requeue([A]) == [True]
        store.join()
        assert [d.id for d in store.fetch(5)] == ["a"]

    @pytest.mark.parametrize("state", [State.ACTIVE, State.WAITING, State.SUCCEEDED])
    def test_others_are_left_alone(self, store: Store, state: State) -> None:
        bring_to(store, state)
        before = store.record("a")
        assert store.broker.requeue([A]) == [False]
        assert store.record("a") == before

    def test_who_held_it_before_may_not_settle_it(self, store: Store) -> None:
        late = store.run("a", node="lost")
        assert store.lose() == 1
        store.cancel("a")
        store.broker.requeue([A])
        assert store.settle(late) is None
        assert store.state("a") is State.PENDING

    def test_a_settle_that_was_answered_is_answered_again(self, store: Store) -> None:
        delivery = store.run("a")
        store.settle(delivery, OutcomeKind.FAILED)
        store.broker.requeue([A])
        assert store.settle(delivery, OutcomeKind.FAILED) is State.FAILED
        assert store.state("a") is State.PENDING

    def test_it_goes_behind_those_that_wait_and_a_node_hears(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        store.settle(store.run("a"), OutcomeKind.FAILED)
        node = ear("n1")
        assert store.fetch(1) == []
        store.broker.requeue([A])
        assert node.hears(BellKind.READY)
        store.enqueue("b")
        store.cancel("a")
        store.broker.requeue([A])
        assert [d.id for d in store.fetch(5)] == ["b", "a"]

    # -- remove

    @pytest.mark.parametrize("state", sorted(set(State) - {State.ACTIVE}))
    def test_what_is_deleted_is_gone(self, store: Store, state: State) -> None:
        bring_to(store, state)
        assert store.broker.delete([A]) == [True]
        assert store.find("a") is None
        assert store.broker.delete([A]) == [None]
        store.check_counts()
        store.later(200.0)
        store.promote()
        store.join()
        assert store.fetch(5, parked=["k"]) == []

    def test_what_runs_is_not_deleted(self, store: Store) -> None:
        delivery = store.run("a")
        assert store.broker.delete([A]) == [False]
        assert store.settle(delivery) is State.SUCCEEDED

    def test_its_enqueue_may_be_repeated_and_its_id_used_again(self, store: Store) -> None:
        store.enqueue("a", call="first")
        store.broker.delete([A])
        assert store.enqueue("a", call="first")[0].accepted
        assert store.find("a") is None
        assert store.enqueue("a", call="second")[0].accepted
        assert store.state("a") is State.PENDING

    def test_who_waits_for_it_is_told(self, store: Store, ear: Callable[[str], Ear]) -> None:
        waiter = ear("waiter")
        store.enqueue("a")
        store.broker.watch("waiter", [A])
        store.broker.delete([A])
        assert waiter.hears(BellKind.FINISHED, "q", "a")

    # -- put off

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.RETRYING])
    def test_what_waits_for_a_time_waits_for_another(self, store: Store, state: State) -> None:
        bring_to(store, state)
        assert store.broker.reschedule([A], delay=500.0) == [True]
        assert store.record("a").eta == pytest.approx(store.broker.now() + 500.0, abs=1.0)
        store.later(200.0)
        assert store.promote() == 0
        assert store.broker.reschedule([A], eta=store.broker.now() - 5.0) == [True]
        assert store.promote() == 1

    def test_nodes_hear_of_what_is_due_sooner(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        store.join()
        store.enqueue("a", delay=100.0)
        assert node.hears(BellKind.DUE)
        store.broker.reschedule([A], delay=50.0)
        assert node.hears(BellKind.DUE)

    @pytest.mark.parametrize("state", [State.PENDING, State.ACTIVE, State.FAILED])
    def test_others_keep_their_time(self, store: Store, state: State) -> None:
        bring_to(store, state)
        before = store.record("a")
        assert store.broker.reschedule([A], delay=500.0) == [False]
        assert store.record("a") == before

    # -- all of them

    def test_each_key_of_an_action_has_its_own_answer_in_order(self, store: Store) -> None:
        store.settle(store.run("failed"), OutcomeKind.FAILED)
        store.settle(store.run("done"))
        keys = [JobKey("q", "done"), JobKey("q", "unknown"), JobKey("q", "failed")]
        assert store.broker.requeue(keys) == [False, None, True]
        assert store.broker.delete([*keys, JobKey("nowhere", "a")]) == [True, None, True, None]
        assert store.broker.reschedule(keys, delay=1.0) == [None, None, None]
        assert store.broker.requeue([]) == store.broker.delete([]) == []

    def test_the_state_is_tested_in_the_step_that_changes_it(self, store: Store) -> None:
        store.enqueue("a")
        assert store.broker.delete([A], only=State.FAILED) == [False]
        assert store.broker.delete([A], only=State.PENDING) == [True]
        store.settle(store.run("b"), OutcomeKind.FAILED)
        b = JobKey("q", "b")
        assert store.broker.requeue([b], only=State.CANCELLED) == [False]
        assert store.broker.requeue([b], only=State.FAILED) == [True]
