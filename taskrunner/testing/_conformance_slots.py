"""Slots of schedules: each is claimed once, and what was fired is remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from taskrunner.brokers.base import (
    CLAIMED,
    FIRINGS_KEPT,
    KNOWN_FOR,
    BellKind,
    Fired,
    JobKey,
    OutcomeKind,
    SlotRecord,
    Take,
    Tick,
    Ticked,
    TickKind,
)
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Ear, Store, make_message

SUBMITTED, TAKEN, STALE = TickKind.SUBMITTED, TickKind.TAKEN, TickKind.STALE


def moment(store: Store, ago: float = 0.0) -> float:
    """A whole second of the store's clock."""
    return float(int(store.broker.now())) - ago


def make_tick(store: Store, job_id: str, slot: float | None, **fields: Any) -> Tick:
    schedule, queue = fields.pop("schedule", "s"), fields.pop("queue", "q")
    call, timing = fields.pop("call", ""), fields.pop("timing", {})
    store.given[queue].add(job_id)
    message = make_message(job_id, queue=queue, call=call, **timing)
    defaults = {"due": slot or 0.0, "revision": 1, "known_at": store.broker.now()}
    return Tick(schedule, message, slot, **{**defaults, **fields})


def tick(store: Store, job_id: str, slot: float | None, **fields: Any) -> Ticked:
    (answer,) = store.broker.tick([make_tick(store, job_id, slot, **fields)])
    return answer


def slots(store: Store, schedule: str = "s", *, queue: str = "q", firings: int = 0) -> SlotRecord:
    (record,) = store.broker.slots(queue, [schedule], firings=firings)
    return record


class SlotTests(BrokerKit):
    def test_a_slot_is_one_job(self, store: Store) -> None:
        slot = moment(store)
        assert tick(store, "a", slot) == Ticked(SUBMITTED, slot)
        store.join()
        assert [d.id for d in store.fetch(5)] == ["a"]
        assert slots(store).last == slot

    def test_its_job_is_like_any_other(self, store: Store) -> None:
        timing = {"priority": 8, "expires_in": 500.0, "delay": 100.0, "body": b"x" * 300}
        tick(store, "a", moment(store), queue="new", timing=timing)
        record = store.record("a", queue="new")
        assert (record.state, record.priority) == (State.SCHEDULED, 8)
        assert record.expires_at == pytest.approx(store.broker.now() + 500.0, abs=5.0)
        assert "new" in store.broker.queues()
        store.later(101.0)
        assert store.promote(queue="new") == 1

    def test_it_is_taken_when_it_was_claimed_before(self, store: Store) -> None:
        slot = moment(store)
        tick(store, "a", slot)
        assert tick(store, "b", slot) == Ticked(TAKEN, slot)
        assert tick(store, "c", slot - 60.0) == Ticked(TAKEN, slot)
        assert [store.find(name) for name in "bc"] == [None, None]

    def test_repeating_a_tick_changes_nothing(self, store: Store) -> None:
        one = make_tick(store, "a", moment(store))
        store.broker.tick([one])
        assert store.broker.tick([one])[0].kind is TAKEN
        assert store.stats().counts[State.PENDING] == 1
        assert len(slots(store, firings=10).firings) == 1

    def test_it_stays_taken_when_nothing_is_left_of_its_job(self, store: Store) -> None:
        slot = moment(store)
        tick(store, "a", slot)
        store.join()
        store.settle(store.fetch_one(), retention=0)
        store.later(400 * 86_400.0)
        store.sweep()
        assert store.find("a") is None
        assert tick(store, "a", slot) == Ticked(TAKEN, slot)
        assert tick(store, "a", slot + 1.0).kind is SUBMITTED

    def test_it_stays_taken_when_the_clock_goes_back(self, store: Store) -> None:
        slot = moment(store)
        tick(store, "a", slot)
        store.later(-3600.0)
        assert tick(store, "b", slot - 1800.0, due=0.0) == Ticked(TAKEN, slot)

    def test_schedules_and_queues_have_slots_of_their_own(self, store: Store) -> None:
        slot = moment(store)
        answers = [
            tick(store, "a", slot, schedule="s"),
            tick(store, "b", slot, schedule="other"),
            tick(store, "a", slot, schedule="s", queue="r"),
        ]
        assert [answer.kind for answer in answers] == [SUBMITTED] * 3

    def test_many_at_once_are_answered_in_order(self, store: Store) -> None:
        slot = moment(store, 1000.0)
        ticks = [
            make_tick(store, f"{queue}{n}", slot + n, queue=queue, schedule=f"s{n % 3}")
            for n in range(300)
            for queue in "qr"
        ]
        answers = store.broker.tick(ticks)
        assert answers == [Ticked(SUBMITTED, one.slot or 0.0) for one in ticks]
        assert [a.kind for a in store.broker.tick(ticks)] == [TAKEN] * 600
        assert store.broker.tick([]) == []

    def test_of_many_who_ask_at_once_one_gets_it(self, store: Store) -> None:
        slot = moment(store, 100.0)
        answers: list[Ticked] = []

        def ask(who: int) -> None:
            for n in range(20):
                answers.extend(store.broker.tick([asked[who, n]]))

        asked = {
            (who, n): make_tick(store, f"{who}-{n}", slot + n)
            for who in range(6)
            for n in range(20)
        }
        threads = [threading.Thread(target=ask, args=(who,)) for who in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [answer.last for answer in answers if answer.kind is SUBMITTED]
        # Whoever is quick may leave others' slots behind; none is won twice.
        assert len(won) == len(set(won)) == store.stats().counts[State.PENDING]
        assert slots(store).last == slot + 19

    # -- too early, too late

    def test_it_is_early_until_it_is_due(self, store: Store) -> None:
        slot = moment(store)
        early = tick(store, "a", slot, due=store.broker.now() + 100.0)
        assert early.kind is TickKind.EARLY
        assert early.wait == pytest.approx(100.0, abs=1.0)
        assert slots(store) == SlotRecord()
        store.later(101.0)
        assert tick(store, "a", slot, due=slot).kind is SUBMITTED

    def test_whoever_has_not_looked_for_long_is_refused(self, store: Store) -> None:
        slot = moment(store)
        for known in (-KNOWN_FOR - 5.0, KNOWN_FOR + 5.0):
            answer = tick(store, "a", slot, known_at=store.broker.now() + known)
            assert answer.kind is STALE
        assert slots(store) == SlotRecord()
        assert tick(store, "a", slot, known_at=slot - KNOWN_FOR + 10.0).kind is SUBMITTED

    def test_an_older_revision_is_refused(self, store: Store) -> None:
        slot = moment(store, 100.0)
        tick(store, "a", slot, revision=5)
        assert tick(store, "b", slot + 1, revision=4) == Ticked(STALE, slot)
        assert tick(store, "c", slot + 1, revision=5).kind is SUBMITTED
        assert tick(store, "d", slot + 2, revision=6).kind is SUBMITTED
        assert slots(store).revision == 6

    def test_closed_slots_are_stale_for_all_who_do_not_know(self, store: Store) -> None:
        slot = moment(store, 100.0)
        tick(store, "a", slot)
        for _ in range(2):
            assert store.broker.close_slots("q", "s", 2) == slot
        assert tick(store, "b", slot + 1, revision=1).kind is STALE
        assert tick(store, "c", slot + 1, revision=2).kind is SUBMITTED
        store.broker.close_slots("q", "s", 1)
        assert slots(store).revision == 2
        assert store.broker.close_slots("q", "never heard of", 7) == 0.0

    def test_what_is_gone_may_come_back(self, store: Store) -> None:
        slot = moment(store, 100.0)
        tick(store, "a", slot)
        assert store.broker.close_slots("q", "s", 2, gone=True) == slot
        assert tick(store, "b", slot + 1, revision=1).kind is STALE
        assert slots(store, firings=5).last == slot
        assert tick(store, "c", slot + 1, revision=3).kind is SUBMITTED
        store.broker.close_slots("q", "s", 4, gone=True)
        store.broker.close_slots("q", "s", 5)
        assert len(slots(store, firings=5).firings) == 2

    def test_a_fixed_local_time_is_one_slot_although_its_zone_moves(self, store: Store) -> None:
        slot = moment(store, 10_000.0)
        berlin = {"zone": "Europe/Berlin"}
        tick(store, "a", slot, wall=500.0, **berlin)
        assert tick(store, "b", slot + 3600, wall=500.0, **berlin) == Ticked(TAKEN, slot)
        assert tick(store, "c", slot + 3600, wall=400.0, **berlin).kind is TAKEN
        assert tick(store, "d", slot + 3600, wall=400.0, zone="Asia/Tokyo").kind is SUBMITTED
        assert tick(store, "e", slot + 3700).kind is SUBMITTED
        assert tick(store, "f", slot + 3800, wall=300.0, **berlin).kind is SUBMITTED

    # -- overlap

    @pytest.mark.parametrize("is_fetched", [False, True])
    def test_nothing_overlaps_that_must_not(self, store: Store, is_fetched: bool) -> None:
        store.join()
        slot = moment(store, 100.0)
        tick(store, "a", slot, skip_overlap=True)
        delivery = store.fetch_one() if is_fetched else None
        answer = tick(store, "b", slot + 1, skip_overlap=True)
        assert answer == Ticked(TickKind.OVERLAP, slot + 1)
        assert store.find("b") is None
        assert tick(store, "b", slot + 1, skip_overlap=True).kind is TAKEN
        store.settle(delivery or store.fetch_one(), OutcomeKind.RETRY, delay=50.0)
        assert tick(store, "c", slot + 2, skip_overlap=True).kind is TickKind.OVERLAP
        store.cancel("a")
        assert tick(store, "d", slot + 3, skip_overlap=True).kind is SUBMITTED

    def test_what_may_overlap_does(self, store: Store) -> None:
        slot = moment(store, 100.0)
        assert [tick(store, str(n), slot + n).kind for n in range(3)] == [SUBMITTED] * 3

    def test_a_job_that_has_gone_is_in_nobodys_way(self, store: Store) -> None:
        store.join()
        slot = moment(store, 100.0)
        tick(store, "a", slot, skip_overlap=True)
        store.settle(store.fetch_one(), retention=0)
        assert tick(store, "b", slot + 1, skip_overlap=True).kind is SUBMITTED

    def test_an_id_that_all_jobs_share(self, store: Store) -> None:
        store.join()
        slot = moment(store, 100.0)
        assert tick(store, "a", slot, call="1").kind is SUBMITTED
        assert tick(store, "a", slot + 1, call="2") == Ticked(TickKind.DUPLICATE, slot + 1)
        store.settle(store.fetch_one())
        assert tick(store, "a", slot + 2, call="3").kind is SUBMITTED
        firings = slots(store, firings=5).firings
        assert [fired.kind for fired in firings] == [SUBMITTED, TickKind.DUPLICATE, SUBMITTED]
        assert [fired.state for fired in firings] == [None, None, State.SUCCEEDED]

    # -- by hand

    def test_by_hand_nothing_is_asked_and_no_slot_claimed(self, store: Store) -> None:
        slot = moment(store)
        tick(store, "a", slot, revision=5)
        by_hand = make_tick(store, "b", None, revision=0, known_at=0.0, skip_overlap=True)
        for _ in range(2):
            assert store.broker.tick([by_hand]) == [Ticked(SUBMITTED, slot)]
        assert store.stats().counts[State.PENDING] == 2
        record = slots(store, firings=5)
        assert (record.last, record.revision) == (slot, 5)
        assert [(f.slot, f.job_id) for f in record.firings] == [(None, "b"), (slot, "a")]
        later = {"due": 0.0, "revision": 5, "skip_overlap": True}
        assert tick(store, "c", slot + 1, **later).kind is TickKind.OVERLAP

    def test_a_repeat_by_hand_undoes_nothing(self, store: Store, ear: Callable[[str], Ear]) -> None:
        waiter = ear("waiter")
        by_hand = make_tick(store, "a", None)
        store.broker.tick([by_hand])
        store.broker.watch("waiter", [JobKey("q", "a")])
        store.broker.tick([by_hand])
        store.cancel("a")
        assert waiter.hears(BellKind.FINISHED, job_id="a")
        store.broker.tick([by_hand])
        assert [f.state for f in slots(store, firings=5).firings] == [State.CANCELLED]

    # -- what was fired

    def test_the_newest_firings_are_remembered(self, store: Store) -> None:
        slot = moment(store, 1000.0)
        for n in range(FIRINGS_KEPT + 10):
            tick(store, f"job-{n}", slot + n)
        firings = slots(store, firings=2 * FIRINGS_KEPT).firings
        last = FIRINGS_KEPT + 9
        assert [fired.job_id for fired in firings] == [f"job-{n}" for n in range(last, 9, -1)]
        assert firings[0] == Fired(slot + last, firings[0].at, SUBMITTED, f"job-{last}")
        assert firings[0].at == pytest.approx(store.broker.now(), abs=5.0)
        assert slots(store, firings=3).firings == firings[:3]
        assert slots(store).firings == ()

    @pytest.mark.parametrize(
        ("kind", "state"),
        [
            (OutcomeKind.SUCCEEDED, State.SUCCEEDED),
            (OutcomeKind.FAILED, State.FAILED),
            (OutcomeKind.CANCELLED, State.CANCELLED),
            (OutcomeKind.EXPIRED, State.EXPIRED),
        ],
    )
    def test_how_its_job_ended_outlives_the_job(
        self, store: Store, kind: OutcomeKind, state: State
    ) -> None:
        store.join()
        tick(store, "a", moment(store))
        delivery = store.fetch_one()
        assert slots(store, firings=1).firings[0].state is None
        store.settle(delivery, kind, retention=0)
        store.later(100.0)
        store.sweep()
        (fired,) = slots(store, firings=1).firings
        assert fired.state is state
        assert fired.ended_at == pytest.approx(store.broker.now() - 100.0, abs=5.0)

    def test_how_a_job_ended_that_never_ran(self, store: Store) -> None:
        slot = moment(store, 100.0)
        tick(store, "a", slot)
        tick(store, "b", slot + 1, timing={"expires_in": 10.0})
        store.cancel("a")
        store.later(20.0)
        store.sweep()
        states = [fired.state for fired in slots(store, firings=5).firings]
        assert states == [State.EXPIRED, State.CANCELLED]

    def test_a_waiter_hears_of_it_all_the_same(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        waiter = ear("waiter")
        store.join()
        tick(store, "a", moment(store))
        store.broker.watch("waiter", [JobKey("q", "a")])
        store.settle(store.fetch_one())
        assert waiter.hears(BellKind.FINISHED, job_id="a")
        assert slots(store, firings=1).firings[0].state is State.SUCCEEDED

    def test_what_is_no_longer_remembered_is_not_brought_back(self, store: Store) -> None:
        store.join()
        slot = moment(store, 1000.0)
        for n in range(FIRINGS_KEPT + 1):
            tick(store, f"job-{n}", slot + n)
        store.settle(store.fetch_one())
        firings = slots(store, firings=100).firings
        assert len(firings) == FIRINGS_KEPT
        assert {fired.state for fired in firings} == {None}

    # -- bells

    def test_a_job_of_a_slot_rings_an_idle_node(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        store.join("n1")
        assert store.broker.fetch("n1", [Take("q", 5)], 1).deliveries == []
        tick(store, "a", moment(store))
        assert node.hears(BellKind.READY)

    def test_a_change_is_told_to_everybody(self, store: Store, ear: Callable[[str], Ear]) -> None:
        ears = [ear("n1"), ear("somebody")]
        store.join("n1")
        store.broker.close_slots("q", "s", 2)
        assert [one.hears(BellKind.SCHEDULE, job_id="s") for one in ears] == [True, True]

    def test_what_claims_a_slot_is_named(self, store: Store) -> None:
        assert {SUBMITTED, TickKind.OVERLAP, TickKind.DUPLICATE} == CLAIMED
