"""Bells: who is woken by what, and who is not."""

from __future__ import annotations

import threading
from collections.abc import Callable

from taskrunner.brokers.base import Bell, BellKind, JobKey, OutcomeKind, Take
from taskrunner.states import State
from taskrunner.testing._conformance_kit import A_WHILE, LEASE, BrokerKit, Ear, Store

READY = Bell(BellKind.READY, "q")


def be_idle(store: Store, *nodes: str) -> None:
    for node in nodes:
        store.join(node)
        assert store.fetch(1, node=node) == []


def woken(ears: list[Ear]) -> int:
    """How many of them heard that a job is ready."""
    return sum(READY in ear.everything() for ear in ears)


class BellTests(BrokerKit):
    # -- work for somebody idle

    def test_a_new_job_wakes_one_idle_node_and_not_all(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        ears = [ear(node) for node in ("n1", "n2", "n3")]
        be_idle(store, "n1", "n2", "n3")
        store.enqueue("a")
        assert woken(ears) == 1
        store.enqueue("b")
        assert woken(ears) == 1

    def test_nobody_idle_nobody_woken(self, store: Store, ear: Callable[[str], Ear]) -> None:
        ears = [ear("n1")]
        store.join("n1")
        store.enqueue("a")
        assert woken(ears) == 0

    def test_who_got_as_much_as_it_wanted_is_not_idle(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        busy = ear("n1")
        be_idle(store, "n1")
        store.enqueue("a")
        assert busy.hears(BellKind.READY)
        assert len(store.fetch(1)) == 1
        store.enqueue("b")
        assert woken([busy]) == 0

    def test_who_leaves_jobs_behind_wakes_the_next(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        first, second = ear("n1"), ear("n2")
        be_idle(store, "n1", "n2")
        store.enqueue("a", "b")
        heard_first = woken([first])
        fetcher, other = ("n1", second) if heard_first else ("n2", first)
        assert len(store.fetch(1, node=fetcher)) == 1
        assert woken([other]) == 1

    def test_who_cannot_take_it_passes_the_bell_on(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        first, second = ear("n1"), ear("n2")
        be_idle(store, "n1", "n2")
        store.enqueue("a")
        fetcher, other = ("n1", second) if woken([first]) else ("n2", first)
        assert store.broker.fetch(fetcher, [Take("q", 0)], 100).deliveries == []
        assert woken([other]) == 1
        assert store.state("a") is State.PENDING

    def test_who_asks_for_none_is_off_the_list(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        ears = [ear("n1")]
        be_idle(store, "n1")
        store.broker.fetch("n1", [Take("q", 0)], 100)
        store.enqueue("a")
        assert woken(ears) == 0

    def test_who_is_lost_or_left_is_off_the_list(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        alive = ear("n3")
        be_idle(store, "n1", "n2", "n3")
        store.broker.leave("n1", ["q"])
        store.reap(dead=["n2"])
        store.enqueue("a")
        assert woken([alive]) == 1

    def test_each_queue_has_its_own_list(self, store: Store, ear: Callable[[str], Ear]) -> None:
        node = ear("n1")
        store.join("n1", ["q", "r"])
        store.broker.fetch("n1", [Take("q", 1), Take("r", 1)], 1)
        store.enqueue("a", queue="r")
        assert node.hears(BellKind.READY, "r")
        store.enqueue("a", queue="q")
        assert node.hears(BellKind.READY, "q")

    def test_what_is_given_back_wakes_somebody(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        idle = ear("n2")
        for kind in (OutcomeKind.RELEASED, OutcomeKind.RETRY):
            delivery = store.run(f"job-{kind}")
            be_idle(store, "n2")
            store.settle(delivery, kind, delay=0.0)
            assert woken([idle]) == 1
            store.cancel(f"job-{kind}")

    def test_what_is_taken_back_wakes_somebody(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        idle = ear("n2")
        store.run("a", node="dead")
        be_idle(store, "n2")
        store.reap(dead=["dead"])
        assert woken([idle]) == 1

    # -- the end of a job

    def test_who_watches_hears_of_every_end(self, store: Store, ear: Callable[[str], Ear]) -> None:
        waiter = ear("waiter")
        for kind in (OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.CANCELLED):
            delivery = store.run(f"job-{kind}")
            assert store.broker.watch("waiter", [JobKey("q", delivery.id)]) == [False]
            store.settle(delivery, kind)
            assert waiter.hears(BellKind.FINISHED, "q", delivery.id)

    def test_and_of_an_end_that_no_node_settled(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        waiter = ear("waiter")
        store.enqueue("cancelled", "expired", "swept", expires_in=2 * LEASE)
        keys = [JobKey("q", i) for i in ("cancelled", "expired", "swept")]
        assert store.broker.watch("waiter", keys) == [False, False, False]
        store.cancel("cancelled")
        assert waiter.hears(BellKind.FINISHED, "q", "cancelled")
        store.later(3 * LEASE)
        store.join()
        assert store.fetch() == []
        assert waiter.hears(BellKind.FINISHED, "q", "expired")
        store.sweep()
        assert store.state("swept") is State.EXPIRED

    def test_and_of_a_success_that_is_not_kept(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        waiter = ear("waiter")
        delivery = store.run("a")
        store.broker.watch("waiter", [JobKey("q", "a")])
        store.settle(delivery, retention=0.0)
        assert waiter.hears(BellKind.FINISHED, "q", "a")

    def test_every_watcher_hears(self, store: Store, ear: Callable[[str], Ear]) -> None:
        waiters = [ear("w1"), ear("w2")]
        delivery = store.run("a")
        for name in ("w1", "w2"):
            store.broker.watch(name, [JobKey("q", "a")])
        store.settle(delivery)
        assert [w.hears(BellKind.FINISHED, "q", "a") for w in waiters] == [True, True]

    def test_the_result_is_there_when_the_bell_rings(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        waiter = ear("waiter")
        delivery = store.run("a")
        store.broker.watch("waiter", [JobKey("q", "a")])
        thread = threading.Thread(target=store.settle, args=(delivery,))
        thread.start()
        assert waiter.hears(BellKind.FINISHED, "q", "a")
        assert store.state("a") is State.SUCCEEDED
        thread.join(A_WHILE)

    def test_what_is_finished_or_unknown_is_said_at_once(self, store: Store) -> None:
        store.settle(store.run("done"))
        store.settle(store.run("gone"), retention=0.0)
        store.enqueue("waits")
        keys = [JobKey("q", i) for i in ("done", "gone", "waits", "unknown")]
        keys.append(JobKey("nowhere", "a"))
        assert store.broker.watch("waiter", keys) == [True, True, False, True, True]
        assert store.broker.watch("waiter", []) == []

    def test_a_retry_is_not_the_end(self, store: Store, ear: Callable[[str], Ear]) -> None:
        waiter = ear("waiter")
        delivery = store.run("a")
        store.broker.watch("waiter", [JobKey("q", "a")])
        store.settle(delivery, OutcomeKind.RETRY, delay=0.0)
        assert Bell(BellKind.FINISHED, "q", "a") not in waiter.everything()
        store.settle(store.fetch_one())
        assert waiter.hears(BellKind.FINISHED, "q", "a")

    # -- mailboxes

    def test_a_wait_ends_when_its_time_is_up(self, ear: Callable[[str], Ear]) -> None:
        assert ear("n1").mailbox.wait(0.01) == []

    def test_a_wake_ends_the_wait_of_now_or_the_next(self, ear: Callable[[str], Ear]) -> None:
        mailbox = ear("n1").mailbox
        mailbox.wake()
        assert mailbox.wait(A_WHILE) == []  # the test's own time limit says that it did not last
        waiter = threading.Thread(target=mailbox.wait, args=(10 * A_WHILE,))
        waiter.start()
        mailbox.wake()
        waiter.join(A_WHILE)
        assert not waiter.is_alive()

    def test_a_bell_before_the_wait_is_not_missed(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        node = ear("n1")
        be_idle(store, "n1")
        store.enqueue("a")
        assert node.hears(BellKind.READY)

    def test_a_bell_for_a_mailbox_that_is_closed_or_never_was(
        self, store: Store, ear: Callable[[str], Ear]
    ) -> None:
        ear("n1").mailbox.close()
        be_idle(store, "n1", "n2")
        store.enqueue("a", "b")
        assert len(store.fetch(2)) == 2
