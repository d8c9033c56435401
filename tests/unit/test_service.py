"""Whatever a pass raises, its thread goes on, it is told and counted, and it ends in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from taskrunner.errors import BrokerUnavailable, NodeFailed, NodeLost
from taskrunner.events import Event, Events, ServiceFailed
from taskrunner.service import (
    MOST_IN_A_ROW,
    MOST_PAUSE_S,
    QUIET_S,
    Mishaps,
    ServiceThread,
    after_failure,
    apart,
)
from taskrunner.testing.clock import FakeClock
from taskrunner.testing.startstop import start_stop_stress
from taskrunner.testing.waiting import eventually


class Node:
    """Whom mishaps are told to."""

    def __init__(self) -> None:
        self.happened: list[Event] = []
        self.failures: list[NodeFailed] = []
        self.clock = FakeClock()
        events = Events()
        events.subscribe(self.happened.append)
        self.mishaps = Mishaps(clock=self.clock, events=events, gave_up=self.failures.append)

    @property
    def told(self) -> list[ServiceFailed]:
        return [event for event in self.happened if isinstance(event, ServiceFailed)]


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def threads() -> Iterator[list[ServiceThread]]:
    started: list[ServiceThread] = []
    yield started
    for thread in started:
        thread.stopping.set()
        thread.join()


def test_pauses_grow_and_end_somewhere() -> None:
    pauses = [after_failure(n).pause for n in range(1, 100)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 1 < pauses[-1] == MOST_PAUSE_S
    assert [after_failure(n).give_up for n in (1, MOST_IN_A_ROW - 1, MOST_IN_A_ROW, 50)] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), SystemExit(3), KeyError("k")])
def test_a_thread_survives_what_its_pass_raises(
    node: Node, threads: list[ServiceThread], error: BaseException
) -> None:
    passes = iter([error, error])
    went_well = threading.Event()

    def run_once() -> None:
        for raised in passes:
            raise raised
        went_well.set()
        threads[0].stopping.wait(0.01)

    threads.append(ServiceThread("fetch", run_once, node.mishaps))
    threads[0].start()
    assert went_well.wait(20)
    assert threads[0].is_alive
    eventually(lambda: node.mishaps.failing == [])
    assert node.mishaps.counts == {"fetch": 2}
    assert "in run_once" in node.told[0].traceback
    assert type(error).__name__ in node.told[0].error
    assert node.failures == []


def test_a_stop_does_not_wait_for_a_pause_to_end(
    node: Node, threads: list[ServiceThread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskrunner.service.FIRST_PAUSE_S", 1000.0)
    monkeypatch.setattr("taskrunner.service.MOST_PAUSE_S", 1000.0)
    threads.append(ServiceThread("fetch", lambda: [][0], node.mishaps))
    threads[0].start()
    eventually(lambda: node.mishaps.counts["fetch"] == 1)
    threads[0].stopping.set()
    threads[0].join()


def test_a_service_that_only_fails_ends_its_node(node: Node) -> None:
    for _ in range(MOST_IN_A_ROW - 1):
        node.mishaps.failed("settle", ValueError("no"))
    assert node.failures == []
    assert node.mishaps.failing == ["settle"]
    node.mishaps.failed("settle", ValueError("the last"))
    (failure,) = node.failures
    assert "settle" in str(failure)
    assert "ValueError: the last" in str(failure)


def test_one_good_pass_begins_the_row_anew_for_its_own_service(node: Node) -> None:
    for _ in range(3 * MOST_IN_A_ROW):
        node.mishaps.failed("fetch", ValueError("now and then"))
        node.mishaps.went_well("fetch")
        node.mishaps.went_well("lease")
    assert node.failures == []
    assert node.mishaps.counts["fetch"] == 3 * MOST_IN_A_ROW


def test_a_thousand_mishaps_are_counted_and_told_once(node: Node) -> None:
    for _ in range(1000):
        node.mishaps.noticed("lease", ValueError("no"))
    node.mishaps.noticed("fetch", ValueError("another thread has its own say"))
    assert [event.service for event in node.told] == ["lease", "fetch"]
    assert node.mishaps.counts["lease"] == 1000
    node.clock.advance(QUIET_S)
    node.mishaps.noticed("lease", ValueError("still"))
    assert node.told[-1].error == "ValueError: still"


def test_without_anybody_who_listens_it_is_logged_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mishaps = Mishaps(clock=FakeClock(), events=Events(), gave_up=lambda _: None)
    try:
        raise ValueError("nobody is subscribed")
    except ValueError as error:
        mishaps.failed("fetch", error)
    assert "the fetch thread failed and goes on" in caplog.text
    assert 'raise ValueError("nobody is subscribed")' in caplog.text


def test_what_is_told_is_not_logged_twice(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.mishaps.failed("fetch", ValueError("told"))
    assert caplog.text == ""


def test_threads_start_and_stop_in_any_order(node: Node) -> None:
    class Bare:
        def __init__(self) -> None:
            self._thread = ServiceThread("bare", lambda: None, node.mishaps)
            self.start = self._thread.start

        def stop(self) -> None:
            self._thread.stopping.set()
            self._thread.join()

    start_stop_stress(Bare)


class Asked:
    """Does things with numbers; some cannot be done."""

    def __init__(self, *bad: int, error: Exception | None = None) -> None:
        self.bad = bad
        self.error = error or ValueError("bad")
        self.calls: list[list[int]] = []
        self.noticed: list[Exception] = []

    def do(self, items: Sequence[int]) -> int:
        self.calls.append(list(items))
        if set(items) & set(self.bad):
            raise self.error
        return sum(items)


def test_good_ones_are_done_together() -> None:
    asked = Asked()
    assert apart([1, 2, 3], asked.do, asked.noticed.append) == [6]
    assert asked.calls == [[1, 2, 3]]


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_a_bad_one_stops_no_other(bad: int) -> None:
    asked = Asked(bad)
    assert apart([1, 2, 3], asked.do, asked.noticed.append) == [n for n in (1, 2, 3) if n != bad]
    assert asked.noticed == [asked.error]


@pytest.mark.parametrize("items", [[1], [1, 2]])
def test_where_nothing_can_be_done_that_is_raised(items: list[int]) -> None:
    asked = Asked(*items)
    with pytest.raises(ValueError, match="bad"):
        apart(items, asked.do, asked.noticed.append)


@pytest.mark.parametrize("error", [BrokerUnavailable(), NodeLost()])
def test_what_is_nobodys_fault_is_raised_at_once(error: Exception) -> None:
    asked = Asked(2, error=error)
    with pytest.raises(type(error)):
        apart([1, 2, 3], asked.do, asked.noticed.append)
    assert len(asked.calls) == 1


def test_whoever_stops_it_in_the_middle_of_its_start_may(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, passes = threading.Thread.start, list[None]()
    thread = ServiceThread("upcalls", lambda: passes.append(None), node.mishaps)

    def stopped_at_this_moment(self: threading.Thread) -> None:
        thread.stopping.set()
        thread.join()
        start(self)

    monkeypatch.setattr(threading.Thread, "start", stopped_at_this_moment)
    thread.start()
    thread.join()
    assert passes == []
