"""Limits in Redis: the scripts that keep them, and how limits are packed for these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgpack

from taskrunner.brokers.base import LimitState
from taskrunner.brokers.limits import MOST_KEYS, KeepsLimits, holding, rate_of
from taskrunner.errors import OptionError
from taskrunner.limits import NONE, Limit, OwnLimits, Rate, Scope, opens_in

if TYPE_CHECKING:
    from taskrunner.brokers.redis.calls import Calls
    from taskrunner.brokers.redis.scripts import Command, Scripts

VERSION: Final = 1
"""of a packed limit"""
NEVER: Final = 9e15
GATES_AT_ONCE: Final = 500
_LIFTED: Final = -1


class LimitScripts(ABC):
    """One typed method for each script, as in `scripts`."""

    @abstractmethod
    def _of_queue(
        self, script: str, queue: str, parse: Callable[[Any], Any], *arguments: Any
    ) -> Command[Any]: ...

    def set_limit(self, queue: str, *, field: str, scope: Scope, value: Any) -> Command[int]:
        return self._of_queue("set_limit", queue, int, field, str(scope), value, MOST_KEYS)

    def open_gates(self, queue: str, *, cursor: str, limit: int) -> Command[str]:
        return self._of_queue("open_gates", queue, bytes.decode, cursor, limit)

    def declare_limits(self, queue: str, *, limits: Mapping[str, bytes]) -> Command[int]:
        packed = msgpack.packb(limits, use_bin_type=False)
        return self._of_queue("declare_limits", queue, int, packed)

    def limits(self, queue: str, *, job_id: str) -> Command[list[list[bytes]]]:
        return self._of_queue("limits", queue, list, job_id)


class RedisLimits(KeepsLimits):
    """The part of a client that keeps limits."""

    _calls: Calls
    _scripts: Scripts

    def set_limit(self, queue: str, scope: Scope, limit: Limit | None) -> bool:
        value = b"" if limit is None else pack_limit(limit)
        was_set = self._write(queue, "s", scope, value)
        self._open_gates([queue])
        return was_set

    def pause(self, queue: str, scope: Scope, seconds: float | None = None) -> None:
        self._write(queue, "p", scope, "ever" if seconds is None else round(1000 * seconds, 3))

    def resume(self, queue: str, scope: Scope) -> bool:
        return self._write(queue, "p", scope, b"")

    def limits(self, queue: str, job_id: str | None = None) -> list[LimitState]:
        (rows,) = self._calls.run([self._scripts.limits(queue, job_id=job_id or "")])
        return sorted((limit_state(queue, row) for row in rows), key=lambda state: state.scope)

    def declare_limits(self, queues: Sequence[str], limits: Mapping[str, Limit | None]) -> None:
        packed = {task: b"" if said is None else pack_limit(said) for task, said in limits.items()}
        if not packed:
            return
        asked = [self._scripts.declare_limits(queue, limits=packed) for queue in queues]
        partly = self._calls.partly()
        answers = zip(queues, self._calls.results(asked), strict=True)
        self._open_gates([queue for queue, new in answers if partly.answered(new, queue) and new])
        partly.whole(None)

    def _write(self, queue: str, field: str, scope: Scope, value: Any) -> bool:
        ask = self._scripts.set_limit(queue, field=field, scope=scope, value=value)
        (answer,) = self._calls.run([ask])
        if answer < 0:
            raise too_many_keys(queue)
        return answer == 1

    def _open_gates(self, queues: Sequence[str]) -> None:
        """What holds a task holds the jobs of all its keys."""
        left = dict.fromkeys(queues, "0")
        while left:
            asked = [
                self._scripts.open_gates(queue, cursor=cursor, limit=GATES_AT_ONCE)
                for queue, cursor in left.items()
            ]
            answers = zip(list(left), self._calls.run(asked), strict=True)
            left = {queue: cursor for queue, cursor in answers if cursor != "0"}


def too_many_keys(queue: str) -> OptionError:
    return OptionError(
        f"{MOST_KEYS} keys of the queue {queue!r} have limits or pauses of their own"
    )


def pack_own(texts: tuple[str, ...]) -> bytes:
    """What a job says of its limits, for its record."""
    own = OwnLimits.read(texts) or OwnLimits()
    numbers = _numbers(own.rate) if own.rate is not None else [False] * 3
    row = [own.rate_key or False, own.running_key or False, *numbers, own.max_running or False]
    return _pack(row)


def pack_limit(limit: Limit) -> bytes:
    """A limit as scripts read it, with its rate's text for people."""
    text = str(limit.rate) if isinstance(limit.rate, Rate) else ""
    most = _LIFTED if limit.max_running == NONE else limit.max_running or False
    lifted = [_LIFTED if limit.rate == NONE else False, False, False]
    numbers = _numbers(limit.rate) if isinstance(limit.rate, Rate) else lifted
    return _pack([VERSION, *numbers, most, text])


def unpack_limit(packed: bytes) -> Limit:
    """The limit that `pack_limit` packed. Raises ValueError saying what it is instead."""
    try:
        version, interval, _, _, most, text, *_ = msgpack.unpackb(packed)
    except Exception as error:  # msgpack raises a dozen kinds for bytes that are none of its own
        raise ValueError(f"no limit: {type(error).__name__}") from error
    if version != VERSION:
        raise ValueError(f"a limit of version {version!r}; this is version {VERSION}")
    rate = NONE if interval == _LIFTED else Rate.parse(text) if interval else None
    return Limit(rate, NONE if most == _LIFTED else most or None)


def limit_state(queue: str, row: Sequence[bytes]) -> LimitState:
    """What limits.lua answers for one scope."""
    scope = Scope.read(row[0].decode(errors="replace"))
    problem, found = "", []
    for packed in row[1:3]:
        try:
            found.append(unpack_limit(packed) if packed else None)
        except ValueError as error:
            found.append(None)
            problem = str(error)
    ends, running, ahead, *waiting = map(float, row[3:9])
    own = _unpack_own(row[9])
    declared, said = found
    holds = _unpack_holding(row[10]) if row[10] else holding(said, declared)
    rate = rate_of(holds)
    return LimitState(
        queue,
        scope,
        declared=declared,
        own=own,
        set=said,
        holds=holds,
        is_paused=ends >= 0,
        paused_for=None if ends < 0 or ends >= NEVER else ends / 1000,
        running=int(running),
        opens_in=None if rate is None else opens_in(rate, ahead / 1000),
        waiting=int(sum(waiting)),
        problem=problem,
    )


def _unpack_own(packed: bytes) -> Limit | None:
    if not packed:
        return None
    _, _, interval, burst, _, most = msgpack.unpackb(packed)
    rate = Rate.of_interval(interval / 1000, burst) if interval else None
    return Limit(rate, most or None) if rate or most else None


def _unpack_holding(packed: bytes) -> Limit:
    """What limits.lua found to hold a job; unreadable numbers are false, and a problem elsewhere."""
    interval, burst, most = msgpack.unpackb(packed)
    rate = Rate.of_interval(interval / 1000, burst) if interval and interval > 0 else None
    return Limit(rate, most or None)


def _numbers(rate: Rate) -> list[Any]:
    return [rate.interval * 1000, rate.burst, rate.together]


def _pack(row: Sequence[Any]) -> bytes:
    packed: bytes = msgpack.packb(row, use_bin_type=False)
    return packed
