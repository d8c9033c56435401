"""What producers, waiters and onlookers ask of Redis: `base.BrokerClient`, each method as one round
trip of scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final

from redis.exceptions import ResponseError

from taskrunner.brokers.base import (
    ACCEPTED,
    COMMAND_KEPT,
    COMMANDS_KEPT,
    FIRINGS_KEPT,
    GONE_FOR,
    KNOWN_FOR,
    BrokerClient,
    Capabilities,
    Command,
    JobKey,
    JobRecord,
    Limits,
    Mailbox,
    NodeInfo,
    QueueStats,
    Receipt,
    Record,
    Records,
    SlotRecord,
    Tick,
    Ticked,
    TickKind,
)
from taskrunner.brokers.redis import replies
from taskrunner.brokers.redis.address import CLUSTER, Address
from taskrunner.brokers.redis.batches import IDS, Blob, blobs, tick_row, windows
from taskrunner.brokers.redis.calls import SLICE, Calls, places
from taskrunner.brokers.redis.connection import Pool, Talk
from taskrunner.brokers.redis.desk import Desk
from taskrunner.brokers.redis.failures import is_full
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.limit_calls import RedisLimits
from taskrunner.brokers.redis.line import Request
from taskrunner.brokers.redis.mailbox import RedisMailbox
from taskrunner.brokers.redis.network import async_connections, connections
from taskrunner.brokers.redis.partly import DIRECTORY
from taskrunner.brokers.redis.scripts import Command as ScriptCall
from taskrunner.brokers.redis.scripts import Scripts
from taskrunner.brokers.redis.submit import PATIENCE, STORED, Submitting
from taskrunner.clock import monotonic
from taskrunner.errors import BrokerFull, BrokerUnavailable
from taskrunner.message import FSYNCED, REPLICATED, Message

OLDEST: Final = (6, 2)
"""The oldest version of Redis that has every command."""
TELL_AGAIN_S: Final = 60.0
"""How often a process that submits jobs tells the directory which queues it knows."""


class RedisClient(Desk, RedisLimits, BrokerClient):
    """Jobs in Redis, seen from outside a node."""

    capabilities = Capabilities(
        results=True,
        shared=True,
        durable=True,
        confirms=frozenset({REPLICATED, FSYNCED}),
        hands_over=True,
    )

    def __init__(self, address: Address, *, namespace: str, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._keys = Keys(namespace)
        clustered = address.kind == CLUSTER
        if (
            clustered
        ):  # a bell there reaches every server, and nobody knows whether somebody heard it
            self.capabilities = replace(self.capabilities, hands_over=False)
        self._scripts = Scripts(self._keys, keep_ms=to_ms(limits.retention), clustered=clustered)
        self._connections = connections(address)
        self._async_connections = async_connections(address)
        self._calls = Calls(self._connections, self._scripts)
        patience: float = PATIENCE * address.options["socket_timeout"]
        self._submitting = Submitting(
            self._scripts,
            self._keys,
            shown=address.shown,
            within=min(limits.confirm, patience),
            has_parts=address.kind == CLUSTER,
        )
        self._told_at = monotonic()
        self._registered: set[str] = set()
        """queues that this process has written into the directory"""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address.shown!r}, namespace={self._keys.namespace!r})"

    @property
    def round_trips(self) -> int:
        return Pool.round_trips

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
            request = self._short(messages)
            if request is not None:
                replies = self._connections.exchange((request,))
                if replies == [STORED] or self._connections.talk(
                    self._submitting.taught(messages[0], replies)
                ):
                    return [ACCEPTED]
            return self._connections.talk(self._enqueue(messages))
        except BrokerUnavailable:
            self._registered.clear()  # it may come back with less than it had
            raise

    async def aenqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        try:
            request = self._short(messages)
            if request is not None:
                replies = await self._async_connections.exchange((request,))
                if replies == [STORED] or await self._async_connections.talk(
                    self._submitting.taught(messages[0], replies)
                ):
                    return [ACCEPTED]
            return await self._async_connections.talk(self._enqueue(messages))
        except BrokerUnavailable:
            self._registered.clear()
            raise

    def _short(self, messages: Sequence[Message]) -> Request | None:
        """The one request that most calls come to: a single job, in a queue that is known. Most of
        what a call costs here is deciding what it is not."""
        if (
            len(messages) != 1
            or messages[0].queue not in self._registered
            or self._is_time_to_tell()
        ):
            return None
        return self._submitting.short(messages[0])

    def _enqueue(self, messages: Sequence[Message]) -> Talk[list[Receipt]]:
        yield from self._register(self._untold({message.queue for message in messages}))
        return (yield from self._submitting.store(messages))

    def _untold(self, queues: AbstractSet[str]) -> AbstractSet[str]:
        """Those that the directory was not told of lately. Again now and then: it may have lost them,
        and where no node serves a queue yet, nobody else knows of it."""
        if self._is_time_to_tell():
            self._registered.clear()
            self._told_at = monotonic()
        return queues - self._registered

    def _is_time_to_tell(self) -> bool:
        return monotonic() - self._told_at > TELL_AGAIN_S

    def _register(self, queues: Iterable[str]) -> Talk[None]:
        """Make queues known in the namespace, before their first job. A clock that was moved is
        moved there too."""
        new = sorted(queues)
        if not new:
            return
        skew: Any
        (skew,) = yield from self._scripts.run([self._scripts.register(new)])
        if not self._calls.partly().answered(skew, DIRECTORY):
            yield from self._expect_jobs(new, skew)
            return
        if skew:
            yield from self._calls.checked([self._scripts.set_skew(q, ms=skew) for q in new])
        self._registered.update(new)

    def _expect_jobs(self, queues: Sequence[str], error: ResponseError) -> Talk[None]:
        """While the directory is away: a queue that had jobs was in it, and will be again. A new one
        would be found by nobody. Raises BrokerUnavailable."""
        found = yield [("EXISTS", self._keys.of_queue(queue, "stats")) for queue in queues]
        if found != [1] * len(queues):
            self._calls.refuse(error)

    # -- listen

    def open_mailbox(self, name: str) -> Mailbox:
        return RedisMailbox(self._connections, self._keys, name)

    def watch(self, mailbox: str, keys: Sequence[JobKey]) -> list[bool]:
        return self._calls.by_id(
            keys,
            lambda queue, ids: self._scripts.watch(queue, mailbox=mailbox, ids=ids),
            lambda _, over: bool(over),
            absent=False,
        )

    # -- control

    def cancel(self, keys: Sequence[JobKey]) -> list[bool | None]:
        meaning = {1: True, 0: False, -1: None}
        return self._calls.by_id(
            keys, self._scripts.cancel, lambda _, answer: meaning[answer], absent=None
        )

    def send(self, node: str, command: Command) -> bool:
        ask = self._scripts.send(
            node=node,
            command_id=command.id,
            packed=command.pack(),
            keep_ms=to_ms(COMMAND_KEPT),
            most=COMMANDS_KEPT,
        )
        (kept,) = self._calls.run([ask])
        if kept < 0:
            raise BrokerFull(f"node {node!r} was sent {COMMANDS_KEPT} commands a moment ago")
        return kept == 1

    # -- look

    def get(self, keys: Sequence[JobKey]) -> list[JobRecord | None]:
        return self._calls.by_id(
            keys,
            self._scripts.get,
            lambda key, fields: replies.job_record(key.queue, key.id, fields),
            absent=None,
        )

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        found = self._calls.replies(
            ("HGETALL", self._keys.of_queue(queue, name))
            for queue in queues
            for name in ("stats", "parked")
        )
        partly = self._calls.partly()
        return partly.whole(
            [
                replies.queue_stats(queue, stats, parked)
                for queue, stats, parked in zip(queues, found[::2], found[1::2], strict=True)
                if partly.answered(stats, queue) and partly.answered(parked, queue)
            ]
        )

    def queues(self) -> list[str]:
        partly = self._calls.partly()
        (names,) = self._calls.replies([("SMEMBERS", self._keys.queues)])
        is_there = partly.answered(names, DIRECTORY)
        return partly.whole(sorted(map(replies.text, names)) if is_there else [])

    def nodes(self) -> list[NodeInfo]:
        answer = self._calls.of_directory(self._scripts.nodes(), [])
        return list(replies.node_infos(answer))

    def now(self) -> float:
        time, skew = self._calls.ask([("TIME",), ("GET", self._keys.skew)])
        return int(time[0]) + int(time[1]) / 1e6 + int(skew or 0) / 1000

    # -- records

    def put_record(
        self,
        kind: str,
        record_id: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: bytes | None = None,
    ) -> bool:
        ask = self._scripts.put_record(
            kind,
            record_id=record_id,
            value=value,
            ttl_ms=None if ttl is None else to_ms(ttl),
            expect=expect,
        )
        return self._calls.of_directory(ask, 0) == 1

    def records(self, kind: str, cursor: str = "", *, limit: int = 100) -> Records:
        most = max(1, min(limit, SLICE))
        (answer,) = self._calls.run([self._scripts.records(kind, start=cursor, limit=most)])
        following, *flat = answer
        found = [Record(replies.text(i), value) for i, value in replies.pairs(flat).items()]
        return Records(found, following.decode())

    def remove_record(self, kind: str, record_id: str, *, expect: bytes | None = None) -> bool:
        ask = self._scripts.remove_record(kind, record_id=record_id, expect=expect)
        return self._calls.run([ask]) == [1]

    # -- schedules

    def tick(self, ticks: Sequence[Tick]) -> list[Ticked]:
        return self._connections.talk(self._tick(ticks))

    def _tick(self, ticks: Sequence[Tick]) -> Talk[list[Ticked]]:
        where = places(tick.message.queue for tick in ticks)
        yield from self._register(self._untold(where.keys()))
        packed = [
            (queue, blob)
            for queue, positions in where.items()
            for blob in blobs([tick_row(ticks[at]) for at in positions])
        ]
        partly = self._calls.partly()
        answers = [Ticked(TickKind.AWAY)] * len(ticks)
        for window in windows(packed):
            results = yield from self._scripts.run([self._ask_tick(*one) for one in window])
            for (queue, blob), result in zip(window, results, strict=True):
                positions = where[queue][blob.start : blob.start + blob.size]
                if isinstance(result, ResponseError) and is_full(result):
                    found = [Ticked(TickKind.FULL)] * blob.size
                elif not partly.answered(result, queue) or isinstance(result, ResponseError):
                    continue
                else:
                    found = [replies.ticked(answer) for answer in result]
                for at, answer in zip(positions, found, strict=True):
                    answers[at] = answer
        return partly.whole(answers, some=True)

    def _ask_tick(self, queue: str, blob: Blob) -> ScriptCall[list[list[Any]]]:
        known_for, keep = to_ms(KNOWN_FOR), FIRINGS_KEPT
        return self._scripts.tick(queue, rows=blob.packed, known_for_ms=known_for, keep=keep)

    def slots(self, queue: str, schedules: Sequence[str], *, firings: int = 0) -> list[SlotRecord]:
        asked = [
            self._scripts.slots(queue, firings=firings, schedules=schedules[at : at + IDS])
            for at in range(0, len(schedules), IDS)
        ]
        return [replies.slot_record(found) for part in self._calls.run(asked) for found in part]

    def close_slots(self, queue: str, schedule: str, revision: int, *, gone: bool = False) -> float:
        forget_ms = to_ms(GONE_FOR) if gone else None
        ask = self._scripts.close_slots(
            queue, schedule=schedule, revision=revision, forget_ms=forget_ms
        )
        (last,) = self._calls.run([ask])
        return last / 1000


def to_ms(seconds: float) -> int:
    """Whole milliseconds, as scripts count."""
    return round(1000 * seconds)
