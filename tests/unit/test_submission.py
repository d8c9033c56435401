from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from taskrunner import submission
from taskrunner.brokers.base import Receipt
from taskrunner.errors import BrokerUnavailable, NotConfirmed
from taskrunner.message import REPLICATED, Header, Message
from taskrunner.submission import Bulk, aride_out, ride_out
from taskrunner.testing.clock import FakeClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Time passes only while a call pauses, and then at once."""
    clock = FakeClock()

    async def apause(seconds: float) -> None:
        clock.advance(seconds)

    monkeypatch.setattr(submission, "SYSTEM_CLOCK", clock)
    monkeypatch.setattr(submission, "_pause", clock.advance)
    monkeypatch.setattr(submission, "_apause", apause)
    return clock


def failing(times: int) -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise BrokerUnavailable("away")
        return "there"

    return call, calls


def test_a_call_that_works_is_made_once(clock: FakeClock) -> None:
    call, calls = failing(0)
    assert ride_out(call) == "there"
    assert len(calls) == 1


def test_a_short_outage_is_ridden_out(clock: FakeClock) -> None:
    call, calls = failing(5)
    assert ride_out(call) == "there"
    assert len(calls) == 6


def test_a_long_outage_is_raised_after_ten_seconds_and_not_a_thousand_tries(
    clock: FakeClock,
) -> None:
    before = clock.monotonic()
    call, calls = failing(10**6)
    with pytest.raises(BrokerUnavailable, match="away"):
        ride_out(call)
    assert 10 <= clock.monotonic() - before < 10.1
    assert 12 <= len(calls) <= 40


def test_a_caller_with_less_time_is_told_sooner(clock: FakeClock) -> None:
    before = clock.monotonic()
    call, _ = failing(10**6)
    with pytest.raises(BrokerUnavailable):
        ride_out(call, within=0.5)
    assert 0.5 <= clock.monotonic() - before < 0.6


def test_without_time_the_call_is_still_made_once(clock: FakeClock) -> None:
    call, calls = failing(1)
    with pytest.raises(BrokerUnavailable):
        ride_out(call, within=0.0)
    assert len(calls) == 1


def test_other_errors_are_not_repeated(clock: FakeClock) -> None:
    def call() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        ride_out(call)


def test_the_async_twin_does_the_same(clock: FakeClock) -> None:
    call, calls = failing(3)

    async def acall() -> str:
        return call()

    assert asyncio.run(aride_out(acall)) == "there"
    assert len(calls) == 4
    before = clock.monotonic()
    call, calls = failing(10**6)
    with pytest.raises(BrokerUnavailable):
        asyncio.run(aride_out(acall))
    assert 10 <= clock.monotonic() - before < 10.1


def test_what_is_stored_and_not_confirmed_is_known_to_be_stored() -> None:
    """So an outage after it is the answer of the others, and not of the whole call."""
    messages = [Message(f"m{n}", "q", Header("t"), b"", durability=REPLICATED) for n in range(3)]
    bulk = Bulk(messages)
    bulk.answered(messages[:1], [Receipt(True, unconfirmed="no replica had it")])
    away = BrokerUnavailable("away")
    bulk.failed(away)
    stored, *others = bulk.answers
    assert isinstance(stored, NotConfirmed)
    assert (stored.stored, stored.job_id) == (True, "m0")
    assert others == [away, away]
    bulk = Bulk(messages)
    bulk.answered(messages[:1], [Receipt(False, unconfirmed="no replica is connected")])
    with pytest.raises(BrokerUnavailable):
        bulk.failed(away)
