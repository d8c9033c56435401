"""Limits and pauses through the HTTP service, with the method names of `app.limits`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskrunner.brokers.base import LimitState
from taskrunner.client.job import Sends
from taskrunner.client.words import Call, get, path_of
from taskrunner.limitbook import Key, pause_length, scope_of
from taskrunner.limits import NONE, Limit, Rate, Scope, ScopeKind
from taskrunner.options import Seconds, validate_queue_name


class RemoteLimits:
    """Made by the client: `client.limits`. Every method raises OptionError for bad options, and
    NotAllowed for a queue, task or key that is out of reach; each has an a-twin."""

    def __init__(self, service: Sends) -> None:
        self._service = service

    def set(
        self,
        queue: str,
        *,
        task: str | None = None,
        key: Key | None = None,
        rate: str | Rate | None = None,
        max_running: int | str | None = None,
    ) -> bool:
        """Hold the jobs of a queue, of a task there or of a key there by this, whatever the code
        declares and whatever was set before. Whether something was set before."""
        limit = Limit.parse(rate=rate, max_running=max_running)
        return _before(self._service.send(_set(queue, scope_of(task, key), limit)))

    def remove(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """Hold them by what is declared again. Whether something was set."""
        return _before(self._service.send(_remove(queue, scope_of(task, key))))

    def get(self, queue: str, *, task: str | None = None, key: Key | None = None) -> LimitState:
        """What holds them, and how that is now."""
        scope = scope_of(task, key)
        return _one(self._service.send(_limits(queue)), queue, scope)

    def list(self, queue: str | None = None) -> Sequence[LimitState]:
        """Everything that was declared, set or paused in reach, by queue; of one queue, or of all: a
        request for each then."""
        names = [queue]
        if queue is None:
            names = _names(self._service.send(get(path_of("queues"))))
        return [state for name in names for state in _states(self._service.send(_limits(name)))]

    def pause(
        self,
        queue: str,
        *,
        task: str | None = None,
        key: Key | None = None,
        seconds: Seconds | None = None,
    ) -> None:
        """Start no more jobs of a queue, of a task there or of a key there, on any node: for so long,
        or until they are resumed."""
        self._service.send(_pause(queue, scope_of(task, key), seconds))

    def resume(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """Start them again. Whether they were paused."""
        return _before(self._service.send(_resume(queue, scope_of(task, key))))

    # -- from asyncio

    async def aset(
        self,
        queue: str,
        *,
        task: str | None = None,
        key: Key | None = None,
        rate: str | Rate | None = None,
        max_running: int | str | None = None,
    ) -> bool:
        """`set`, from asyncio."""
        limit = Limit.parse(rate=rate, max_running=max_running)
        return _before(await self._service.asend(_set(queue, scope_of(task, key), limit)))

    async def aremove(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """`remove`, from asyncio."""
        return _before(await self._service.asend(_remove(queue, scope_of(task, key))))

    async def aget(
        self, queue: str, *, task: str | None = None, key: Key | None = None
    ) -> LimitState:
        """`get`, from asyncio."""
        scope = scope_of(task, key)
        return _one(await self._service.asend(_limits(queue)), queue, scope)

    async def alist(self, queue: str | None = None) -> Sequence[LimitState]:
        """`list`, from asyncio."""
        names = [queue]
        if queue is None:
            names = _names(await self._service.asend(get(path_of("queues"))))
        found = [await self._service.asend(_limits(name)) for name in names]
        return [state for said in found for state in _states(said)]

    async def apause(
        self,
        queue: str,
        *,
        task: str | None = None,
        key: Key | None = None,
        seconds: Seconds | None = None,
    ) -> None:
        """`pause`, from asyncio."""
        await self._service.asend(_pause(queue, scope_of(task, key), seconds))

    async def aresume(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """`resume`, from asyncio."""
        return _before(await self._service.asend(_resume(queue, scope_of(task, key))))


# -- what is said


def _path(queue: str | None, what: str) -> str:
    return path_of("queues", validate_queue_name(queue), what)


def _named(scope: Scope) -> dict[str, str]:
    """Nothing for a whole queue."""
    return {} if scope.kind is ScopeKind.QUEUE else {str(scope.kind): scope.name}


def _limits(queue: str | None) -> Call:
    return get(_path(queue, "limits"))


def _set(queue: str, scope: Scope, limit: Limit) -> Call:
    rate = {} if limit.rate is None else {"rate": str(limit.rate)}
    places = {} if limit.max_running is None else {"max_running": limit.max_running}
    body = {**_named(scope), **rate, **places}
    return Call("PUT", _path(queue, "limits"), body, is_repeatable=True)


def _remove(queue: str, scope: Scope) -> Call:
    return Call("DELETE", _path(queue, "limits"), query=_named(scope), is_repeatable=True)


def _pause(queue: str, scope: Scope, length: Seconds | None) -> Call:
    time = {} if length is None else {"seconds": pause_length("seconds", length)}
    return Call("POST", _path(queue, "pause"), {**_named(scope), **time}, is_repeatable=True)


def _resume(queue: str, scope: Scope) -> Call:
    return Call("POST", _path(queue, "resume"), _named(scope), is_repeatable=True)


# -- what is answered


def _before(said: Mapping[str, Any]) -> bool:
    return bool(said["before"])


def _names(said: Mapping[str, Any]) -> list[str | None]:
    return [one["queue"] for one in said["queues"]]


def _states(said: Mapping[str, Any]) -> list[LimitState]:
    return [_state(one) for one in said["limits"]]


def _one(said: Mapping[str, Any], queue: str, scope: Scope) -> LimitState:
    nothing = LimitState(queue, scope)
    return next((state for state in _states(said) if state.scope == scope), nothing)


def _state(said: Mapping[str, Any]) -> LimitState:
    return LimitState(
        queue=said["queue"],
        scope=Scope(ScopeKind(said["scope"]), said["name"] or ""),
        declared=_limit(said["declared"]),
        set=_limit(said["set"]),
        holds=_limit(said["holds"]) or Limit(),
        is_paused=said["paused"],
        paused_for=said["paused_for"],
        running=said["running"],
        opens_in=said["opens_in"],
        waiting=said["waiting"],
        problem=said["problem"] or "",
    )


def _limit(said: Mapping[str, Any] | None) -> Limit | None:
    if said is None:
        return None
    rate = said["rate"]
    return Limit(rate if rate in (None, NONE) else Rate.read(str(rate)), said["max_running"])
