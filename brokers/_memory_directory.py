"""What the memory broker keeps for all queues together: nodes, mailboxes, commands, records, time.

`Commands` and `RecordBook` are called under the broker's lock, and with the store's time.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from taskrunner.brokers._memory_mailbox import PostOffice
from taskrunner.brokers.base import (
    COMMAND_KEPT,
    COMMANDS_KEPT,
    Bell,
    BellKind,
    Broker,
    Command,
    Mailbox,
    NodeInfo,
    Record,
    Records,
    Remark,
)
from taskrunner.clock import Clock
from taskrunner.errors import BrokerFull

_SEEN_FOR: Final = 2.0
"""Leases a silent node is still shown by `nodes`."""


@dataclass(slots=True)
class _Sent:
    command: Command
    until: float
    waits: bool = True


class Commands:
    """What was sent to each node lately, in the order in which it was."""

    def __init__(self) -> None:
        self._sent: dict[str, dict[str, _Sent]] = {}

    def send(self, node: str, command: Command, now: float) -> None:
        """Raises BrokerFull, PayloadTooLarge."""
        command.pack()  # as every other store would have to
        self._forget_old(now)
        sent = self._sent.setdefault(node, {})
        if command.id in sent:
            return
        if len(sent) >= COMMANDS_KEPT:
            raise BrokerFull(f"node {node!r} was sent {COMMANDS_KEPT} commands a moment ago")
        sent[command.id] = _Sent(command, now + COMMAND_KEPT)

    def waiting(self, node: str, done: Sequence[str], now: float) -> list[Command]:
        self._forget_old(now)
        sent = self._sent.get(node, {})
        for command_id in done:
            if command_id in sent:
                sent[command_id].waits = False
        return [one.command for one in sent.values() if one.waits]

    def forget(self, node: str) -> None:
        self._sent.pop(node, None)

    def _forget_old(self, now: float) -> None:
        for node, sent in list(self._sent.items()):
            left = {command_id: one for command_id, one in sent.items() if one.until > now}
            self._sent[node] = left
            if not left:
                del self._sent[node]


class RecordBook:
    """Values by kind and id, with the moments until which they are kept."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, tuple[bytes, float]]] = {}

    def find(self, kind: str, record_id: str, now: float) -> bytes:
        """Its value; empty where there is none."""
        self._forget_old(now)
        return self._kinds.get(kind, {}).get(record_id, (b"", 0.0))[0]

    def put(self, kind: str, record: Record, until: float = math.inf) -> None:
        self._kinds.setdefault(kind, {})[record.id] = record.value, until

    def remove(self, kind: str, record_id: str) -> None:
        self._kinds.get(kind, {}).pop(record_id, None)

    def slice(self, kind: str, cursor: str, *, limit: int, now: float) -> Records:
        self._forget_old(now)
        kept = self._kinds.get(kind, {})
        ids = sorted(kept)
        start = bisect_left(ids, cursor)
        found = [Record(record_id, kept[record_id][0]) for record_id in ids[start : start + limit]]
        rest = ids[start + limit :]
        return Records(found, rest[0] if rest else "")

    def _forget_old(self, now: float) -> None:
        for kind, kept in list(self._kinds.items()):
            left = {record_id: one for record_id, one in kept.items() if one[1] > now}
            self._kinds[kind] = left
            if not left:
                del self._kinds[kind]


@dataclass(slots=True)
class _Seen:
    info: NodeInfo
    at: float


class Directory(Broker):
    """The half of the broker that knows no queue."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._skew = 0.0
        self._lock = threading.RLock()
        self._office = PostOffice(self._lock)
        self._nodes: dict[str, _Seen] = {}
        self._commands = Commands()
        self._records = RecordBook()

    def now(self) -> float:
        return self._clock.wall() + self._skew

    def set_skew(self, seconds: float) -> None:
        self._skew = seconds

    def remarks(self) -> list[Remark]:
        found = [
            Remark("persistence", "jobs are in the memory of one process: they end with it", False)
        ]
        if self._skew:
            text = f"the store's clock is moved by {self._skew:g} s: that is for tests"
            found.append(Remark("clock", text, True))
        return found

    def erase(self) -> None:
        with self._lock:
            self._nodes.clear()
            self._commands = Commands()
            self._records = RecordBook()

    def nodes(self) -> list[NodeInfo]:
        with self._lock:
            now = self.now()
            for node, seen in list(self._nodes.items()):
                if now - seen.at > _SEEN_FOR * seen.info.lease:
                    del self._nodes[node]
            return [
                replace(seen.info, seen_ago=max(0.0, now - seen.at))
                for seen in self._nodes.values()
            ]

    def _see(self, node: NodeInfo) -> None:
        """It has given a sign of life; what it has not heard is rung again."""
        self._nodes[node.id] = _Seen(node, self.now())
        if self.commands(node.id):
            self._office.ring(node.id, Bell(BellKind.COMMAND, ""))

    def _forget(self, node: str) -> None:
        self._nodes.pop(node, None)
        self._commands.forget(node)

    # -- mailboxes and commands

    def open_mailbox(self, name: str) -> Mailbox:
        return self._office.open(name)

    def send(self, node: str, command: Command) -> bool:
        with self._lock:
            if node not in [info.id for info in self.nodes()]:
                return False
            self._commands.send(node, command, self.now())
            self._office.ring(node, Bell(BellKind.COMMAND, ""))
            return True

    def commands(self, node: str, done: Sequence[str] = ()) -> list[Command]:
        with self._lock:
            return self._commands.waiting(node, done, self.now())

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
        with self._lock:
            now = self.now()
            if expect is not None:
                found = self._records.find(kind, record_id, now)
                if found != expect:
                    return found == value
            until = math.inf if ttl is None else now + ttl
            self._records.put(kind, Record(record_id, value), until)
            return True

    def records(self, kind: str, cursor: str = "", *, limit: int = 100) -> Records:
        with self._lock:
            return self._records.slice(kind, cursor, limit=limit, now=self.now())

    def remove_record(self, kind: str, record_id: str, *, expect: bytes | None = None) -> bool:
        with self._lock:
            found = self._records.find(kind, record_id, self.now())
            if found and expect not in (None, found):
                return False
            self._records.remove(kind, record_id)
            return True
