"""The scripts of an audit: one typed method for each, as in `scripts`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from taskrunner.brokers.redis.keys import Keys
    from taskrunner.brokers.redis.scripts import Command


class AuditCalls(ABC):
    """`mend` says whether what is found is mended at once."""

    _keys: Keys

    @abstractmethod
    def _of_queue(
        self, script: str, queue: str, parse: Callable[[Any], Any], *arguments: Any
    ) -> Command[Any]: ...

    @abstractmethod
    def _of_namespace(
        self, script: str, keys: tuple[str, ...], *arguments: Any
    ) -> Command[Any]: ...

    def audit_jobs(
        self,
        queue: str,
        *,
        mend: bool,
        entries: int,
        ids: Sequence[str],
        beside: Sequence[tuple[str, str]] = (),
    ) -> Command[list[Any]]:
        packed = (_pack(ids), _pack(beside))
        return self._of_queue("audit_jobs", queue, _same, int(mend), entries, *packed)

    def audit_pending(
        self, queue: str, *, mend: bool, rows: Sequence[Any], doubled: bool
    ) -> Command[list[Any]]:
        packed = _pack(rows)
        return self._of_queue("audit_pending", queue, _same, int(mend), packed, int(doubled))

    def audit_index(
        self, queue: str, *, mend: bool, index: str, cursor: str, limit: int
    ) -> Command[list[Any]]:
        return self._of_queue("audit_index", queue, _same, int(mend), index, cursor, limit)

    def audit_nodes(
        self, queue: str, *, mend: bool, limit: int, nodes: Sequence[str]
    ) -> Command[list[Any]]:
        return self._of_queue("audit_nodes", queue, _same, int(mend), limit, *nodes)

    def audit_counters(
        self,
        queue: str,
        *,
        mend: bool,
        off: Mapping[str, int],
        nodes: Sequence[str],
        park_keys: Sequence[str],
    ) -> Command[list[Any]]:
        packed = (_pack(off), _pack(nodes))
        return self._of_queue("audit_counters", queue, _same, int(mend), *packed, *park_keys)

    def audit_ready(
        self, queue: str, *, mend: bool, priority: int, entries: int, missing: int
    ) -> Command[list[Any]]:
        return self._of_queue("audit_ready", queue, _same, int(mend), priority, entries, missing)

    def audit_walk(
        self, queue: str, *, priority: int, before: int, limit: int
    ) -> Command[list[Any]]:
        return self._of_queue("audit_walk", queue, _same, priority, before, limit)

    def audit_window(self, queue: str, *, start: str, end: str, limit: int) -> Command[list[Any]]:
        return self._of_queue("audit_window", queue, _same, start, end, limit)

    def audit_correct(
        self, queue: str, *, corrected: int, rows: Sequence[tuple[str, int]]
    ) -> Command[int]:
        return self._of_queue("audit_correct", queue, _same, corrected, _pack(rows))

    def audit_directory(self, *, mend: bool, queues: Sequence[str]) -> Command[list[Any]]:
        names = self._keys
        keys = (names.queues, names.nodes, names.seen)
        return self._of_namespace("audit_directory", keys, int(mend), names.everybody, *queues)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def _same(reply: Any) -> Any:
    return reply
