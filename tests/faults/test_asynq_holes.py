"""The 26 known holes of asynq, one test for each that can be had by a store or a task; those that
need processes are in tests/process, and docs/reliability.md lists all of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from taskrunner import App, JobFailed, Retry
from taskrunner.brokers.base import (
    ACCEPTED,
    Broker,
    JobKey,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Take,
    TickKind,
)
from taskrunner.brokers.redis import client
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.replies import pack_node
from taskrunner.message import ErrorInfo, Message, unpack
from taskrunner.states import State
from taskrunner.testing._conformance_kit import LEASE, Store, make_outcome
from taskrunner.testing._conformance_slots import make_tick, moment
from taskrunner.testing._conformance_unique import TAKEN, offer, run
from taskrunner.testing.waiting import eventually
from taskrunner.testing.wire import CommandCounter
from tests.faults.conftest import LIMITS, keys_of, lose_from_its_set
from tests.unit.worker.one_child import one_child

MANY = 12_000
"""More than Lua's unpack takes, and more than asynq keeps in its archive."""
ENDINGS: dict[State, tuple[OutcomeKind, dict[str, Any]]] = {
    State.SUCCEEDED: (OutcomeKind.SUCCEEDED, {"result": b"1"}),
    State.FAILED: (OutcomeKind.FAILED, {"reason": "error"}),
    State.CANCELLED: (OutcomeKind.CANCELLED, {}),
    State.EXPIRED: (OutcomeKind.EXPIRED, {}),
}


def test_hole_01_a_lost_acknowledgement_is_repeated_and_the_job_does_not_run_again(
    store: Store,
) -> None:
    kept, gone = store.run("kept"), store.run("gone")
    for _ in range(3):
        assert store.settle(kept, result=b"1") is State.SUCCEEDED
        assert store.settle(gone, retention=0.0) is State.SUCCEEDED
    store.outlive()
    store.reap()
    store.sweep()
    assert store.fetch(10, node="observer") == []
    assert store.stats().processed == 2


def test_hole_03_a_fetch_whose_answer_was_lost_strands_nothing(store: Store) -> None:
    store.join()
    store.enqueue("a", "b", "c")
    first = store.broker.fetch("n1", [Take("q", 2)], 71).deliveries
    again = [store.broker.fetch("n1", [Take("q", 2)], 71).deliveries for _ in range(3)]
    assert again == [first] * 3
    assert store.held().keys() == {"a", "b"}
    assert store.state("c") is State.PENDING
    assert [store.settle(delivery) for delivery in first] == [State.SUCCEEDED] * 2
    assert store.broker.fetch("n1", [Take("q", 2)], 71).deliveries == []  # late, and nothing new
    assert [d.id for d in store.broker.fetch("n1", [Take("q", 2)], 73).deliveries] == ["c"]


@pytest.mark.parametrize("call", ["", "by a name of its own"])
def test_hole_03_an_enqueue_whose_answer_was_lost_is_no_conflict(store: Store, call: str) -> None:
    store.join()
    for _ in range(2):
        assert store.enqueue("a", call=call)[0].accepted
    delivery = store.fetch_one()
    assert store.enqueue("a", call=call)[0].accepted
    assert store.state("a") is State.ACTIVE
    store.settle(delivery)
    assert store.enqueue("a", call=call)[0].accepted
    assert store.state("a") is State.SUCCEEDED
    assert store.fetch(10) == []


def test_hole_04_an_active_job_without_a_lease_is_found(store: Store) -> None:
    store.run("a")
    lose_from_its_set(store.broker, "n1", JobKey("q", "a"))
    store.sweep()
    assert store.state("a") is State.PENDING
    assert store.fetch_one().id == "a"


def test_hole_04_a_node_without_a_lease_is_taken_from(store: Store) -> None:
    """It never beat again, and every lease was renewed while the store was away."""
    store.run("a")
    store.later(10 * LEASE)
    assert store.lose() == 1
    assert store.state("a") is State.PENDING


def test_hole_05_an_id_whose_record_is_gone_makes_no_empty_job(redis_url: str) -> None:
    broker = RedisBroker.from_url(redis_url, namespace="ns", limits=LIMITS)
    store = Store(broker)
    store.join()
    store.enqueue("active", "pending", "good")
    store.enqueue("scheduled", delay=10.0)
    active = store.fetch_one()
    ghosts = ("pending", "active", "scheduled")
    broker._calls.ask([("DEL", *(broker._keys.of_queue("q", f"job:{name}") for name in ghosts))])
    store.later(11.0)
    store.promote()
    assert [delivery.id for delivery in store.fetch(10)] == ["good"]
    assert store.settle(active) is None
    store.sweep()
    assert [store.find(name) for name in ghosts] == [None] * 3
    assert store.held().keys() == {"good"}
    broker.close()


def test_hole_06_one_unreadable_message_stops_neither_recovery_nor_queue(store: Store) -> None:
    store.join("n2")
    unreadable = Message("bad", "q", UNREADABLE, b"")
    store.given["q"].add("bad")
    store.enqueue("before")
    store.broker.enqueue([unreadable])
    store.enqueue("after")
    assert len(store.fetch(3, node="n2")) == 3
    assert store.lose() == 3
    store.join()
    deliveries = {delivery.id: delivery for delivery in store.fetch(3)}
    assert deliveries.keys() == {"before", "bad", "after"}
    with pytest.raises(Exception, match="message"):
        unpack(deliveries["bad"].wire)
    unread = ErrorInfo("unreadable", "no message").pack()
    assert store.settle(
        deliveries["bad"], OutcomeKind.FAILED, started=False, reason="unreadable", error=unread
    )
    assert store.record("bad").wire == b"\x93\x01\xc1\xc4\x00"  # kept, byte by byte


class Unreadable:
    """A header whose bytes are none."""

    task = "t"
    packed = b"\xc1"
    limit_keys = None


UNREADABLE: Any = Unreadable()


def test_hole_10_a_unique_key_is_neither_left_behind_nor_free_too_soon(store: Store) -> None:
    store.enqueue("other")
    assert offer(store, "other", call="1").duplicate_of == "other"
    delivery = run(store)  # a refused id has left nothing behind
    for _ in range(3):  # it stays for as long as the job is retried, and goes with no clock
        store.settle(delivery, OutcomeKind.RETRY, delay=1e5)
        store.later(1e5 + 60)
        assert offer(store, "b") == TAKEN
        store.join()
        store.promote()
        delivery = next(d for d in store.fetch(5) if d.id == "a")
    assert store.reap(dead=["n1"]) >= 1  # nor with its node
    assert offer(store, "b") == TAKEN
    store.join()
    delivery = next(d for d in store.fetch(5) if d.id == "a")
    assert store.settle(delivery, OutcomeKind.FAILED, reason="error") is State.FAILED
    for job_id in ("b", "c"):  # free in the dead letter, and when it is deleted
        assert offer(store, job_id) == ACCEPTED
        assert store.broker.delete([JobKey("q", job_id)]) == [True]


@pytest.mark.parametrize("ending", ENDINGS)
def test_hole_11_a_fixed_id_is_free_again_once_its_predecessor_is_finished(
    store: Store, ending: State
) -> None:
    kind, fields = ENDINGS[ending]
    first = store.run("fixed", call="monday")
    assert store.enqueue("fixed", call="tuesday")[0].duplicate_of == "fixed"
    assert store.settle(first, kind, **fields) is ending
    assert store.enqueue("fixed", call="tuesday")[0].accepted
    second = store.fetch_one()
    assert second.number != first.number
    assert store.settle(second) is State.SUCCEEDED


# -- thousands at once


def test_hole_12_thousands_at_once_go_in_slices(store: Store) -> None:
    """Expired leases, dead letters, cancels, retentions: whatever falls due for all of them."""
    ids = [f"job-{n}" for n in range(MANY)]
    store.join()
    store.enqueue(*ids)
    assert len(store.fetch(MANY)) == MANY
    store.outlive()
    assert store.reap(limit=MANY) == MANY
    store.broker.cancel([JobKey("q", job_id) for job_id in ids[::3]])
    deliveries = store.fetch(MANY, node="observer")
    assert len(deliveries) == MANY - len(ids[::3])
    endings = [ENDINGS[State.FAILED], ENDINGS[State.SUCCEEDED]]
    outcomes = [
        make_outcome(delivery, endings[n % 2][0], **endings[n % 2][1])
        for n, delivery in enumerate(deliveries)
    ]
    store.broker.settle("observer", outcomes)
    assert store.stats().processed == len(outcomes[1::2])
    store.later(1e6)
    store.join()
    assert store.sweep(limit=1000) >= MANY
    assert sum(store.stats().counts.values()) == 0
    store.given.clear()  # none is there any more to be counted


def test_hole_13_what_the_archive_drops_is_gone_and_its_limits_are_settings(store: Store) -> None:
    before = keys_of(store.broker)
    surplus = 300
    total = LIMITS.failed_max + surplus
    store.join()
    store.enqueue(*[f"job-{n:05}" for n in range(total)])
    failures = [
        make_outcome(d, OutcomeKind.FAILED, error=b"e" * 100, reason="r" * 100)
        for d in store.fetch(total)
    ]
    store.broker.settle("n1", failures)
    store.sweep(limit=1000)
    assert store.stats().counts[State.FAILED] == LIMITS.failed_max  # not one less
    kept = [store.find(f"job-{n:05}") is not None for n in range(total)]
    assert kept == [False] * surplus + [True] * LIMITS.failed_max  # the oldest have gone
    assert store.enqueue("job-00000", call="again")[0].accepted
    store.settle(store.fetch_one(), retention=0.0)
    store.later(2 * LIMITS.failed_retention)
    store.sweep(limit=1000)
    if isinstance(store.broker, RedisBroker):  # nothing but the queue's own books is left
        assert keys_of(store.broker) <= before + 6


# -- what a task and its policy decide


def test_hole_14_a_job_that_was_taken_back_says_so(store: Store) -> None:
    store.run("a")
    store.lose()
    record = store.record("a")
    assert (record.state, record.losses, record.failures) == (State.PENDING, 1, 0)
    store.join()
    again = store.fetch_one()
    assert (again.losses, again.failures, again.attempts) == (1, 0, 0)


@pytest.mark.parametrize("deadline", [1.0, -1.0])
def test_hole_15_a_deadline_in_the_past_fails_once(store: Store, deadline: float) -> None:
    store.join()
    store.enqueue("late", "not", deadline=store.broker.now() + deadline)
    store.later(2.0)
    assert store.fetch(10) == []
    record = store.record("late")
    assert (record.state, record.reason) == (State.FAILED, "deadline")
    assert (record.attempts, record.failures) == (0, 0)
    store.later(1e6)
    store.promote()
    assert store.fetch(10) == []


def test_hole_15_a_deadline_that_passes_on_the_way_to_the_child_fails_once() -> None:
    app = App("memory://")

    @app.task(name="never", retries=25)
    def never() -> None:
        pytest.fail("it was run")

    with one_child(app) as child:
        outcome = child.one(never.message(), deadline_in=1.0, arrived_ago=2.0)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "deadline")
    assert not outcome.started


@pytest.mark.parametrize("failures", [0, 3])
def test_hole_16_what_is_no_failure_is_never_the_last_one(failures: int) -> None:
    """A `Retry(count=False)` at its maximum, and with no retries at all."""
    app = App("memory://")

    @app.task(name="later", retries=failures)
    def later() -> None:
        raise Retry(delay=5, count=False)

    with one_child(app) as child:
        outcome = child.one(later.message(), failures=failures, attempts=50)
    assert (outcome.kind, outcome.delay, outcome.blame) == (OutcomeKind.RETRY, 5.0, 0)


def test_hole_18_a_queue_that_was_wiped_out_is_seen_again_when_it_is_used_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By clients that had announced it before, too: not only when they are started again."""
    broker = RedisBroker.from_url(redis_url, namespace="ns", limits=LIMITS)
    store = Store(broker)
    store.enqueue("a")
    (keys,) = broker._calls.ask([("KEYS", "*ns*")])
    broker._calls.ask([("DEL", *keys)])
    monkeypatch.setattr(client, "TELL_AGAIN_S", -1.0)
    store.enqueue("b")
    assert broker.queues() == ["q"]
    assert store.state("b") is State.PENDING
    broker.close()


def test_hole_19_the_result_of_a_job_that_has_vanished_makes_no_record(broker: Broker) -> None:
    store = Store(broker)
    delivery = store.run("a")
    store.settle(delivery, retention=0.0)
    store.later(1e6)
    store.sweep()
    if isinstance(broker, RedisBroker):
        broker._calls.ask([("DEL", broker._keys.of_queue("q", "job:a"))])
    before = keys_of(broker)
    nobody = Outcome("q", "nobody", 7, OutcomeKind.SUCCEEDED, result=b"x" * 1000)
    assert broker.settle("n1", [make_outcome(delivery, OutcomeKind.FAILED), nobody]) == [None] * 2
    assert (store.find("a"), store.find("nobody")) == (None, None)
    assert keys_of(broker) == before
    assert store.enqueue("nobody")[0].accepted


# -- looking


def test_hole_22_schedulers_that_are_doubled_fire_each_slot_once(store: Store) -> None:
    """Also when they ask again because the answer was lost."""
    for n in range(5):
        slot = moment(store, 100.0) + n
        first, second = (make_tick(store, f"{who}-{n}", slot) for who in ("one", "two"))
        kinds = [store.broker.tick([tick])[0].kind for tick in (first, second, first, second)]
        assert kinds.count(TickKind.SUBMITTED) == 1
        assert kinds[1:] == [TickKind.TAKEN] * 3
    assert store.stats().counts[State.PENDING] == 5


def test_hole_23_looking_costs_the_same_however_much_there_is(redis_url: str) -> None:
    broker = RedisBroker.from_url(redis_url, namespace="ns", limits=LIMITS)
    store = Store(broker)
    asked: list[Counter[str]] = []
    store.join()
    for count in (5, 5, 2000):  # the first time the server gets to know the scripts
        store.enqueue(*[f"job-{count}-{n}" for n in range(count)])
        for n, delivery in enumerate(store.fetch(count // 2)):
            store.settle(delivery, OutcomeKind.PARKED, started=False, park_key=f"k{n % 3}")
        with CommandCounter(redis_url) as counted:
            broker.stats(["q"])
            broker.nodes()
            store.beat()
            broker.queues()  # when it is counted, all before it was
            eventually(lambda: counted.by_name["SMEMBERS"] == 1)
        asked.append(counted.by_name)
    assert asked[1] == asked[2]
    assert asked[1].total() <= 8
    store.check_counts()
    broker.close()


def test_hole_23_a_beat_carries_no_payloads() -> None:
    info = NodeInfo("a" * 16, LEASE, host="h" * 60, queues=tuple(f"queue-{n}" for n in range(10)))
    assert len(pack_node(info)) < 1000


def test_hole_01_a_waiter_learns_of_an_end_whose_acknowledgement_was_repeated(
    broker: Broker,
) -> None:
    app = App(broker)

    @app.task(name="t", retries=0)
    def task() -> None: ...

    job = task.enqueue()
    store = Store(broker)
    store.join(queues=["default"])
    delivery = store.fetch_one(queue="default")
    for _ in range(2):
        store.settle(delivery, OutcomeKind.FAILED, error=ErrorInfo("E", "e").pack(), reason="error")
    with pytest.raises(JobFailed, match="E: e"):
        job.result(timeout=10)
    app.close()
