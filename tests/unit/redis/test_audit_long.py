"""Auditing what is too long for one script, at rest and while it moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from taskrunner.brokers.base import Finding, FindingKind, JobKey, Limits, OutcomeKind, Take
from taskrunner.brokers.redis import audit, audit_queue, walks
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Store, make_message, make_outcome

JOBS = 1000
"""Ids that traffic uses, again and again."""
SENT = [f"job-{n}" for n in range(300)]


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred are many."""
    monkeypatch.setattr(audit_queue, "ENTRIES", 50)
    monkeypatch.setattr(audit_queue, "PAGE", 20)
    monkeypatch.setattr(walks, "PAGE", 20)
    monkeypatch.setattr(walks, "WINDOW", 20)
    monkeypatch.setattr(audit, "SCANNED", 50)


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    broker = RedisBroker.from_url(redis_url, namespace=uuid4().hex, limits=Limits())
    yield broker
    broker.close()


@pytest.fixture
def store(broker: RedisBroker) -> Iterator[Store]:
    store = Store(broker)
    yield store
    store.check_counts()
    assert store.audit() == []


@pytest.fixture
def do(broker: RedisBroker) -> Callable[..., Any]:
    def run(command: str, rest: str, *arguments: Any) -> Any:
        return broker._calls.ask([(command, broker._keys.of_queue("q", rest), *arguments)])[0]

    return run


def seen(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(str(f.kind), f.subject, f.detail) for f in findings]


def with_leftovers(store: Store) -> list[str]:
    """A long list with entries of jobs that have left; ids of those that are there."""
    store.enqueue(*SENT)
    gone = SENT[::7]
    store.broker.cancel([JobKey("q", job_id) for job_id in gone])
    return [job_id for job_id in SENT if job_id not in set(gone)]


def test_a_long_list_is_sound(store: Store) -> None:
    with_leftovers(store)
    assert store.audit() == []
    assert store.audit(repair=True) == []


@pytest.mark.parametrize("which", [0, 149, -1])
def test_a_job_that_is_not_in_its_long_list(
    store: Store, do: Callable[..., Any], which: int
) -> None:
    missing = with_leftovers(store)[which]
    assert do("LREM", "ready:5", 0, missing) == 1
    expected = [("unindexed", missing, "pending, and not in ready:5")]
    assert seen(store.audit()) == expected
    assert seen(store.audit(repair=True)) == expected
    assert store.audit() == []
    store.join()
    assert missing in {delivery.id for delivery in store.fetch(300)}


def test_a_long_list_that_is_gone(store: Store, do: Callable[..., Any]) -> None:
    here = with_leftovers(store)
    do("DEL", "ready:5")
    assert {f.subject for f in store.audit(repair=True)} == set(here)
    assert store.audit() == []
    store.join()
    assert len(store.fetch(300)) == len(here)


@pytest.mark.parametrize("end", ["LPUSH", "RPUSH"])
def test_a_job_that_is_twice_in_a_long_list(store: Store, do: Callable[..., Any], end: str) -> None:
    here = with_leftovers(store)
    do(end, "ready:5", here[120])
    assert seen(store.audit()) == [("doubled", here[120], "twice in ready:5")]
    assert len(store.audit(repair=True)) == 1
    assert store.audit() == []
    store.join()
    assert sorted(delivery.id for delivery in store.fetch(300)) == sorted(here)


@pytest.mark.parametrize("by", [1, 5, -1, -300])
def test_a_wrong_counter_of_a_long_list(store: Store, do: Callable[..., Any], by: int) -> None:
    here = with_leftovers(store)
    do("HINCRBY", "stats", "p5", by)
    expected = [("counter", "p5", f"says {len(here) + by}, there are {len(here)}")]
    assert seen(store.audit()) == expected
    assert seen(store.audit(repair=True)) == expected


def test_a_missing_job_and_a_wrong_counter(store: Store, do: Callable[..., Any]) -> None:
    here = with_leftovers(store)
    do("LREM", "ready:5", 0, here[3])
    do("HINCRBY", "stats", "p5", -1)
    found = {(kind, subject) for kind, subject, _ in seen(store.audit(repair=True))}
    assert found == {("unindexed", here[3]), ("counter", "p5")}


@pytest.mark.parametrize("counter", ["succeeded", "cancelled", "expired"])
@pytest.mark.parametrize("by", [4, -1])
def test_a_wrong_counter_of_many_finished_jobs(
    store: Store, do: Callable[..., Any], counter: str, by: int
) -> None:
    store.join()
    store.enqueue(*SENT)
    kinds = [OutcomeKind.SUCCEEDED, OutcomeKind.CANCELLED, OutcomeKind.EXPIRED]
    deliveries = store.fetch(300)
    outcomes = [
        make_outcome(d, kinds[n % 3], retention=50.0 + n // 15) for n, d in enumerate(deliveries)
    ]
    store.broker.settle("n1", outcomes)
    assert store.audit() == []
    do("HINCRBY", "stats", counter, by)
    expected = [("counter", counter, f"says {100 + by}, there are 100")]
    assert seen(store.audit()) == expected
    assert seen(store.audit(repair=True)) == expected
    assert store.stats().counts[State(counter)] == 100


def test_more_jobs_of_one_moment_than_one_script_counts(
    store: Store, do: Callable[..., Any]
) -> None:
    store.join()
    store.enqueue(*SENT)
    store.broker.settle("n1", [make_outcome(d, OutcomeKind.CANCELLED) for d in store.fetch(300)])
    assert store.audit() == []
    do("HINCRBY", "stats", "cancelled", 1)
    assert seen(store.audit()) == [("counter", "cancelled", "says 301, there are at most 300")]
    do("HINCRBY", "stats", "cancelled", -1)


def test_two_audits_do_not_correct_a_counter_twice(
    store: Store, do: Callable[..., Any], broker: RedisBroker
) -> None:
    with_leftovers(store)
    do("HINCRBY", "stats", "p5", 9)
    late = broker.audit(repair=True)
    command = broker._scripts.audit_correct("q", corrected=0, rows=[("p5", -9)])

    def quicker(*_: Any, **__: Any) -> Any:
        assert broker._calls.run([command]) == [1]
        return command

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broker._scripts, "audit_correct", quicker)
        findings = [found for part in late for found in part]
    assert [found.repaired for found in findings] == [False]


# -- beside traffic


class Traffic:
    """Everything that moves jobs, in threads, until the block ends. `sweeps`: damage is mended by
    housekeeping too, in time."""

    def __init__(self, broker: RedisBroker, *, sweeps: bool = True) -> None:
        self._broker = broker
        self._sweeps = sweeps
        self._ends = threading.Event()
        self._pool = ThreadPoolExecutor(4)
        self._doing = [
            self._pool.submit(work)
            for work in (self._produce, self._consume, self._cancel, self._keep_house)
        ]

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._pool.shutdown()
        for work in self._doing:
            work.result()

    def _produce(self) -> None:
        numbers = count()
        while not self._ends.is_set():
            stats = self._broker.stats(["q"])[0]
            if stats.counts[State.PENDING] < JOBS / 2:
                fields: dict[str, Any] = {"priority": 5} if next(numbers) % 3 else {"delay": 0.02}
                calls = [next(numbers) for _ in range(20)]
                self._broker.enqueue(
                    [make_message(f"j-{n % JOBS}", call=f"c{n}", **fields) for n in calls]
                )
            self._ends.wait(0.002)

    def _consume(self) -> None:
        store, kinds = Store(self._broker), list(OutcomeKind)
        store.join("traffic")
        for first in count(1, 10):
            if self._ends.wait(0.002):
                return
            found = self._broker.fetch("traffic", [Take("q", 10, ("k",))], first)
            outcomes = [
                make_outcome(d, kinds[d.number % 7], delay=0.01, retention=0.05 * (d.number % 3))
                for d in found.deliveries
            ]
            self._broker.settle("traffic", outcomes)

    def _cancel(self) -> None:
        for number in count(0, 3):
            if self._ends.wait(0.001):
                return
            ids = [f"j-{n % JOBS}" for n in range(number, number + 2)]
            self._broker.cancel([JobKey("q", job_id) for job_id in ids])

    def _keep_house(self) -> None:
        while not self._ends.wait(0.005):
            self._broker.promote(["q"], 100)
            if self._sweeps:
                self._broker.sweep(["q"], 50)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("repair", [False, True])
def test_traffic_is_no_damage(
    store: Store, broker: RedisBroker, monkeypatch: pytest.MonkeyPatch, repair: bool
) -> None:
    monkeypatch.setattr(walks, "PAGE", 60)
    compared = watch_comparisons(monkeypatch)
    store.join("traffic")
    store.enqueue(*SENT)
    with Traffic(broker):
        for done in count():
            assert store.audit(repair=repair) == []
            # While the list is short, or too lively, nothing is put to the test.
            if done >= 8 and len(compared) >= 3:
                break
    broker.leave("traffic", ["q"])
    assert store.audit() == []
    ids = {key.decode().split(":job:")[1] for key in _job_keys(broker)}
    store.given["q"] = ids


def watch_comparisons(monkeypatch: pytest.MonkeyPatch) -> list[walks.Bounds]:
    """What was found out about long lists."""
    found: list[walks.Bounds] = []
    pending = walks.pending

    def watched(*arguments: Any) -> walks.Bounds:
        found.append(pending(*arguments))
        return found[-1]

    monkeypatch.setattr(walks, "pending", watched)
    return found


def _job_keys(broker: RedisBroker) -> list[bytes]:
    (keys,) = broker._calls.ask([("KEYS", broker._keys.of_queue("q", "job:*"))])
    return list(keys)


def test_damage_is_found_beside_traffic(
    store: Store, broker: RedisBroker, do: Callable[..., Any]
) -> None:
    store.enqueue(*SENT)
    store.enqueue(*[f"low-{n}" for n in range(200)], priority=1)
    store.enqueue("late", delay=900.0)
    do("LREM", "ready:1", 0, "low-77")
    do("ZREM", "scheduled", "late")
    with Traffic(broker, sweeps=False):
        found = {(f.kind, f.subject) for f in store.audit()}
        assert found == {(FindingKind.UNINDEXED, "low-77"), (FindingKind.UNINDEXED, "late")}
        assert {(f.kind, f.subject) for f in store.audit(repair=True)} == found
        assert store.audit() == []
    broker.leave("traffic", ["q"])
    store.given["q"] = {key.decode().split(":job:")[1] for key in _job_keys(broker)}
