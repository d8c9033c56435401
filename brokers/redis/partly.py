"""Calls of which a part of the store is away: in a cluster a server may be, while the others are there.

What the others answered is not lost: it goes with the error. Where the store is one server it is
there or not, and the first thing that went wrong is raised as it is.
"""

from __future__ import annotations

from typing import Final, TypeVar

from redis.exceptions import ResponseError

from taskrunner.brokers.redis.failures import translate
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable

T = TypeVar("T")

DIRECTORY: Final = ""
"""Stands for the namespace's own keys where a queue's name is asked for."""


class Partly:
    """One call: which queues it could not reach."""

    def __init__(self, shown: str, *, has_parts: bool) -> None:
        self._shown = shown
        self._has_parts = has_parts
        self._away: dict[str, BrokerUnavailable] = {}
        self._is_any_there = False

    def answered(self, result: object, queue: str) -> bool:
        """Whether this is what a queue answered; False: its part of the store is away. Raises any
        other error that stands in the place of an answer, translated."""
        if not isinstance(result, ResponseError):
            self._is_any_there = True
            return True
        error = translate(result, self._shown)
        if not self._has_parts or not isinstance(error, BrokerUnavailable):
            raise error from result
        self._away.setdefault(queue, error)
        return False

    def whole(self, answer: T, *, some: bool = False) -> T:
        """The answer to the call. Raises PartlyUnavailable with it where it is not all there is;
        with `some`, BrokerUnavailable where it is nothing at all."""
        if not self._away:
            return answer
        error = next(iter(self._away.values()))
        if some and not self._is_any_there:
            raise error
        queues = frozenset(self._away) - {DIRECTORY}
        raise PartlyUnavailable(str(error), queues=queues, answer=answer) from error
