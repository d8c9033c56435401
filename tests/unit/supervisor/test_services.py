"""The threads of a node, when something in them raises what nobody expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskrunner.brokers.base import Delivery, JobKey, Note, Outcome, OutcomeKind
from taskrunner.errors import BrokerError
from taskrunner.events import OutcomeDropped, ServiceFailed
from taskrunner.message import ErrorInfo, Timing
from taskrunner.service import Service
from taskrunner.supervisor.intake import Intake
from taskrunner.testing.startstop import start_stop_stress
from taskrunner.testing.waiting import eventually
from tests.unit.supervisor.one_part import OnePart

UNEXPECTED = [
    RuntimeError("a bug"),
    MemoryError(),
    BrokerError("the store said ERR"),
    SystemExit(1),
]
SERVICES: dict[str, Callable[[OnePart], Any]] = {
    "fetch": lambda node: node.parts.fetch,
    "settle": lambda node: node.parts.settle,
    "lease": lambda node: node.parts.lease,
    "scheduler": lambda node: node.parts.scheduler,
}
ASKS = {"fetch": "fetch", "settle": "settle", "lease": "beat", "scheduler": "due"}
"""What each asks of the broker."""


@pytest.fixture
def started() -> Iterator[Callable[[Service], None]]:
    services: list[Service] = []

    def start(service: Service) -> None:
        services.append(service)
        service.start()

    yield start
    for service in services:
        service.stop()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.service.MOST_PAUSE_S", 0.01)


@pytest.mark.parametrize("name", SERVICES)
def test_services_start_and_stop_in_any_order(name: str) -> None:
    start_stop_stress(lambda: SERVICES[name](OnePart(idle_look_s=0.1)), rounds=3)


@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_goes_on_and_does_its_work(
    started: Callable[[Service], None], name: str, error: BaseException
) -> None:
    node = OnePart(lease_s=0.3, idle_look_s=0.1)
    _Roomy(node)
    outcomes = node.deliver("a", "b")
    node.broker.fails(ASKS[name], error, times=3)
    node.broker.calls.clear()
    node.parts.settle.put(node.id, list(outcomes))
    started(SERVICES[name](node))

    def asked_again() -> bool:
        node.parts.scheduler.poke("q")  # which would else look every few seconds
        return node.broker.calls[ASKS[name]] > 3

    eventually(asked_again, timeout=30)
    eventually(lambda: node.parts.mishaps.failing == [])
    assert node.parts.mishaps.counts[name] >= 1
    assert type(error).__name__ in node.events(ServiceFailed)[0].error
    assert "Traceback" in node.events(ServiceFailed)[0].traceback
    assert node.failures == []
    if name == "settle":
        eventually(lambda: [node.state("a"), node.state("b")] == ["succeeded"] * 2)


@pytest.mark.parametrize("name", ["fetch", "settle", "lease"])
def test_a_service_that_can_do_nothing_any_more_ends_the_node(
    started: Callable[[Service], None], name: str
) -> None:
    node = OnePart()
    _Roomy(node)
    outcomes = node.deliver(*[f"job-{n}" for n in range(20)])
    node.broker.fails(ASKS[name], RuntimeError("for ever"))
    node.parts.settle.put(node.id, list(outcomes))
    started(SERVICES[name](node))
    eventually(lambda: node.failures, timeout=30)
    assert name in str(node.failures[0])
    assert "for ever" in str(node.failures[0])
    if name == "settle":
        assert node.parts.settle.pending >= 20 - 3, "what cannot be settled is kept"


# -- settle


def refuse(*ids: str, unless: Callable[[Outcome], bool] = lambda _: False) -> Callable[..., None]:
    """A sickness: whatever holds an outcome of these jobs is refused as a whole."""

    def ill(_: str, outcomes: list[Outcome]) -> None:
        if any(outcome.id in ids and not unless(outcome) for outcome in outcomes):
            raise BrokerError("WRONGTYPE")

    return ill


def test_an_outcome_that_cannot_be_settled_stops_no_other(
    started: Callable[[Service], None],
) -> None:
    node = OnePart()
    names = [f"job-{n}" for n in range(60)]
    outcomes = node.deliver(*names)
    node.broker.ills["settle"] = refuse("job-31")
    node.parts.settle.put(node.id, list(outcomes))
    started(node.parts.settle)
    assert node.parts.settle.flush(30.0)
    assert {name for name in names if node.state(name) != "succeeded"} == {"job-31"}
    (dropped,) = node.events(OutcomeDropped)
    assert (dropped.job_id, dropped.queue) == ("job-31", "q")
    assert node.failures == []


def test_of_a_job_whose_result_is_the_trouble_at_least_the_failure_is_settled(
    started: Callable[[Service], None],
) -> None:
    node = OnePart()
    outcomes = node.deliver("a", "b", "c")
    node.broker.ills["settle"] = refuse("b", unless=lambda o: o.kind is OutcomeKind.FAILED)
    node.parts.settle.put(node.id, list(outcomes))
    started(node.parts.settle)
    assert node.parts.settle.flush(30.0)
    assert [node.state(i) for i in "abc"] == ["succeeded", "failed", "succeeded"]
    (record,) = node.broker.get([JobKey("q", "b")])
    assert record is not None
    assert record.reason == "unsettled"
    assert "WRONGTYPE" in ErrorInfo.unpack(record.errors[0]).message
    assert node.events(OutcomeDropped) == []


# -- fetch, scheduler: a bad queue


def refuse_queue(bad: str, at: int) -> Callable[..., None]:
    """A sickness: whatever asks for this queue is refused as a whole."""

    def ill(*args: Any, **_: Any) -> None:
        asked = [getattr(item, "queue", item) for item in args[at]]
        if bad in asked:
            raise BrokerError("WRONGTYPE")

    return ill


def test_a_queue_that_cannot_be_asked_stops_no_other(started: Callable[[Service], None]) -> None:
    node = OnePart("bad", "good", idle_look_s=0.1)
    node.broker.ills["fetch"] = refuse_queue("bad", at=1)
    child = _Roomy(node)
    node.enqueue("a", queue="bad")
    node.enqueue("b", queue="good")
    started(node.parts.fetch)
    eventually(lambda: node.state("b", "good") == "active")
    node.enqueue("c", queue="good")
    eventually(lambda: child.accepted == ["b", "c"])
    assert node.state("a", "bad") == "pending"
    eventually(lambda: node.parts.mishaps.counts["fetch"] > 3)
    assert node.failures == []


def test_a_delivery_that_cannot_be_looked_at_fails_alone(
    started: Callable[[Service], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = OnePart()
    node.parts.dispatcher.room = lambda queue: 5  # type: ignore[method-assign]
    examined = Intake.examined

    def look(intake: Intake, delivery: Delivery, now: float) -> Any:
        if delivery.id == "odd":
            raise ZeroDivisionError("a bug of ours")
        return examined(intake, delivery, now)

    monkeypatch.setattr(Intake, "examined", look)
    node.enqueue("a", "odd", "b")
    started(node.parts.settle)
    started(node.parts.fetch)
    eventually(lambda: node.state("odd") == "failed")
    assert node.parts.dispatcher.count == 2
    assert node.parts.mishaps.counts == {}


def test_what_was_fetched_and_got_lost_on_the_way_in_is_given_back(
    started: Callable[[Service], None],
) -> None:
    node = OnePart()
    dispatcher: Any = node.parts.dispatcher
    dispatcher.room = lambda _: 5
    accept, calls = dispatcher.accept, [0]

    def lose_the_first(found: Any) -> None:
        calls[0] += 1
        if calls[0] == 1:
            raise MemoryError
        accept(found)

    dispatcher.accept = lose_the_first
    node.enqueue("a", "b")
    started(node.parts.fetch)
    eventually(lambda: calls[0] == 1)
    started(node.parts.scheduler)
    eventually(lambda: dispatcher.count == 2, timeout=30)
    assert calls[0] == 2


class _Roomy:
    """In the dispatcher's place: has room for whatever comes."""

    def __init__(self, node: OnePart) -> None:
        self.accepted: list[str] = []
        dispatcher: Any = node.parts.dispatcher
        dispatcher.room = lambda _: 5
        dispatcher.accept = lambda found: self.accepted.extend(d.id for d in found)


@pytest.mark.parametrize("method", ["due", "promote", "reap", "sweep"])
def test_the_house_of_the_other_queues_is_kept(
    started: Callable[[Service], None], method: str
) -> None:
    node = OnePart("bad", "good")
    node.broker.ills[method] = refuse_queue("bad", at=0)
    for queue in ("bad", "good"):
        node.enqueue("later", queue=queue, timing=Timing(delay=0.05))
        node.enqueue("expired", queue=queue, timing=Timing(expires_in=0.01))
    node.broker.set_skew(1.0)
    started(node.parts.scheduler)
    eventually(lambda: node.state("later", "good") == "pending", timeout=30)
    node.parts.scheduler.hurry()
    eventually(lambda: node.state("expired", "good") == "expired", timeout=30)
    assert node.parts.mishaps.counts["scheduler"] >= 1
    assert node.failures == []


def test_a_chore_that_fails_keeps_nobody_from_the_others() -> None:
    node = OnePart()
    done: list[str] = []

    def fail() -> bool:
        raise ValueError("this chore is broken")

    def go_on() -> bool:
        done.append("the next one")
        return True

    node.parts.scheduler._house._chores = [fail, go_on]
    node.parts.scheduler.run_once()
    assert done == ["the next one"]
    assert node.broker.calls["sweep"] >= 1


# -- lease


def test_a_note_that_cannot_be_written_stops_no_beat() -> None:
    node = OnePart()
    node.broker.fails("note", ValueError("not a note"))
    node.parts.lease.note(node.id, Note("q", "a", 1, 1, 0.0))
    node.parts.lease.run_once()
    assert len(node.heard["lease_renewed"]) == 1
    assert node.parts.mishaps.counts["lease"] == 1


def test_a_beat_that_fails_oddly_still_ends_the_lease_in_time() -> None:
    node = OnePart(lease_s=0.1)
    node.broker.fails("beat", ValueError("odd"))

    def ran_out() -> bool:
        with pytest.raises(ValueError, match="odd"):
            node.parts.lease.run_once()
        return bool(node.heard["lease_ran_out"])

    eventually(ran_out)
