"""Asking one store many things in one round trip, and putting the answers back in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from redis.exceptions import NoScriptError, RedisError, ResponseError

from taskrunner.brokers.base import JobKey, Note, Outcome
from taskrunner.brokers.redis.address import CLUSTER
from taskrunner.brokers.redis.batches import IDS, Blob, RewriteRow, blobs, windows
from taskrunner.brokers.redis.connection import Connections, Talk
from taskrunner.brokers.redis.failures import translate
from taskrunner.brokers.redis.partly import DIRECTORY, Partly
from taskrunner.brokers.redis.scripts import Command, Scripts

T = TypeVar("T")

SLICE: Final = 1000
"""Jobs that one script moves at most."""


class Calls:
    """Scripts and plain commands, over a pool of connections."""

    def __init__(self, connections: Connections, scripts: Scripts) -> None:
        self._connections = connections
        self._scripts = scripts

    def run(self, commands: Sequence[Command[T]], timeout: float | None = None) -> list[T]:
        """Results of scripts, in one round trip; `timeout` in seconds, if not the usual one. Raises
        BrokerError."""
        return self._connections.talk(self.checked(commands), timeout)

    def results(self, commands: Sequence[Command[Any]], timeout: float | None = None) -> list[Any]:
        """The same, with errors of servers in their places: for `Partly`."""
        if (
            len(commands) == 1
        ):  # as a node fetches and settles: straight ahead, as long as that goes
            (reply,) = self._connections.exchange((self._scripts.request(commands[0]),), timeout)
            if not isinstance(reply, ResponseError):
                return [commands[0].parse(reply)]
            if not isinstance(reply, NoScriptError):
                return [reply]
        return self._connections.talk(self._scripts.run(commands), timeout)

    def partly(self) -> Partly:
        """For a call that goes on where a part of the store is away."""
        address = self._connections.address
        return Partly(address.shown, has_parts=address.kind == CLUSTER)

    def checked(self, commands: Sequence[Command[T]]) -> Talk[list[T]]:
        """The same as a part of a conversation."""
        results: list[T] = []
        for result in (yield from self._scripts.run(commands)):
            if isinstance(result, ResponseError):
                self.refuse(result)
            results.append(result)
        return results

    def ask(self, requests: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Replies to plain commands, in one round trip. Raises BrokerError."""
        answers = self.replies(requests)
        for answer in answers:
            if isinstance(answer, ResponseError):
                self.refuse(answer)
        return answers

    def replies(self, requests: Iterable[tuple[Any, ...]]) -> list[Any]:
        """The same, with errors of servers in their places: for `Partly`."""
        return self._connections.exchange(list(requests))

    def of_directory(self, command: Command[T], nothing: T) -> T:
        """The result of a script of the namespace. Raises PartlyUnavailable, with `nothing` as the
        answer, where that part of the store is away."""
        partly = self.partly()
        (result,) = self.results([command])
        return partly.whole(result if partly.answered(result, DIRECTORY) else nothing)

    def refuse(self, error: RedisError) -> NoReturn:
        """Raise what the server answered, translated."""
        raise translate(error, self._connections.address.shown) from error

    def by_id(
        self,
        keys: Sequence[JobKey],
        call: Callable[[str, Sequence[str]], Command[list[Any]]],
        read: Callable[[JobKey, Any], T],
        *,
        absent: T,
    ) -> list[T]:
        """One answer for each key, whatever queue it is of; `absent` where that is away."""
        parts = [
            (queue, positions[at : at + IDS])
            for queue, positions in places(key.queue for key in keys).items()
            for at in range(0, len(positions), IDS)
        ]
        partly = self.partly()
        answers = [absent] * len(keys)
        commands = [call(queue, [keys[at].id for at in part]) for queue, part in parts]
        for (queue, part), result in zip(parts, self.results(commands), strict=True):
            if partly.answered(result, queue):
                for at, answer in zip(part, result, strict=True):
                    answers[at] = read(keys[at], answer)
        return partly.whole(answers)

    def by_row(
        self,
        rows: Sequence[Outcome] | Sequence[Note] | Sequence[RewriteRow],
        call: Callable[[str, Blob], Command[Any]],
        read: Callable[[Any], T],
        *,
        absent: T,
        timeout: float | None = None,
    ) -> list[T]:
        """One answer for each row, whatever queue it is of; `absent` where that is away. `timeout`
        as in `run`."""
        where = places(row.queue for row in rows)
        parts = [
            (queue, blob)
            for queue, positions in where.items()
            for blob in blobs([rows[at] for at in positions])
        ]
        partly = self.partly()
        results: list[list[T]] = []
        for window in windows(parts):
            found = self.results([call(queue, blob) for queue, blob in window], timeout)
            for (queue, blob), result in zip(window, found, strict=True):
                is_there = partly.answered(result, queue)
                results.append(list(map(read, result)) if is_there else [absent] * blob.size)
        spans = [where[queue][blob.start : blob.start + blob.size] for queue, blob in parts]
        return partly.whole(_in_order(len(rows), spans, results))

    def in_slices(
        self, queues: Sequence[str], limit: int, call: Callable[[str, int], Command[int]]
    ) -> int:
        """Let a script work until there is nothing left or `limit` is reached, in each queue."""
        partly = self.partly()
        left = dict.fromkeys(queues, limit)
        total = 0
        while left:
            asked = {queue: min(most, SLICE) for queue, most in left.items()}
            results = self.results([call(queue, most) for queue, most in asked.items()])
            for (queue, most), done in zip(asked.items(), results, strict=True):
                if not partly.answered(done, queue):
                    del left[queue]
                    continue
                total += done
                left[queue] -= done
                if done < most or left[queue] <= 0:
                    del left[queue]
        return partly.whole(total)


def places(queues: Iterable[str]) -> dict[str, list[int]]:
    """By queue: at which positions it stands."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for at, queue in enumerate(queues):
        found[queue].append(at)
    return found


def _in_order(
    count: int, places: Sequence[Sequence[int]], results: Sequence[Sequence[T]]
) -> list[T]:
    """Results back in the order of what was asked."""
    if len(places) == 1:
        return list(results[0])
    answers: list[Any] = [None] * count
    for positions, found in zip(places, results, strict=True):
        for at, answer in zip(positions, found, strict=True):
            answers[at] = answer
    return answers
