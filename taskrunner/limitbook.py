"""`app.limits`: what holds jobs back, seen and changed at run time.

    app.limits.set("mail", rate="100/s")                       all jobs of a queue
    app.limits.set("mail", task="mail.send", max_running=4)    the jobs of a task there
    app.limits.set("mail", key="customer-7", rate="none")      the jobs of a key there
    app.limits.pause("mail", task="mail.send", seconds=60)

It is kept in the store, for all nodes and for jobs that wait already, and acts at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from taskrunner.brokers.base import LimitState
from taskrunner.errors import OptionError
from taskrunner.limits import WHOLE_QUEUE, Limit, Rate, Scope, ScopeKind
from taskrunner.limits import key as key_text
from taskrunner.options import Seconds, seconds, validate_queue_name
from taskrunner.task import check_name

if TYPE_CHECKING:
    from taskrunner.app import App

Key: TypeAlias = str | int | float
SHORTEST_PAUSE_S = 0.001


class LimitBook:
    """Limits and pauses of a namespace. Every method raises OptionError for bad options and
    BrokerUnavailable; each has an a-twin."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __repr__(self) -> str:
        return f"<limits of {self._app!r}>"

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
        declares and whatever was set before; what is not given is not set, and "none" lifts what
        is declared. Whether something was set before."""
        limit = Limit.parse(rate=rate, max_running=max_running)
        scope = scope_of(task, key)
        return self._app.broker.set_limit(validate_queue_name(queue), scope, limit)

    def remove(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """Hold them by what is declared again. Whether something was set."""
        return self._app.broker.set_limit(validate_queue_name(queue), scope_of(task, key), None)

    def get(self, queue: str, *, task: str | None = None, key: Key | None = None) -> LimitState:
        """What holds them, and how that is now."""
        scope = scope_of(task, key)
        found = self._app.broker.limits(validate_queue_name(queue))
        nothing = LimitState(queue, scope)
        return next((state for state in found if state.scope == scope), nothing)

    def list(self, queue: str | None = None) -> Sequence[LimitState]:
        """Everything that was declared, set or paused, by queue; of all queues or of one."""
        broker = self._app.broker
        queues = broker.queues() if queue is None else [validate_queue_name(queue)]
        return [state for name in queues for state in broker.limits(name)]

    def pause(
        self,
        queue: str,
        *,
        task: str | None = None,
        key: Key | None = None,
        seconds: Seconds | None = None,
    ) -> None:
        """Start no more jobs of a queue, of a task there or of a key there, on any node: for so long,
        or until they are resumed. Jobs are kept, and what runs goes on."""
        length = None if seconds is None else pause_length("seconds", seconds)
        self._app.broker.pause(validate_queue_name(queue), scope_of(task, key), length)

    def resume(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """Start them again. Whether they were paused."""
        return self._app.broker.resume(validate_queue_name(queue), scope_of(task, key))

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
        return await asyncio.to_thread(
            self.set, queue, task=task, key=key, rate=rate, max_running=max_running
        )

    async def aremove(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """`remove`, from asyncio."""
        return await asyncio.to_thread(self.remove, queue, task=task, key=key)

    async def aget(
        self, queue: str, *, task: str | None = None, key: Key | None = None
    ) -> LimitState:
        """`get`, from asyncio."""
        return await asyncio.to_thread(self.get, queue, task=task, key=key)

    async def alist(self, queue: str | None = None) -> Sequence[LimitState]:
        """`list`, from asyncio."""
        return await asyncio.to_thread(self.list, queue)

    async def apause(
        self,
        queue: str,
        *,
        task: str | None = None,
        key: Key | None = None,
        seconds: Seconds | None = None,
    ) -> None:
        """`pause`, from asyncio."""
        await asyncio.to_thread(self.pause, queue, task=task, key=key, seconds=seconds)

    async def aresume(self, queue: str, *, task: str | None = None, key: Key | None = None) -> bool:
        """`resume`, from asyncio."""
        return await asyncio.to_thread(self.resume, queue, task=task, key=key)


def scope_of(task: str | None, key: Key | None) -> Scope:
    """The scope that is meant. Raises OptionError where both are named, DeclarationError for what
    cannot be a task's name."""
    if task is not None and key is not None:
        raise OptionError("task and key were both given: expected one of them, or neither")
    if task is not None:
        return Scope(ScopeKind.TASK, check_name(task))
    if key is not None:
        return Scope(ScopeKind.KEY, key_text(key, "key"))
    return WHOLE_QUEUE


def pause_length(option: str, value: Seconds) -> float:
    """How long a pause is, in seconds. Raises OptionError."""
    return seconds(option, value, lowest=SHORTEST_PAUSE_S)


def as_map(state: LimitState) -> dict[str, object]:
    """A state as JSON shows it."""
    return {
        "queue": state.queue,
        "scope": str(state.scope.kind),
        "name": state.scope.name or None,
        **{name: _limit_map(getattr(state, name)) for name in ("declared", "set", "holds")},
        "paused": state.is_paused,
        "paused_for": state.paused_for,
        "running": state.running,
        "opens_in": state.opens_in,
        "waiting": state.waiting,
        "problem": state.problem or None,
    }


def _limit_map(limit: Limit | None) -> dict[str, object] | None:
    if limit is None:
        return None
    rate = None if limit.rate is None else str(limit.rate)
    return {"rate": rate, "max_running": limit.max_running}
