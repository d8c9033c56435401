"""The Redis broker: each method of `base.Broker` as one round trip of scripts.

enqueue ─▶ scripts.enqueue ─┐                                  ┌▶ ready 9 … 0, scheduled
fetch   ─▶ scripts.fetch  ──┼─▶ connection.exchange ─▶ Redis ──┼▶ active:NODE
settle  ─▶ scripts.settle ──┘    (all of a call at once)       ├▶ done, failed
                                                               └▶ PUBLISH ─▶ mailbox.wait

What is asked from outside a node (submit, listen, control, look) is in `client`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from taskrunner.brokers.base import (
    COMMAND_KEPT,
    Broker,
    Command,
    Due,
    Fetched,
    Finding,
    JobKey,
    Limits,
    NodeInfo,
    Note,
    Outcome,
    Remark,
    Take,
)
from taskrunner.brokers.redis import replies, vitals
from taskrunner.brokers.redis.address import SCHEMES, Address
from taskrunner.brokers.redis.audit import Audit
from taskrunner.brokers.redis.audit_queue import Asking
from taskrunner.brokers.redis.calls import SLICE
from taskrunner.brokers.redis.client import RedisClient, to_ms
from taskrunner.brokers.redis.connection import Talk
from taskrunner.brokers.redis.erasing import erase
from taskrunner.brokers.redis.partly import DIRECTORY, Partly
from taskrunner.brokers.redis.scripts import Command as ScriptCall
from taskrunner.errors import NodeLost
from taskrunner.states import State

SHORTEST_BEAT_S: Final = 1.0
"""Seconds in which any server in good health has answered a beat."""


class RedisBroker(RedisClient, Broker):
    """Jobs in Redis."""

    _patience: float | None = None
    """seconds that the last node's notes and beats wait for an answer, if not the usual ones"""

    schemes: ClassVar[tuple[str, ...]] = SCHEMES

    @classmethod
    def from_url(cls, url: str, *, namespace: str, limits: Limits) -> RedisBroker:
        """See `address` for what a URL may say. Raises OptionError."""
        return cls(Address.parse(url), namespace=namespace, limits=limits)

    # -- consume

    def fetch(self, node: str, plan: Sequence[Take], first: int) -> Fetched:
        commands, asked = [], []
        for take in plan:
            for start in range(0, max(take.limit, 1), SLICE):
                limit = min(take.limit - start, SLICE)
                asked.append(take.queue)
                slots = None if take.slots is None else max(0, take.slots - start)
                commands.append(
                    self._scripts.fetch(
                        take, node=node, first=first + start, limit=limit, slots=slots
                    )
                )
            first += take.limit
        partly = self._calls.partly()
        fetched = Fetched([], {})
        left: dict[str, int] = {}
        withheld: set[str] = set()
        opens: dict[str, float] = {}
        for queue, answer in zip(asked, self._calls.results(commands), strict=True):
            if not partly.answered(answer, queue):
                continue
            if isinstance(answer, int):
                raise _lost(node, queue)
            left[queue] = answer[0]
            if answer[1]:
                withheld.add(queue)
            if answer[2] >= 0:
                opens[queue] = answer[2] / 1000
            fetched.deliveries.extend(replies.deliveries(queue, node, answer))
        return partly.whole(Fetched(fetched.deliveries, left, frozenset(withheld), opens))

    def settle(self, node: str, outcomes: Sequence[Outcome]) -> list[State | None]:
        return self._calls.by_row(
            outcomes,
            lambda queue, blob: self._scripts.settle(queue, node=node, outcomes=blob.packed),
            replies.STATE_OF_LETTER.get,
            absent=None,
        )

    def note(self, node: str, notes: Sequence[Note]) -> list[bool]:
        return self._calls.by_row(
            notes,
            lambda queue, blob: self._scripts.note(queue, node=node, notes=blob.packed),
            bool,
            absent=False,
            timeout=self._patience,
        )

    # -- time

    def due(self, queues: Sequence[str], horizon: float, limit: int) -> list[Due]:
        asked = [
            self._scripts.due(queue, horizon_ms=1000 * horizon, limit=limit) for queue in queues
        ]
        partly = self._calls.partly()
        found = [
            Due(queue, wait / 1000)
            for queue, waits in zip(queues, self._calls.results(asked), strict=True)
            if partly.answered(waits, queue)
            for wait in sorted(waits)[:limit]
        ]
        return partly.whole(sorted(found, key=lambda due: due.wait))

    def promote(self, queues: Sequence[str], limit: int) -> int:
        return self._calls.in_slices(
            queues, limit, lambda queue, most: self._scripts.promote(queue, limit=most)
        )

    # -- nodes

    def join(self, node: NodeInfo, queues: Sequence[str]) -> None:
        self._patience = self._beat_timeout(node.lease)
        self._connections.talk(self._join(node, queues))

    def _join(self, node: NodeInfo, queues: Sequence[str]) -> Talk[None]:
        partly = self._calls.partly()
        skew: Any
        (skew,) = yield from self._scripts.run([self._announce(node, queues)])
        if partly.answered(skew, DIRECTORY) and skew:
            yield from self._calls.checked([self._scripts.set_skew(q, ms=skew) for q in queues])
        lease = to_ms(node.lease)
        asked = [self._scripts.join(queue, node=node.id, lease_ms=lease) for queue in queues]
        for queue, joined in zip(queues, (yield from self._scripts.run(asked)), strict=True):
            partly.answered(joined, queue)
        partly.whole(None)

    def beat(self, node: NodeInfo, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        beats = [
            self._scripts.beat(queue, node=node.id, lease_ms=to_ms(node.lease)) for queue in queues
        ]
        commands = [self._announce(node, queues), *beats]
        self._patience = self._beat_timeout(node.lease)
        announced, *answers = self._calls.results(commands, self._patience)
        partly = self._calls.partly()
        partly.answered(announced, DIRECTORY)
        cancelled: list[tuple[JobKey, int]] = []
        for queue, answer in zip(queues, answers, strict=True):
            if not partly.answered(answer, queue):
                continue
            if answer == -1:
                raise _lost(node.id, queue)
            had_jobs, *flat = answer
            if had_jobs:
                self._registered.add(queue)
            cancelled += replies.held_jobs(queue, replies.pairs(flat))
        return partly.whole(cancelled, some=True)

    def _beat_timeout(self, lease: float) -> float:
        """Seconds: so short that a connection that died silently does not cost the lease. For
        notes as well: beats are made by the thread that makes notes."""
        usual: float = self._address.options["socket_timeout"]
        return min(usual, max(SHORTEST_BEAT_S, lease / 3))

    def _announce(self, node: NodeInfo, queues: Sequence[str]) -> ScriptCall[Any]:
        """With the queues that are known to have had jobs: the directory is made again by beats."""
        return self._scripts.announce(
            node=node.id,
            description=replies.pack_node(node),
            keep_ms=to_ms(node.lease * replies.SEEN_LEASES),
            queues=[queue for queue in queues if queue in self._registered],
        )

    def commands(self, node: str, done: Sequence[str] = ()) -> list[Command]:
        ask = self._scripts.commands(node=node, keep_ms=to_ms(COMMAND_KEPT), done=done)
        answer = self._calls.of_directory(ask, [])
        return [
            Command.unpack(replies.text(name), packed)
            for name, packed in replies.pairs(answer).items()
        ]

    def leave(self, node: str, queues: Sequence[str]) -> None:
        partly = self._calls.partly()
        self._forget([node], partly)
        left = list(queues)
        while left:
            more = self._calls.results(
                [self._scripts.leave(queue, node=node, limit=SLICE) for queue in left]
            )
            answers = zip(left, more, strict=True)
            left = [q for q, is_more in answers if partly.answered(is_more, q) and is_more]
        partly.whole(None)

    def reap(self, queues: Sequence[str], limit: int, dead: Sequence[str] = ()) -> int:
        # Where they cannot be struck off the directory they are forgotten there after a while.
        self._forget(dead, self._calls.partly())
        return self._calls.in_slices(
            queues, limit, lambda queue, most: self._scripts.reap(queue, limit=most, dead=dead)
        )

    def _forget(self, nodes: Sequence[str], partly: Partly) -> None:
        if nodes:
            kept = [key for node in nodes for key in self._keys.commands(node)]
            gone = self._calls.replies(
                [
                    ("HDEL", self._keys.nodes, *nodes),
                    ("ZREM", self._keys.seen, *nodes),
                    ("UNLINK", *kept),
                ]
            )
            for answer in gone:
                partly.answered(answer, DIRECTORY)

    def held(self, node: str, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        partly = self._calls.partly()
        found: dict[str, dict[bytes, bytes]] = {queue: {} for queue in queues}
        cursors: dict[str, bytes] = dict.fromkeys(queues, b"0")
        while cursors:
            pages = self._calls.replies(
                ("HSCAN", self._keys.held_by(queue, node), cursor, "COUNT", SLICE)
                for queue, cursor in cursors.items()
            )
            for queue, page in zip(list(cursors), pages, strict=True):
                if not partly.answered(page, queue):
                    del cursors[queue], found[queue]
                    continue
                cursors[queue], flat = page
                found[queue].update(replies.pairs(flat))
                if cursors[queue] == b"0":
                    del cursors[queue]
        return partly.whole(
            [held for queue, jobs in found.items() for held in replies.held_jobs(queue, jobs)]
        )

    # -- upkeep

    def sweep(self, queues: Sequence[str], limit: int) -> int:
        keep_ms, most = to_ms(self._limits.failed_retention), self._limits.failed_max
        slice_ = max(1, min(limit, SLICE))
        asked = [
            self._scripts.sweep(queue, limit=slice_, failed_keep_ms=keep_ms, failed_max=most)
            for queue in queues
        ]
        partly = self._calls.partly()
        total = 0
        for queue, done in zip(queues, self._calls.results(asked), strict=True):
            if partly.answered(done, queue):
                total += done
        return partly.whole(total)

    def audit(
        self, queues: Sequence[str] | None = None, *, repair: bool = False
    ) -> Iterator[list[Finding]]:
        asking = Asking(self._connections, self._scripts, mend=repair)
        return Audit(asking, self._keys, queues=queues).run()

    def remarks(self) -> list[Remark]:
        return vitals.remarks(self._connections, self._keys)

    def set_skew(self, seconds: float) -> None:
        ms = to_ms(seconds)
        known, _ = self._calls.ask([("SMEMBERS", self._keys.queues), ("SET", self._keys.skew, ms)])
        queues = {replies.text(name) for name in known} | self._scripts.queues_called
        self._calls.run([self._scripts.set_skew(queue, ms=ms) for queue in sorted(queues)])

    def erase(self) -> None:
        erase(self._connections, self._keys)
        self._registered.clear()


def _lost(node: str, queue: str) -> NodeLost:
    return NodeLost(f"queue {queue!r} does not know node {node!r}: join it (again)")
