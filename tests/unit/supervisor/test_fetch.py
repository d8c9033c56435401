"""The fetch thread, one pass at a time: what it does when its bells were cut off."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Bell, BellKind, Fetched, Mailbox, Take
from taskrunner.errors import BrokerUnavailable
from tests.unit.supervisor.one_part import OnePart

DUE = Bell(BellKind.DUE, "q")
READY = Bell(BellKind.READY, "q")
GONE = BrokerUnavailable("gone")


class Ear(Mailbox):
    """Answers what it was given, one thing a wait; nothing after that."""

    def __init__(self, *answers: list[Bell] | BrokerUnavailable) -> None:
        self._answers = list(answers)

    def wait(self, timeout: float) -> list[Bell]:
        answer = self._answers.pop(0) if self._answers else []
        if isinstance(answer, BrokerUnavailable):
            raise answer
        return answer

    def wake(self) -> None: ...

    def close(self) -> None: ...


def node_with(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> OnePart:
    node = OnePart()
    monkeypatch.setattr(node.broker, "open_mailbox", lambda _name: ear)
    return node


def test_what_was_rung_while_it_was_deaf_is_looked_for_when_it_hears_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = node_with(Ear([], GONE, GONE, [DUE], [DUE]), monkeypatch)
    for _ in range(2):
        node.parts.fetch.run_once()
    assert (node.parts.outage.is_on, dict(node.heard)) == (True, {})
    node.parts.fetch.run_once()
    assert node.heard == {"hears_again": [None], "rung": [DUE, DUE]}
    assert not node.parts.outage.is_on
    assert node.parts.outage.returned.is_set()


def test_a_deaf_one_that_is_stopped_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    node = node_with(Ear(*[GONE] * 1000), monkeypatch)
    node.parts.fetch.run_once()
    node.parts.fetch.thread.stopping.set()
    node.parts.fetch.run_once()
    assert "hears_again" not in node.heard


def test_a_bell_for_which_there_is_no_room_is_passed_on_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = node_with(Ear([], [READY, READY], []), monkeypatch)
    asked: list[list[Take]] = []

    def fetch(_node: str, plan: list[Take], _first: int) -> Fetched:
        asked.append(plan)
        return Fetched([], {"q": 0})

    monkeypatch.setattr(node.broker, "fetch", fetch)
    for _ in range(4):
        node.parts.fetch.run_once()
    assert asked == [[Take("q", 0)]]


def test_room_wakes_only_whom_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    node = node_with(ear, monkeypatch)
    fetch, planner = node.parts.fetch, node.parts.membership.planner
    fetch.run_once()
    planner._believed.clear()
    woken: list[str] = []

    def is_woken() -> bool:
        fetch._waiting = True
        monkeypatch.setattr(ear, "wake", lambda: woken.append(""))
        before = len(woken)
        fetch.wake()
        return len(woken) > before

    assert not is_woken()
    planner.believe("q")
    assert is_woken()
    planner._believed.clear()
    monkeypatch.setattr(fetch, "_mailbox_of", "its former name")
    assert is_woken()
