from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from taskrunner import App, WouldDeadlock, waiting
from taskrunner.brokers.base import Bell, BellKind, JobKey, Mailbox
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.context import CURRENT, JobContext
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable
from taskrunner.testing.waiting import eventually
from taskrunner.waiting import ResultWaiter

KEY = JobKey("q", "id")


class Box(Mailbox):
    """A mailbox that a test rings by hand."""

    def __init__(self) -> None:
        self.bells: list[Bell | Exception] = []
        self.waits: list[float] = []
        self.arrived = threading.Condition()
        self.closed = False
        self.woken = False

    def ring(self, bell: Bell | Exception) -> None:
        with self.arrived:
            self.bells.append(bell)
            self.arrived.notify()

    def wait(self, timeout: float) -> list[Bell]:
        with self.arrived:
            self.waits.append(timeout)
            self.arrived.wait_for(lambda: self.bells or self.woken, timeout)
            self.woken = False
            found, self.bells = self.bells, []
        for bell in found:
            if isinstance(bell, Exception):
                raise bell
        return [bell for bell in found if isinstance(bell, Bell)]

    def wake(self) -> None:
        with self.arrived:
            self.woken = True
            self.arrived.notify()

    def close(self) -> None:
        self.closed = True


class Store(MemoryBroker):
    """Of a broker, what a waiter needs."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Box()
        self.opened = 0
        self.watched: list[list[JobKey]] = []
        self.finished: set[JobKey] = set()
        self.away = 0

    def open_mailbox(self, name: str) -> Mailbox:
        self.opened += 1
        return self.box

    def watch(self, mailbox: str, keys: Sequence[JobKey]) -> list[bool]:
        if self.away:
            self.away -= 1
            raise BrokerUnavailable("away")
        self.watched.append(list(keys))
        return [key in self.finished for key in keys]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def waiter(store: Store) -> Any:
    waiter = ResultWaiter(store)
    yield waiter
    waiter.close()


def in_thread(call: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001  the test looks at it
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_a_job_that_has_finished_is_answered_at_once(store: Store, waiter: ResultWaiter) -> None:
    store.finished.add(KEY)
    assert waiter.wait(KEY, None) is True


def test_a_bell_ends_the_wait_of_all_that_wait_for_its_job(
    store: Store, waiter: ResultWaiter
) -> None:
    waits = [in_thread(lambda: waiter.wait(KEY, 20)) for _ in range(3)]
    other = in_thread(lambda: waiter.wait(JobKey("q", "other"), 0.2))
    eventually(lambda: len(waiter._waits.get(KEY, ())) == 3)
    store.box.ring(Bell(BellKind.FINISHED, "q", "id"))
    for thread, found in waits:
        thread.join(4)
        assert found == [True]
    other[0].join()
    assert other[1] == [False]
    assert store.opened == 1
    assert not waiter._waits


def test_bells_of_other_kinds_wake_nobody(store: Store, waiter: ResultWaiter) -> None:
    store.box.ring(Bell(BellKind.CANCEL, "q", "id"))
    assert waiter.wait(KEY, 0.05) is False


def test_a_lost_bell_is_made_good_by_the_next_look(
    store: Store, waiter: ResultWaiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_S", 0.05)
    thread, found = in_thread(lambda: waiter.wait(KEY, 20))
    eventually(lambda: store.watched)
    store.finished.add(KEY)  # and nobody rings
    thread.join(4)
    assert found == [True]


def test_after_a_lost_connection_everything_is_asked_again(
    store: Store, waiter: ResultWaiter
) -> None:
    thread, found = in_thread(lambda: waiter.wait(KEY, 20))
    eventually(lambda: KEY in waiter._waits and store.watched)
    store.finished.add(KEY)
    store.box.ring(BrokerUnavailable("lost"))
    thread.join(4)  # sooner than the regular look
    assert found == [True]


def test_a_broker_that_is_away_when_the_wait_begins_is_asked_again(
    store: Store, waiter: ResultWaiter
) -> None:
    store.away = 2
    store.finished.add(KEY)
    assert waiter.wait(KEY, 20) is True


def test_a_broker_that_is_away_when_the_first_mailbox_is_opened_is_ridden_out(
    store: Store, waiter: ResultWaiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, refusals = store.open_mailbox, [1, 2]

    def open_mailbox(name: str) -> Mailbox:
        if refusals:
            refusals.pop()
            raise BrokerUnavailable("not yet")
        return opened(name)

    monkeypatch.setattr(store, "open_mailbox", open_mailbox)
    store.finished.add(KEY)
    assert waiter.wait(KEY, 20) is True


def test_a_part_of_the_broker_that_is_away_keeps_nobody_else_waiting(
    store: Store, waiter: ResultWaiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_S", 0.05)
    of_both = store.watch

    def watch(mailbox: str, keys: Sequence[JobKey]) -> list[bool]:
        answers = [
            key.queue != "gone" and done for key, done in zip(keys, of_both("", keys), strict=True)
        ]
        if any(key.queue == "gone" for key in keys):
            raise PartlyUnavailable("no", queues=frozenset({"gone"}), answer=answers)
        return answers

    monkeypatch.setattr(store, "watch", watch)
    gone, _ = in_thread(lambda: waiter.wait(JobKey("gone", "id"), 20))
    eventually(lambda: JobKey("gone", "id") in waiter._waits)
    thread, found = in_thread(lambda: waiter.wait(KEY, 20))
    eventually(lambda: KEY in waiter._waits)
    store.finished.add(KEY)  # and nobody rings
    thread.join(4)
    assert found == [True]
    store.box.ring(Bell(BellKind.FINISHED, "gone", "id"))
    gone.join()


def test_while_nobody_waits_the_thread_sleeps_long(store: Store, waiter: ResultWaiter) -> None:
    assert waiter.wait(KEY, 0.01) is False
    store.box.wake()
    eventually(lambda: store.box.waits and store.box.waits[-1] == waiting.IDLE_S)


def test_close_ends_the_thread_and_may_be_called_twice_and_before_any_wait(store: Store) -> None:
    waiter = ResultWaiter(store)
    waiter.close()
    waiter = ResultWaiter(store)
    waiter.wait(KEY, 0.01)
    waiter.close()
    waiter.close()
    assert store.box.closed
    assert waiter._thread is not None
    assert not waiter._thread.is_alive()


# -- inside a task


def context(told: list[bool]) -> JobContext:
    return JobContext(id="me", task="t", queue="q", attempt=1, blocked=told.append)


def test_inside_a_task_the_wait_is_told_and_ended(store: Store, waiter: ResultWaiter) -> None:
    told: list[bool] = []
    token = CURRENT.set(context(told))
    try:
        assert waiter.wait(KEY, 0.01) is False
        store.finished.add(KEY)
        assert waiter.wait(KEY, 0.01) is True
    finally:
        CURRENT.reset(token)
    assert told == [True, False], "a job that has finished already blocks nobody"


def test_a_deadlock_ends_the_wait_of_a_task(store: Store, waiter: ResultWaiter) -> None:
    told: list[bool] = []
    me = context(told)

    def wait() -> bool:
        CURRENT.set(me)
        return waiter.wait(KEY, 20)

    thread, found = in_thread(wait)
    eventually(lambda: told == [True])
    me.deadlock()
    thread.join(4)
    assert isinstance(found[0], WouldDeadlock)
    assert told == [True, False]


def test_a_deadlock_ends_the_wait_of_an_async_task_too(store: Store, waiter: ResultWaiter) -> None:
    told: list[bool] = []
    me = context(told)

    async def task() -> None:
        CURRENT.set(me)
        waits = [asyncio.create_task(waiter.await_(JobKey("q", n), 20)) for n in "ab"]
        while len(me._waits) < 2:
            await asyncio.sleep(0.001)
        assert told == [True], "two waits block one job once"
        me.deadlock()
        answers = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(answer) for answer in answers] == [WouldDeadlock, WouldDeadlock]

    asyncio.run(task())
    assert told == [True, False]


def test_a_task_in_a_thread_waits_in_slices_so_that_it_can_be_interrupted(
    store: Store, waiter: ResultWaiter
) -> None:
    import ctypes

    class Interrupt(BaseException):
        pass

    told: list[bool] = []
    ended = threading.Event()

    def wait() -> None:
        CURRENT.set(context(told))
        try:
            waiter.wait(KEY, 60)
        except Interrupt:
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: told == [True])
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupt))
    assert ended.wait(5)
    thread.join()
    assert told == [True, False]


def test_a_forked_child_or_a_closed_app_gets_a_waiter_of_its_own() -> None:
    app = App("memory://")
    first = app.waiter
    assert app.waiter is first
    app.close()
    assert app.waiter is not first
