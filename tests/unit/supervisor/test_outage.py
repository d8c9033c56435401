"""A broker that is away: said once, and repeated until it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from taskrunner.errors import BrokerUnavailable
from taskrunner.events import BrokerBack, BrokerLost, Event, Events
from taskrunner.supervisor.outage import Outage, Persistent
from taskrunner.testing.clock import FakeClock


class Told:
    """What an outage said, in order."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.clock = FakeClock()
        events = Events()
        events.subscribe(self._hear)
        self.outage = Outage(url="redis://there", clock=self.clock, events=events)

    def _hear(self, event: Event) -> None:
        match event:
            case BrokerLost(url=url):
                self.words.append(f"lost {url}")
            case BrokerBack(away_s=away):
                self.words.append(f"back after {away:g}")


@pytest.fixture
def told() -> Told:
    return Told()


def test_it_is_said_once(told: Told) -> None:
    for _ in range(3):
        told.outage.failed(BrokerUnavailable("no"))
    assert told.outage.is_on
    told.clock.advance(5)
    for _ in range(3):
        told.outage.succeeded()
    assert told.words == ["lost redis://there", "back after 5"]
    assert told.outage.returned.is_set()
    assert not told.outage.is_on


def test_success_without_an_outage_is_no_news(told: Told) -> None:
    told.outage.succeeded()
    assert told.words == []
    assert not told.outage.returned.is_set()


def test_a_call_is_repeated_until_it_is_answered(told: Told) -> None:
    def answers() -> Iterator[str | None]:
        yield None
        yield None
        yield "answer"

    said = answers()

    def ask() -> str:
        answer = next(said)
        if answer is None:
            raise BrokerUnavailable("no")
        return answer

    assert Persistent(told.outage, threading.Event()).call(ask) == "answer"
    assert told.words == ["lost redis://there", "back after 0"]


def test_a_service_that_stops_repeats_nothing(told: Told) -> None:
    stopping = threading.Event()
    stopping.set()

    def ask() -> str:
        raise BrokerUnavailable("no")

    assert Persistent(told.outage, stopping).call(ask) is None
