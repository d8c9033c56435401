"""Volume: large batches, many queues, many threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from taskrunner.brokers.base import Broker, Delivery, JobKey, OutcomeKind, Take
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store, make_outcome

MANY = 5000
JOBS = 2000
THREADS = 4
BATCH = 7


class VolumeTests(BrokerKit):
    def test_five_thousand_at_once(self, store: Store) -> None:
        sent = [f"job-{n}" for n in range(MANY)]
        store.join()
        assert all(receipt.accepted for receipt in store.enqueue(*sent))
        deliveries = store.fetch(MANY + 1)
        assert [d.id for d in deliveries] == sent
        assert len(store.held()) == MANY
        done = [make_outcome(d, OutcomeKind.SUCCEEDED) for d in deliveries]
        assert store.broker.settle("n1", done) == [State.SUCCEEDED] * MANY
        assert store.broker.settle("n1", done) == [State.SUCCEEDED] * MANY
        assert store.stats().processed == MANY
        keys = [JobKey("q", job_id) for job_id in sent]
        assert store.broker.watch("waiter", keys) == [True] * MANY

    def test_five_thousand_given_back_cancelled_and_swept(self, store: Store) -> None:
        sent = [f"job-{n}" for n in range(MANY)]
        store.join()
        store.enqueue(*sent)
        store.fetch(MANY)
        store.broker.leave("n1", ["q"])
        assert store.stats().counts[State.PENDING] == MANY
        assert store.broker.cancel([JobKey("q", job_id) for job_id in sent]) == [True] * MANY
        store.later(1e6)
        assert store.sweep(limit=1000) >= MANY
        assert sum(store.stats().counts.values()) == 0

    def test_five_thousand_fall_due(self, store: Store) -> None:
        store.enqueue(*[f"job-{n}" for n in range(MANY)], delay=10.0)
        store.later(11.0)
        assert len(store.broker.due(["q"], 0.0, MANY)) == MANY
        assert [store.promote(MANY - 1), store.promote(MANY), store.promote()] == [MANY - 1, 1, 0]

    def test_many_queues_in_one_plan(self, store: Store) -> None:
        queues = [f"queue-{n:03}" for n in range(100)]
        store.join("n1", queues)
        for queue in queues:
            store.enqueue("a", "b", queue=queue)
        found = store.broker.fetch("n1", [Take(queue, 1) for queue in queues], 1)
        assert [(d.queue, d.number) for d in found.deliveries] == [
            (queue, n + 1) for n, queue in enumerate(queues)
        ]
        assert found.left == dict.fromkeys(queues, 1)
        assert store.broker.queues() == queues
        assert len(store.broker.stats(queues)) == len(store.broker.held("n1", queues)) == 100

    def test_threads_lose_nothing_and_run_nothing_twice(self, store: Store) -> None:
        """Four producers, four nodes that fetch, give back and settle, and somebody who looks."""
        for n in range(THREADS):
            store.join(f"n{n}")
        sent = [f"job-{n}" for n in range(JOBS)]
        store.given["q"].update(sent)
        producing = threading.Event()
        with ThreadPoolExecutor(2 * THREADS + 1) as pool:
            parts = [sent[n::THREADS] for n in range(THREADS)]
            producers = [pool.submit(store.enqueue, *part) for part in parts]
            nodes = [pool.submit(_work, store.broker, f"n{n}", producing) for n in range(THREADS)]
            onlooker = pool.submit(_look, store.broker, producing)
            for producer in producers:
                assert all(receipt.accepted for receipt in producer.result())
            producing.set()
            runs = Counter(job_id for node in nodes for job_id in node.result())
            onlooker.result()
        assert set(runs) == set(sent)
        assert max(runs.values()) == 1
        assert store.stats().processed == JOBS
        assert store.stats().counts[State.SUCCEEDED] == JOBS


def _work(broker: Broker, node: str, all_sent: threading.Event) -> list[str]:
    """Run until nothing is left; every fifth delivery is given back once. Answers what was run."""
    ran: list[str] = []
    for deliveries in _batches(broker, node, all_sent):
        given_back = [d for d in deliveries if d.attempts == 0 and d.number % 5 == 0]
        done = [d for d in deliveries if d not in given_back]
        outcomes = [make_outcome(d, OutcomeKind.RELEASED) for d in given_back]
        outcomes += [make_outcome(d, OutcomeKind.SUCCEEDED) for d in done]
        assert None not in broker.settle(node, outcomes)
        ran += [d.id for d in done]
    return ran


def _batches(broker: Broker, node: str, all_sent: threading.Event) -> Iterator[list[Delivery]]:
    first = 1
    while True:
        nothing_follows = all_sent.is_set()
        deliveries = broker.fetch(node, [Take("q", BATCH)], first).deliveries
        first += BATCH
        if deliveries:
            yield deliveries
        elif nothing_follows and _is_done(broker):
            return
        else:
            all_sent.wait(0.001)


def _is_done(broker: Broker) -> bool:
    counts = broker.stats(["q"])[0].counts
    return not counts[State.PENDING] and not counts[State.ACTIVE]


def _look(broker: Broker, all_sent: threading.Event) -> None:
    while not all_sent.wait(0.001):
        counts = broker.stats(["q"])[0].counts
        assert min(counts.values()) >= 0
        assert sum(counts.values()) <= JOBS
