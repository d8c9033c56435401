"""Results in Redis, for a broker that keeps them elsewhere or for a Redis of their own.

Each result is one string with a time to live, under the queue, the delivery's token and the job's
id; see `taskrunner.brokers.redis.keys`. URLs are those of the Redis broker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from redis.exceptions import ResponseError

from taskrunner.backends.base import ResultBackend, ResultKey, StoredResult
from taskrunner.brokers.redis.address import CLUSTER, SCHEMES, Address
from taskrunner.brokers.redis.batches import WINDOW
from taskrunner.brokers.redis.failures import translate
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.network import connections
from taskrunner.brokers.redis.partly import Partly

_MOST = 1000
"""Commands of one round trip."""


class RedisBackend(ResultBackend):
    """Results in Redis; Redis itself drops them when their retention is over."""

    schemes: ClassVar[tuple[str, ...]] = SCHEMES
    shared: ClassVar[bool] = True

    def __init__(self, address: Address, *, namespace: str) -> None:
        self._address = address
        self._keys = Keys(namespace)
        self._connections = connections(address)

    def __repr__(self) -> str:
        return f"RedisBackend({self._address.shown!r}, namespace={self._keys.namespace!r})"

    @classmethod
    def from_url(cls, url: str, *, namespace: str) -> RedisBackend:
        """As RedisBroker.from_url. Raises OptionError."""
        return cls(Address.parse(url), namespace=namespace)

    def ping(self) -> None:
        self._ask([("PING",)])

    def store(self, results: Sequence[StoredResult]) -> None:
        """Raises BrokerFull where there is no room; those before it may have been stored."""
        partly = Partly(self._address.shown, has_parts=self._address.kind == CLUSTER)
        replies = self._replies(self._store(result) for result in results)
        for result, reply in zip(results, replies, strict=True):
            partly.answered(reply, result.key.queue)
        partly.whole(None)

    def get(self, keys: Sequence[ResultKey]) -> list[bytes | None]:
        return self._ask(("GET", self._name(key)) for key in keys)

    def remove(self, keys: Sequence[ResultKey]) -> None:
        self._ask(("UNLINK", self._name(key)) for key in keys)

    def close(self) -> None:
        self._connections.close()

    def _store(self, result: StoredResult) -> tuple[Any, ...]:
        milliseconds = round(1000 * result.retention)
        if milliseconds <= 0:
            return ("UNLINK", self._name(result.key))
        return ("SET", self._name(result.key), result.value, "PX", milliseconds)

    def _name(self, key: ResultKey) -> str:
        return self._keys.kept_result(key.queue, key.id, key.node, key.number)

    def _ask(self, requests: Iterable[tuple[Any, ...]]) -> list[Any]:
        replies = self._replies(requests)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise translate(reply, self._address.shown) from reply
        return replies

    def _replies(self, requests: Iterable[tuple[Any, ...]]) -> list[Any]:
        """With errors of servers in their places."""
        return [r for some in _round_trips(requests) for r in self._connections.exchange(some)]


def _round_trips(requests: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Commands in groups of a bounded size."""
    group: list[tuple[Any, ...]] = []
    size = 0
    for request in requests:
        group.append(request)
        size += len(request[2]) if len(request) > 2 else 0
        if len(group) >= _MOST or size >= WINDOW:
            yield group
            group, size = [], 0
    if group:
        yield group
