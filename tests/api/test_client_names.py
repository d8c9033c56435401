"""The client has the names of what it stands for; what it has not, it cannot have over HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from taskrunner import App
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.client import HttpClient

_CODE = "it is about code, which the client does without"
_WIRING = "it is wiring of the process, and the service has its own"
_INSIDE = "it is for the nodes and the App themselves"

NOT_OF_THE_APP = {
    **dict.fromkeys(("task", "tasks", "cron", "policy", "middleware", "codec"), _CODE),
    **dict.fromkeys(("config", "settings", "payload_limit_bytes", "seals", "adopt"), _WIRING),
    **dict.fromkeys(("broker", "backend"), "the service alone is connected to it"),
    "waiter": "the service holds an answer back instead",
    "running": "a supervisor does not run over HTTP",
}
NOT_OF_SCHEDULES = {
    **dict.fromkeys(("declare", "declared", "declared_info", "judged"), _CODE),
    **dict.fromkeys(("found", "infos", "now"), _INSIDE),
}

_APP = App(MemoryBroker())
_CLIENT = HttpClient("http://nowhere.invalid")
PAIRS = {
    "app": (_APP, _CLIENT, NOT_OF_THE_APP),
    "limits": (_APP.limits, _CLIENT.limits, {}),
    "schedules": (_APP.schedules, _CLIENT.schedules, NOT_OF_SCHEDULES),
    "job": (_APP.job("j", "q"), _CLIENT.job("j", "q"), {}),
}
HAS_NO_TWIN = {"job", "message"}
"""They ask nobody."""

each = pytest.mark.parametrize("which", PAIRS)


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def methods(thing: object) -> dict[str, Any]:
    names = {name for name in public(type(thing)) if callable(getattr(type(thing), name))}
    return {name: getattr(type(thing), name) for name in names}


@each
def test_every_name_is_there_or_cannot_be(which: str) -> None:
    original, remote, reasons = PAIRS[which]
    assert public(original) - public(remote) == set(reasons)


@each
def test_what_has_the_same_name_takes_the_same(which: str) -> None:
    original, remote, _ = PAIRS[which]
    there = methods(original)
    shared = there.keys() & methods(remote).keys()
    assert shared
    for name in shared:
        wanted, found = _parameters(there[name]), _parameters(methods(remote)[name])
        assert {n: found.get(n) for n in wanted} == wanted, name


def _parameters(method: Any) -> Mapping[str, tuple[Any, Any]]:
    """Kind and default of each."""
    found = inspect.signature(method).parameters
    return {name: (one.kind, one.default) for name, one in found.items()}


@each
def test_what_goes_over_the_wire_has_a_twin_for_asyncio(which: str) -> None:
    found = methods(PAIRS[which][1])
    twins = {name for name, method in found.items() if inspect.iscoroutinefunction(method)}
    assert twins == {f"a{name}" for name in found.keys() - twins - HAS_NO_TWIN}
    for name in twins:
        assert _parameters(found[name]) == _parameters(found[name[1:]]), name
