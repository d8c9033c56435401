"""Nodes: leases, who is lost and when, and what becomes of what it held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskrunner.brokers.base import JobKey, NodeInfo, OutcomeKind
from taskrunner.errors import NodeLost
from taskrunner.states import State
from taskrunner.testing._conformance_kit import LEASE, BrokerKit, Store


class NodeTests(BrokerKit):
    # -- coming and going

    def test_a_node_is_shown_as_it_announced_itself(self, store: Store) -> None:
        info = NodeInfo(
            id="n1",
            lease=LEASE,
            host="host",
            pid=12,
            boot_id="boot",
            pid_namespace="pid:[1]",
            process_start="345",
            started_at=1.5,
            processes=4,
            concurrency=2,
            busy=1,
            queues=("q", "r"),
            version="1.0",
        )
        store.broker.join(info, ["q"])
        store.later(5.0)
        (seen,) = store.broker.nodes()
        assert seen.seen_ago == pytest.approx(5.0, abs=1.0)
        fields = {name for name in NodeInfo.__slots__ if name != "seen_ago"}
        assert {f: getattr(seen, f) for f in fields} == {f: getattr(info, f) for f in fields}

    def test_a_beat_tells_how_the_node_is_now(self, store: Store) -> None:
        before = NodeInfo(id="n1", lease=LEASE, processes=4)
        store.broker.join(before, ["q"])
        store.broker.beat(replace(before, processes=5, busy=3), ["q"])
        (seen,) = store.broker.nodes()
        assert (seen.processes, seen.busy) == (5, 3)

    def test_a_node_that_is_silent_for_long_is_not_shown(self, store: Store) -> None:
        store.join("n1")
        store.later(100 * LEASE)
        store.join("n2")
        assert [node.id for node in store.broker.nodes()] == ["n2"]

    def test_a_node_that_left_is_forgotten(self, store: Store) -> None:
        store.join("n1", ["q", "r"])
        store.broker.leave("n1", ["q", "r"])
        store.broker.leave("n1", ["q", "r"])
        assert store.broker.nodes() == []
        with pytest.raises(NodeLost):
            store.beat()

    def test_what_a_leaving_node_holds_is_taken_back_without_a_loss(self, store: Store) -> None:
        store.run("a")
        store.broker.leave("n1", ["q"])
        assert store.state("a") is State.PENDING
        store.join("n2")
        delivery = store.fetch_one(node="n2")
        assert (delivery.attempts, delivery.losses) == (0, 0)

    def test_joining_twice_changes_nothing(self, store: Store) -> None:
        delivery = store.run("a")
        store.join()
        assert store.held() == {"a": delivery.number}
        assert len(store.broker.nodes()) == 1

    def test_a_beat_of_a_node_that_a_queue_does_not_know(self, store: Store) -> None:
        store.join("n1", ["q"])
        with pytest.raises(NodeLost):
            store.beat("n1", ["q", "r"])
        with pytest.raises(NodeLost):
            store.beat("n2", ["q"])

    # -- what is held

    def test_what_a_node_holds_by_queue(self, store: Store) -> None:
        store.join("n1", ["q", "r"])
        a = store.run("a", queue="q")
        b = store.run("b", queue="r")
        held = store.broker.held("n1", ["q", "r", "nowhere"])
        assert sorted(held) == [(JobKey("q", "a"), a.number), (JobKey("r", "b"), b.number)]
        assert store.broker.held("n1", ["r"]) == [(JobKey("r", "b"), b.number)]
        assert store.broker.held("n2", ["q"]) == []

    @pytest.mark.parametrize("kind", list(OutcomeKind))
    def test_what_was_settled_is_no_longer_held(self, store: Store, kind: OutcomeKind) -> None:
        store.settle(store.run("a"), kind, delay=10.0)
        assert store.held() == {}

    # -- leases

    def test_what_a_lost_node_held_is_taken_back(self, store: Store) -> None:
        store.run("a", node="lost")
        store.join("alive")
        store.enqueue("waiting")
        assert store.lose(observer="alive") == 1
        record = store.record("a")
        assert (record.state, record.losses, record.attempts) == (State.PENDING, 1, 0)
        assert store.held("lost") == {}
        first, second = store.fetch(2, node="alive")
        assert (first.id, first.losses, second.id) == ("a", 1, "waiting")

    def test_who_beats_keeps_what_it_holds(self, store: Store) -> None:
        store.run("a", node="n1")
        store.outlive(observer="n1")
        assert store.reap() == 0
        assert store.held("n1").keys() == {"a"}

    def test_who_is_silent_for_less_than_a_lease_keeps_what_it_holds(self, store: Store) -> None:
        store.outlive()
        store.run("a", node="n1")
        store.later(LEASE * 0.8)
        store.beat("observer")
        assert store.reap() == 0
        assert store.state("a") is State.ACTIVE

    def test_a_lost_node_is_told_so_until_it_joins_again(self, store: Store) -> None:
        store.run("a", node="lost")
        store.lose()
        with pytest.raises(NodeLost):
            store.beat("lost")
        with pytest.raises(NodeLost):
            store.fetch(node="lost")
        store.join("lost")
        assert store.beat("lost") == []
        assert store.fetch_one(node="lost").id == "a"

    def test_a_lost_node_that_holds_nothing_is_lost_too(self, store: Store) -> None:
        store.join("lost")
        assert store.lose() == 0
        with pytest.raises(NodeLost):
            store.beat("lost")

    def test_in_slices_and_lost_from_the_first_one_on(self, store: Store) -> None:
        store.join("lost")
        sent = [f"job-{n}" for n in range(5)]
        store.enqueue(*sent)
        store.fetch(5, node="lost")
        store.outlive()
        assert store.reap(2) == 2
        with pytest.raises(NodeLost):
            store.beat("lost")
        assert [store.reap(2), store.reap(2), store.reap(2)] == [2, 1, 0]
        assert {d.id for d in store.fetch(9, node="observer")} == set(sent)

    def test_each_loss_is_counted(self, store: Store) -> None:
        store.enqueue("a")
        for n in range(3):
            store.join(f"lost-{n}")
            assert store.fetch_one(node=f"lost-{n}").losses == n
            assert store.reap(dead=[f"lost-{n}"]) == 1

    # -- dead at once

    def test_a_node_known_to_be_dead_is_not_waited_for(self, store: Store) -> None:
        store.run("a", node="dead")
        store.join("alive")
        store.enqueue("b")
        store.fetch_one(node="alive")
        assert store.reap() == 0
        assert store.reap(dead=["dead", "unheard-of"]) == 1
        assert (store.state("a"), store.state("b")) == (State.PENDING, State.ACTIVE)
        assert store.record("a").losses == 1
        assert store.reap(dead=["dead"]) == 0
        with pytest.raises(NodeLost):
            store.beat("dead")

    def test_in_every_queue_that_is_named(self, store: Store) -> None:
        store.join("dead", ["q", "r", "s"])
        for queue in ("q", "r", "s"):
            store.enqueue("a", queue=queue)
            store.fetch_one(node="dead", queue=queue)
        assert store.broker.reap(["q", "r", "nowhere"], 10, ["dead"]) == 2
        assert store.state("a", queue="s") is State.ACTIVE
        assert store.broker.reap([], 10, ["dead"]) == 0

    # -- silence that means nothing

    def test_nobody_is_lost_when_nobody_was_heard(self, store: Store) -> None:
        store.run("a")
        store.later(100 * LEASE)
        assert store.reap() == 0
        assert store.beat() == []
        assert store.held().keys() == {"a"}

    def test_after_a_gap_one_whole_lease_of_beats_comes_first(self, store: Store) -> None:
        store.run("a", node="lost")
        store.join("alive")
        store.later(100 * LEASE)
        for _ in range(2):
            store.beat("alive")
            assert store.reap() == 0
            store.later(LEASE * 0.45)
        store.beat("alive")
        assert store.reap() == 0
        store.later(LEASE * 0.45)
        store.beat("alive")
        assert store.reap() == 1

    def test_a_gap_between_beats_starts_the_count_again(self, store: Store) -> None:
        store.run("a", node="lost")
        store.join("alive")
        for _ in range(3):
            store.later(LEASE * 1.5)
            store.beat("alive")
            assert store.reap() == 0

    def test_a_step_back_of_the_clock_gives_everybody_a_new_lease(self, store: Store) -> None:
        store.run("a", node="lost")
        store.join("alive")
        store.later(-1000 * LEASE)
        store.beat("alive")
        assert store.reap() == 0
        taken = 0
        for _ in range(3):
            store.later(LEASE / 2)
            store.beat("alive")
            taken += store.reap()
        assert taken == 1

    def test_a_step_forward_of_the_clock_loses_nobody(self, store: Store) -> None:
        store.run("a", node="n1")
        store.run("b", node="n2")
        store.later(1000 * LEASE)
        for _ in range(4):
            for node in ("n1", "n2"):
                assert store.beat(node) == []
            assert store.reap() == 0
            store.later(LEASE / 2)
        assert store.held("n1").keys() == {"a"}
        assert store.held("n2").keys() == {"b"}
