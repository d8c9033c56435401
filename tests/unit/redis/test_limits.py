"""What limits cost a Redis, what they leave there, and what an audit makes of damage to that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
from redis import Redis

from taskrunner.brokers.base import FindingKind, Limits, NodeInfo, Outcome, OutcomeKind, Take
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.limit_calls import pack_limit, unpack_limit
from taskrunner.limits import NONE, WHOLE_QUEUE, Limit, OwnLimits, Rate, Scope, ScopeKind
from taskrunner.message import Header
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store, make_message

TASK = Scope(ScopeKind.TASK, "t")
BATCH = 100


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    broker = RedisBroker.from_url(redis_url, namespace=uuid4().hex, limits=Limits())
    yield broker
    broker.close()


@pytest.fixture
def store(broker: RedisBroker) -> Store:
    return Store(broker)


def ask(store: Store, *command: object) -> object:
    assert isinstance(store.broker, RedisBroker)
    name, key, *rest = command
    (answer,) = store.broker._calls.ask([(name, store.broker._keys.of_queue("q", str(key)), *rest)])
    return answer


def commands_of_a_batch(
    broker: RedisBroker, url: str, queue: str
) -> tuple[Counter[str], list[str]]:
    """What a fetch and a settle of a batch ask inside their scripts, and how many came by wire."""
    broker.enqueue([make_message(f"warm-{n}", queue=queue) for n in range(2)])
    broker.join(NodeInfo(id="n1", lease=15.0), [queue])
    settle_all(broker, queue, 1, 2)
    broker.enqueue([make_message(f"j{n}", queue=queue) for n in range(BATCH)])
    client = Redis.from_url(url)
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        settle_all(broker, queue, 10, BATCH)
        client.echo("that was all")
        inside: Counter[str] = Counter()
        wire: list[str] = []
        for seen in cast("Iterator[Any]", monitor.listen()):
            if "that was all" in seen["command"]:
                break
            if seen["client_type"] == "lua":
                inside[seen["command"].split()[0]] += 1
            elif seen["command"].startswith("EVAL"):
                wire.append(seen["command"].split()[0])
    client.close()
    return inside, wire


def settle_all(broker: RedisBroker, queue: str, first: int, limit: int) -> None:
    found = broker.fetch("n1", [Take(queue, limit, slots=2)], first)
    assert len(found.deliveries) == limit
    done = [Outcome(queue, d.id, d.number, OutcomeKind.SUCCEEDED) for d in found.deliveries]
    assert set(broker.settle("n1", done)) == {State.SUCCEEDED}


def test_jobs_that_use_none_of_it_cost_one_command_more_for_a_batch_at_most(
    broker: RedisBroker, redis_url: str
) -> None:
    plain, trips = commands_of_a_batch(broker, redis_url, "plain")
    assert trips == ["EVALSHA", "EVALSHA"]
    broker.declare_limits(["beside"], {"another": Limit(Rate.parse("1/s"), 1)})
    beside, trips_beside = commands_of_a_batch(broker, redis_url, "beside")
    assert trips_beside == trips
    # One in the fetch, one in the settle.
    assert beside - plain == Counter({"HGETALL": 1, "HEXISTS": 1})
    # And where there are no limits at all, nothing is asked of them.
    assert plain["HEXISTS"] == 0


def test_nothing_is_left_when_limits_were_used_and_are_gone(store: Store) -> None:
    store.join()
    header = Header(task="t", limit_keys=OwnLimits(Rate.parse("1/m"), "r", 1, "k").texts())
    store.enqueue("a", "b", header=header)
    for _ in range(2):
        for delivery in store.fetch(5):
            store.settle(delivery, retention=1.0)
        store.later(61.0)
        store.beat()
    store.later(100.0)
    store.sweep()
    assert isinstance(store.broker, RedisBroker)
    left = store.broker._calls.ask([("KEYS", f"*{store.broker._keys.of_queue('q', '')[1:-2]}*")])[0]
    assert isinstance(left, list)
    rests = {key.decode().split("}:")[1] for key in left if b"}:" in key}
    assert {
        rest for rest in rests if rest.startswith(("places", "tats", "parked", "gates"))
    } == set()


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"garbage", pack_limit(Limit(None, 1))[:-3]])
def test_a_limit_that_cannot_be_read_holds_its_jobs_and_is_reported(
    store: Store, packed: bytes
) -> None:
    store.join()
    store.broker.set_limit("q", TASK, Limit(None, 5))
    ask(store, "HSET", "limits", "s:task:t", packed or b"\x90")
    store.enqueue("a", header=Header(task="t"))
    store.enqueue("b", header=Header(task="other"))
    assert [d.id for d in store.fetch(5)] == ["b"]
    (state,) = [s for s in store.broker.limits("q") if s.scope == TASK]
    assert state.problem
    assert FindingKind.UNREADABLE in {found.kind for found in store.audit()}
    store.broker.set_limit("q", TASK, Limit(None, 5))
    assert [d.id for d in store.fetch(5)] == ["a"]


def test_a_limit_of_a_later_version_is_named(store: Store) -> None:
    with pytest.raises(ValueError, match="a limit of version 9; this is version 1"):
        unpack_limit(b"\x96\x09" + pack_limit(Limit(None, 1))[2:])


def test_packed_limits_are_read_as_they_were() -> None:
    for limit in (
        Limit(Rate.parse("5/m burst 2"), 3),
        Limit(NONE, None),
        Limit(None, NONE),
        Limit(Rate.parse("1/s")),
    ):
        assert unpack_limit(pack_limit(limit)) == limit


def test_an_audit_finds_places_of_jobs_that_do_not_run_and_gives_them_back(store: Store) -> None:
    store.join()
    store.broker.set_limit("q", TASK, Limit(None, 1))
    ask(store, "ZADD", "places:task:t", 1, "nobody")
    store.enqueue("a")
    assert store.fetch(1) == []
    assert {found.subject for found in store.audit()} == {"nobody"}
    store.audit(repair=True)
    assert store.audit() == []
    store.sweep()
    assert [d.id for d in store.fetch(1)] == ["a"]


def test_an_audit_puts_running_jobs_back_into_their_places(store: Store) -> None:
    store.join()
    store.broker.set_limit("q", TASK, Limit(None, 1))
    store.enqueue("a", "b")
    store.fetch(1)
    ask(store, "DEL", "places:task:t")
    assert {found.kind for found in store.audit()} == {FindingKind.UNINDEXED}
    store.audit(repair=True)
    assert store.audit() == []
    assert store.fetch(1) == []


def test_a_gate_that_was_lost_is_found_and_opened(store: Store) -> None:
    store.join()
    store.broker.set_limit("q", TASK, Limit(None, 1))
    store.enqueue("a", "b")
    (delivery,) = store.fetch(1)
    assert store.fetch(1) == []
    store.settle(delivery, OutcomeKind.SUCCEEDED)
    ask(store, "DEL", "gates")
    assert {found.kind for found in store.audit()} == {FindingKind.UNINDEXED}
    store.audit(repair=True)
    assert [d.id for d in store.fetch(1)] == ["b"]


def test_a_place_that_was_lost_with_its_key_does_not_hold_others_for_ever(store: Store) -> None:
    store.join()
    store.broker.set_limit("q", TASK, Limit(None, 1))
    store.enqueue("a", "b")
    store.fetch(1)
    assert store.fetch(1) == []
    ask(store, "DEL", "places:task:t")
    store.sweep()
    assert [d.id for d in store.fetch(1)] == ["b"]


def test_the_limit_of_a_queue_rings_those_who_wait_for_it(store: Store) -> None:
    store.join()
    store.broker.set_limit("q", WHOLE_QUEUE, Limit(None, 1))
    store.enqueue("a", "b")
    (delivery,) = store.fetch(5)
    assert store.fetch(5) == []
    assert ask(store, "SISMEMBER", "idle", "n1") == 1
    store.settle(delivery)
    assert ask(store, "SISMEMBER", "idle", "n1") == 0


def test_a_crowd_that_waits_for_two_limits_is_not_moved_to_and_fro_as_a_whole(
    store: Store,
) -> None:
    names = [f"j{n:03}" for n in range(130)]
    store.join()
    store.broker.set_limit("q", TASK, Limit(Rate.parse("1/h")))
    store.enqueue("first", *names)
    assert [d.id for d in store.fetch(5)] == ["first"]
    store.broker.set_limit("q", TASK, Limit(Rate.parse("1000/s burst 1000"), 1))
    assert store.fetch(5) == []  # what was used of the slower rate is cut to one burst
    store.later(5.0)
    found = []
    for _ in names:
        (delivery,) = store.fetch(5)
        found.append(delivery.id)
        moved = store.stats().parked.get("limit:running:task:t", 0)
        assert moved <= 50 * len(found)
        store.settle(delivery)
        store.later(0.2)
    assert found == names
