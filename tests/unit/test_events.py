from __future__ import annotations

import logging

import pytest

from taskrunner.events import Event, Events, JobsReturned, NodeStopped


def test_every_subscriber_is_told_in_order() -> None:
    events, told = Events(), list[tuple[str, Event]]()
    events.subscribe(lambda event: told.append(("first", event)))
    events.subscribe(lambda event: told.append(("second", event)))
    events.emit(NodeStopped())
    assert told == [("first", NodeStopped()), ("second", NodeStopped())]


def test_nobody_listening_is_fine() -> None:
    Events().emit(NodeStopped())


def test_a_subscription_can_be_ended_twice() -> None:
    events, told = Events(), list[Event]()
    end = events.subscribe(told.append)
    end()
    end()
    events.emit(NodeStopped())
    assert told == []


def test_a_failing_subscriber_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError("broken")

    events, told = Events(), list[Event]()
    events.subscribe(fail)
    events.subscribe(told.append)
    with caplog.at_level(logging.ERROR, "taskrunner"):
        events.emit(JobsReturned(count=1, why="test"))
    assert told == [JobsReturned(count=1, why="test")]
    assert "a subscriber failed on JobsReturned" in caplog.text
    assert "RuntimeError: broken" in caplog.text
