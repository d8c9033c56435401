"""The Redis broker: each method of `base.Broker` as one round trip of scripts.

enqueue ─▶ scripts.enqueue ─┐                                  ┌▶ ready 9 … 0, scheduled
fetch   ─▶ scripts.fetch  ──┼─▶ connection.exchange ─▶ Redis ──┼▶ active:NODE
settle  ─▶ scripts.settle ──┘    (all of a call at once)       ├▶ done, failed
                                                               └▶ PUBLISH ─▶ mailbox.wait
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

from redis.exceptions import ResponseError

from taskrunner.brokers.base import (
    ACCEPTED,
    Broker,
    Capabilities,
    Due,
    Fetched,
    JobKey,
    JobRecord,
    Limits,
    Mailbox,
    NodeInfo,
    Note,
    Outcome,
    QueueStats,
    Receipt,
    Take,
)
from taskrunner.brokers.redis import replies
from taskrunner.brokers.redis.address import SCHEMES, Address
from taskrunner.brokers.redis.aio import AsyncConnections
from taskrunner.brokers.redis.batches import blobs, message_row, windows
from taskrunner.brokers.redis.calls import SLICE, Calls, places
from taskrunner.brokers.redis.connection import Connections, Talk
from taskrunner.brokers.redis.failures import is_full
from taskrunner.brokers.redis.keys import LAST_NUMBER, Keys
from taskrunner.brokers.redis.mailbox import RedisMailbox
from taskrunner.brokers.redis.scripts import Command, Scripts
from taskrunner.errors import BrokerUnavailable, NodeLost
from taskrunner.message import Message
from taskrunner.states import State

OLDEST: Final = (6, 2)
"""The oldest version of Redis that has every command."""


class RedisBroker(Broker):
    """Jobs in Redis."""

    capabilities = Capabilities(results=True, shared=True, durable=True)
    schemes: ClassVar[tuple[str, ...]] = SCHEMES

    def __init__(self, address: Address, *, namespace: str, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._keys = Keys(namespace)
        self._scripts = Scripts(self._keys, keep_ms=_ms(limits.retention))
        self._connections = Connections(address)
        self._async_connections = AsyncConnections(address)
        self._calls = Calls(self._connections, self._scripts)
        self._registered: set[str] = set()
        """queues that this process has written into the directory"""

    def __repr__(self) -> str:
        return f"RedisBroker({self._address.shown!r}, namespace={self._keys.namespace!r})"

    @classmethod
    def from_url(cls, url: str, *, namespace: str, limits: Limits) -> RedisBroker:
        """See `address` for what a URL may say. Raises OptionError."""
        return cls(Address.parse(url), namespace=namespace, limits=limits)

    def ping(self) -> None:
        (info,) = self._connections.exchange([("INFO", "server")])
        if isinstance(info, ResponseError):  # an ACL may forbid INFO, which then says nothing
            (info,) = self._connections.exchange([("PING",)])
            if isinstance(info, ResponseError):
                self._calls.refuse(info)
            return
        lines = dict(line.split(":", 1) for line in info.decode().split() if ":" in line)
        version = lines.get("redis_version", "")
        if tuple(int(n) for n in version.split(".")[:2] if n.isdecimal()) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise BrokerUnavailable(
                f"Redis at {self._address.shown} is version {version or 'unknown'}; "
                f"taskrunner needs {wanted} or later"
            )

    def close(self) -> None:
        self._connections.close()
        self._async_connections.close()

    # -- submit

    def enqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        try:
            return self._connections.talk(self._enqueue(messages))
        except BrokerUnavailable:
            self._registered.clear()  # it may come back with less than it had
            raise

    async def aenqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        try:
            return await self._async_connections.talk(self._enqueue(messages))
        except BrokerUnavailable:
            self._registered.clear()
            raise

    def _enqueue(self, messages: Sequence[Message]) -> Talk[list[Receipt]]:
        where = places(message.queue for message in messages)
        yield from self._register(where.keys() - self._registered)
        packed = [
            (queue, blob)
            for queue, positions in where.items()
            for blob in blobs([message_row(messages[at]) for at in positions])
        ]
        receipts: list[Receipt] = [ACCEPTED] * len(messages)
        full: ResponseError | None = None
        stored = False
        for window in windows(packed):
            commands = [self._scripts.enqueue(queue, blob.packed) for queue, blob in window]
            results = yield from self._scripts.run(commands)
            for (queue, blob), refused in zip(window, results, strict=True):
                positions = where[queue][blob.start : blob.start + blob.size]
                if not isinstance(refused, ResponseError):
                    stored = True
                    for at in (positions[row - 1] for row in refused):
                        receipts[at] = Receipt(False, duplicate_of=messages[at].id)
                elif is_full(refused):
                    full = refused
                    for at in positions:
                        receipts[at] = Receipt(False, rejection="the store is full")
                else:
                    self._calls.refuse(refused)
        if full and not stored:
            self._calls.refuse(full)
        return receipts

    def _register(self, queues: Iterable[str]) -> Talk[None]:
        """Make queues known in the namespace, before their first job. A clock that was moved is
        moved there too."""
        new = sorted(queues)
        if new:
            (skew,) = yield from self._calls.checked([self._scripts.register(new)])
            if skew:
                yield from self._calls.checked([self._scripts.set_skew(q, ms=skew) for q in new])
            self._registered.update(new)

    # -- listen

    def open_mailbox(self, name: str) -> Mailbox:
        return RedisMailbox(self._connections, self._keys, name)

    def watch(self, mailbox: str, keys: Sequence[JobKey]) -> list[bool]:
        answers = self._calls.by_id(
            keys, lambda queue, ids: self._scripts.watch(queue, mailbox=mailbox, ids=ids)
        )
        return [bool(over) for over in answers]

    # -- control

    def cancel(self, keys: Sequence[JobKey]) -> list[bool | None]:
        meaning = {1: True, 0: False, -1: None}
        return [meaning[answer] for answer in self._calls.by_id(keys, self._scripts.cancel)]

    # -- look

    def get(self, keys: Sequence[JobKey]) -> list[JobRecord | None]:
        found = self._calls.by_id(keys, self._scripts.get)
        return [
            replies.job_record(key.queue, key.id, fields)
            for key, fields in zip(keys, found, strict=True)
        ]

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        found = self._calls.ask(
            ("HGETALL", self._keys.of_queue(queue, name))
            for queue in queues
            for name in ("stats", "parked")
        )
        return [
            replies.queue_stats(queue, stats, parked)
            for queue, stats, parked in zip(queues, found[::2], found[1::2], strict=True)
        ]

    def queues(self) -> list[str]:
        (names,) = self._calls.ask([("SMEMBERS", self._keys.queues)])
        return sorted(name.decode() for name in names)

    def nodes(self) -> list[NodeInfo]:
        (answer,) = self._calls.run([self._scripts.nodes()])
        return list(replies.node_infos(answer))

    def now(self) -> float:
        time, skew = self._calls.ask([("TIME",), ("GET", self._keys.skew)])
        return int(time[0]) + int(time[1]) / 1e6 + int(skew or 0) / 1000

    # -- consume

    def fetch(self, node: str, plan: Sequence[Take], first: int) -> Fetched:
        commands, asked = [], []
        for take in plan:
            for start in range(0, max(take.limit, 1), SLICE):
                limit = min(take.limit - start, SLICE)
                asked.append(take.queue)
                commands.append(
                    self._scripts.fetch(take.queue, node=node, first=first + start, limit=limit)
                )
            first += take.limit
        answers = self._calls.run(commands)
        fetched = Fetched([], {})
        left: dict[str, int] = {}
        for queue, answer in zip(asked, answers, strict=True):
            if isinstance(answer, int):
                raise _lost(node, queue)
            left[queue] = answer[0]
            fetched.deliveries.extend(replies.deliveries(queue, node, answer))
        return fetched._replace(left=left)

    def settle(self, node: str, outcomes: Sequence[Outcome]) -> list[State | None]:
        letters = self._calls.by_row(
            outcomes,
            lambda queue, blob: self._scripts.settle(queue, node=node, outcomes=blob.packed),
        )
        return [replies.STATE_OF_LETTER[letter] for letter in letters]

    def note(self, node: str, notes: Sequence[Note]) -> list[bool]:
        answers = self._calls.by_row(
            notes, lambda queue, blob: self._scripts.note(queue, node=node, notes=blob.packed)
        )
        return [bool(held) for held in answers]

    def unpark(self, queue: str, keys: Sequence[str], limit: int) -> int:
        if not keys:
            return 0
        return self._calls.in_slices(
            [queue], limit, lambda q, most: self._scripts.unpark(q, limit=most, park_keys=keys)
        )

    # -- time

    def due(self, queues: Sequence[str], horizon: float, limit: int) -> list[Due]:
        asked = [
            self._scripts.due(queue, horizon_ms=1000 * horizon, limit=limit) for queue in queues
        ]
        found = [
            Due(queue, wait / 1000)
            for queue, waits in zip(queues, self._calls.run(asked), strict=True)
            for wait in sorted(waits)[:limit]
        ]
        return sorted(found, key=lambda due: due.wait)

    def promote(self, queues: Sequence[str], limit: int) -> int:
        return self._calls.in_slices(
            queues, limit, lambda queue, most: self._scripts.promote(queue, limit=most)
        )

    # -- nodes

    def join(self, node: NodeInfo, queues: Sequence[str]) -> None:
        self._connections.talk(self._join(node, queues))

    def _join(self, node: NodeInfo, queues: Sequence[str]) -> Talk[None]:
        (skew,) = yield from self._calls.checked([self._announce(node, queues)])
        if skew:
            yield from self._calls.checked([self._scripts.set_skew(q, ms=skew) for q in queues])
        lease = _ms(node.lease)
        yield from self._calls.checked(
            [self._scripts.join(queue, node=node.id, lease_ms=lease) for queue in queues]
        )

    def beat(self, node: NodeInfo, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        beats = [
            self._scripts.beat(queue, node=node.id, lease_ms=_ms(node.lease)) for queue in queues
        ]
        _, *answers = self._calls.run([self._announce(node, queues), *beats])
        cancelled: list[tuple[JobKey, int]] = []
        for queue, answer in zip(queues, answers, strict=True):
            if answer == -1:
                raise _lost(node.id, queue)
            had_jobs, *flat = answer
            if had_jobs:
                self._registered.add(queue)
            cancelled += [
                (JobKey(queue, job_id.decode()), int(number))
                for number, job_id in replies.pairs(flat).items()
            ]
        return cancelled

    def _announce(self, node: NodeInfo, queues: Sequence[str]) -> Command[Any]:
        """With the queues that are known to have had jobs: the directory is made again by beats."""
        return self._scripts.announce(
            node=node.id,
            description=replies.pack_node(node),
            keep_ms=_ms(node.lease * replies.SEEN_LEASES),
            queues=[queue for queue in queues if queue in self._registered],
        )

    def leave(self, node: str, queues: Sequence[str]) -> None:
        self._forget([node])
        left = list(queues)
        while left:
            more = self._calls.run(
                [self._scripts.leave(queue, node=node, limit=SLICE) for queue in left]
            )
            left = [queue for queue, is_more in zip(left, more, strict=True) if is_more]

    def reap(self, queues: Sequence[str], limit: int, dead: Sequence[str] = ()) -> int:
        self._forget(dead)
        return self._calls.in_slices(
            queues, limit, lambda queue, most: self._scripts.reap(queue, limit=most, dead=dead)
        )

    def _forget(self, nodes: Sequence[str]) -> None:
        if nodes:
            self._calls.ask([("HDEL", self._keys.nodes, *nodes), ("ZREM", self._keys.seen, *nodes)])

    def held(self, node: str, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        found: dict[str, dict[bytes, bytes]] = {queue: {} for queue in queues}
        cursors: dict[str, bytes] = dict.fromkeys(queues, b"0")
        while cursors:
            pages = self._calls.ask(
                ("HSCAN", self._keys.held_by(queue, node), cursor, "COUNT", SLICE)
                for queue, cursor in cursors.items()
            )
            for queue, (cursor, flat) in zip(list(cursors), pages, strict=True):
                found[queue].update(replies.pairs(flat))
                cursors[queue] = cursor
                if cursor == b"0":
                    del cursors[queue]
        return [
            (JobKey(queue, job_id.decode()), int(number))
            for queue, jobs in found.items()
            for number, job_id in jobs.items()
            if number != LAST_NUMBER
        ]

    # -- upkeep

    def sweep(self, queues: Sequence[str], limit: int) -> int:
        keep_ms, most = _ms(self._limits.failed_retention), self._limits.failed_max
        return sum(
            self._calls.run(
                [
                    self._scripts.sweep(
                        queue,
                        limit=max(1, min(limit, SLICE)),
                        failed_keep_ms=keep_ms,
                        failed_max=most,
                    )
                    for queue in queues
                ]
            )
        )

    def set_skew(self, seconds: float) -> None:
        ms = _ms(seconds)
        known, _ = self._calls.ask([("SMEMBERS", self._keys.queues), ("SET", self._keys.skew, ms)])
        queues = {name.decode() for name in known} | self._scripts.queues_called
        self._calls.run([self._scripts.set_skew(queue, ms=ms) for queue in sorted(queues)])


def _lost(node: str, queue: str) -> NodeLost:
    return NodeLost(f"queue {queue!r} does not know node {node!r}: join it (again)")


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
