"""A Redis Cluster of which one server is away: each call answers for what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar
from uuid import uuid4

import pytest
from redis.crc import key_slot

from taskrunner.backends.base import ResultKey, StoredResult
from taskrunner.backends.redis import RedisBackend
from taskrunner.brokers.base import (
    Bell,
    BellKind,
    JobKey,
    Limits,
    NodeInfo,
    Note,
    OutcomeKind,
    Take,
)
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.mailbox import RedisMailbox
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable
from taskrunner.states import State
from taskrunner.testing._conformance_kit import LEASE, Store, make_message, make_outcome
from taskrunner.testing.redis_cluster import RedisCluster
from taskrunner.testing.waiting import eventually

T = TypeVar("T")
NODE = NodeInfo("n1", LEASE)


class Torn:
    """A cluster whose server of the directory, and of one queue of two, is away."""

    def __init__(self, cluster: RedisCluster) -> None:
        self.cluster = cluster
        self.broker = RedisBroker.from_url(cluster.url, namespace=uuid4().hex, limits=Limits())
        self.namespace = self.broker._keys.namespace
        self.fallen = cluster.of_slot(key_slot(self.namespace.encode()))
        queues = cluster.queues_by_owner(namespace=self.namespace)
        at = cluster.nodes.index(self.fallen)
        self.lost = queues[at]
        self.here = queues[(at + 1) % len(queues)]
        self.both = [self.lost, self.here]
        self.plan = [Take(queue, 1) for queue in self.both]
        self.mailbox = self.broker.open_mailbox("w")
        jobs = Store(self.broker)
        jobs.join("n1", self.both)
        for queue in self.both:
            jobs.enqueue(*"abcd", queue=queue)
        self.first = self.broker.fetch("n1", self.plan, 1).deliveries
        self.fallen.kill()

    def keys(self, job_id: str) -> list[JobKey]:
        return [JobKey(queue, job_id) for queue in self.both]

    def close(self) -> None:
        self.mailbox.close()
        self.broker.close()


@pytest.fixture(scope="module")
def torn() -> Iterator[Torn]:
    with RedisCluster() as cluster:
        torn = Torn(cluster)
        yield torn
        torn.close()


def answer(call: Callable[[], T], *, without: str | None) -> T:
    """What the servers answer that are there."""
    with pytest.raises(PartlyUnavailable, match="cannot reach") as caught:
        call()
    assert caught.value.queues == ({without} if without else frozenset())
    return caught.value.answer  # type: ignore[no-any-return]


def test_a_fetch_brings_what_is_there_under_the_numbers_of_its_place(torn: Torn) -> None:
    fetched = answer(lambda: torn.broker.fetch("n1", torn.plan, 11), without=torn.lost)
    assert [(d.queue, d.number) for d in fetched.deliveries] == [(torn.here, 12)]
    assert fetched.left.keys() == {torn.here}


def test_a_settle_and_a_note_reach_what_is_there(torn: Torn) -> None:
    outcomes = [make_outcome(delivery, OutcomeKind.SUCCEEDED) for delivery in torn.first]
    notes = [Note(d.queue, d.id, d.number, 1, 0.0) for d in torn.first]
    assert answer(lambda: torn.broker.note("n1", notes), without=torn.lost) == [False, True]
    settled = answer(lambda: torn.broker.settle("n1", outcomes), without=torn.lost)
    assert settled == [None, State.SUCCEEDED]


def test_looks_and_cancels_too(torn: Torn) -> None:
    broker, keys = torn.broker, torn.keys("d")
    assert answer(lambda: broker.watch("w", keys), without=torn.lost) == [False, False]
    records = answer(lambda: broker.get(keys), without=torn.lost)
    assert [record and record.id for record in records] == [None, "d"]
    assert answer(lambda: broker.cancel(keys), without=torn.lost) == [None, True]
    stats = answer(lambda: broker.stats(torn.both), without=torn.lost)
    assert [found.queue for found in stats] == [torn.here]


def test_nodes_and_the_house_are_kept_where_that_is_possible(torn: Torn) -> None:
    broker, both = torn.broker, torn.both
    assert answer(lambda: broker.beat(NODE, both), without=torn.lost) == []
    assert answer(lambda: broker.due(both, 5.0, 1), without=torn.lost) == []
    assert answer(lambda: broker.promote(both, 1), without=torn.lost) == 0
    assert answer(lambda: broker.sweep(both, 1), without=torn.lost) in (0, 1)
    held = answer(lambda: broker.held("n1", both), without=torn.lost)
    assert {key.queue for key, _ in held} <= {torn.here}
    answer(lambda: broker.join(NodeInfo("n2", LEASE), both), without=torn.lost)
    assert answer(lambda: broker.reap(both, 5, ["n2"]), without=torn.lost) == 0
    answer(lambda: broker.leave("n2", both), without=torn.lost)


def test_what_the_queues_share_concerns_none_of_them(torn: Torn) -> None:
    for call in (torn.broker.queues, torn.broker.nodes, lambda: torn.broker.commands("n1")):
        assert answer(call, without=None) == []
    answer(lambda: torn.broker.beat(NODE, [torn.here]), without=None)


def test_where_nothing_at_all_is_there_a_beat_says_so(torn: Torn) -> None:
    with pytest.raises(BrokerUnavailable) as caught:
        torn.broker.beat(NODE, [torn.lost])
    assert type(caught.value) is BrokerUnavailable


def test_a_queue_that_had_jobs_takes_more_and_a_new_one_none(torn: Torn) -> None:
    """From a process that has written nothing into the directory yet."""
    broker = RedisBroker.from_url(torn.cluster.url, namespace=torn.namespace, limits=Limits())
    assert broker.enqueue([make_message("x", queue=torn.here)])[0].accepted
    with pytest.raises(BrokerUnavailable):
        broker.enqueue([make_message("x", queue=new_queue(torn))])  # nobody would find it
    with pytest.raises(BrokerUnavailable):
        broker.enqueue([make_message("x", queue=torn.lost)])
    broker.close()


def new_queue(torn: Torn) -> str:
    for name in (f"new-{n}" for n in range(100)):
        if torn.cluster.owner(name, namespace=torn.namespace) is not torn.fallen:
            return name
    raise AssertionError("no queue is on a server that is there")


def test_results_are_stored_where_that_is_possible(torn: Torn) -> None:
    backend = RedisBackend.from_url(torn.cluster.url, namespace=torn.namespace)
    keys = [ResultKey(queue, "a", "n1", 1) for queue in torn.both]
    results = [StoredResult(key, b"result", 100.0) for key in keys]
    answer(lambda: backend.store(results), without=torn.lost)
    assert backend.get(keys[1:]) == [b"result"]
    with pytest.raises(BrokerUnavailable):
        backend.get(keys)
    backend.close()


def test_a_mailbox_finds_another_server_when_its_own_falls(torn: Torn) -> None:
    mailbox = torn.mailbox
    assert isinstance(mailbox, RedisMailbox)
    for node in torn.cluster.nodes:
        if node.is_running:
            node.ask("CLIENT", "KILL", "TYPE", "pubsub")
    assert mailbox.wait(5.0)  # what was rung before that is not lost
    with pytest.raises(PartlyUnavailable):
        mailbox.wait(5.0)
    assert mailbox.wait(0.0) == []
    left = next(node for node in torn.cluster.nodes if node.is_running)
    left.ask("PUBLISH", torn.broker._keys.everybody, "4 new")
    assert mailbox.wait(5.0) == [Bell(BellKind.QUEUE, "new")]


def test_a_cluster_that_wants_all_its_servers_is_away_as_a_whole(torn: Torn) -> None:
    """CLUSTERDOWN, as by default."""
    left = [node for node in torn.cluster.nodes if node.is_running]

    def wants_all(answer: str) -> None:
        for node in left:
            node.ask("CONFIG", "SET", "cluster-require-full-coverage", answer)

    def complaint() -> str:
        try:
            torn.broker.stats([torn.here])
        except BrokerUnavailable as error:
            return str(error)
        return ""

    assert complaint() == ""
    wants_all("yes")
    eventually(lambda: "The cluster is down" in complaint(), timeout=20)
    wants_all("no")
    eventually(lambda: complaint() == "", timeout=20)
