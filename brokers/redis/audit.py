"""Auditing a live store, slice by slice.

    first walks ─▶ survey: every key, and every job by its record ─▶ each queue ─▶ directory
    long lists                                                        nodes, indexes, lists, counters

What an index holds and what a record says is compared in one script, and mended in the same one, so
that what moves meanwhile is never taken for damage. A script reads a few thousand entries at most.
Counters are compared with what an index can say at once; where that is more than one script may
read, `walks` finds out how many there were at least and at most in one moment, and only what the
counter says outside of that is wrong. So beside heavy traffic a small error in the counter of a
very long list may stay unseen until there is less of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from redis.exceptions import ResponseError

from taskrunner.brokers.base import Finding, FindingKind
from taskrunner.brokers.redis.audit_queue import Asking, QueueAudit
from taskrunner.brokers.redis.batches import IDS, parts
from taskrunner.brokers.redis.connection import Exchange
from taskrunner.brokers.redis.keys import JOB, Keys
from taskrunner.brokers.redis.replies import text
from taskrunner.brokers.redis.survey import OF_A_JOB, Foreign, Place, pattern, place

SCANNED: Final = 1000
"""Keys of one slice, about."""


class Audit:
    """One audit, of all queues or of some; `run` may be called once."""

    def __init__(self, asking: Asking, keys: Keys, *, queues: Sequence[str] | None) -> None:
        self._asking = asking
        self._calls = asking.calls
        self._keys = keys
        self._named = None if queues is None else sorted(set(queues))
        self._queues: dict[str, QueueAudit] = {}
        self._foreign = Foreign()
        self._blocked: set[str] = set()
        """queues (empty: the namespace) with a key that holds something else than it should"""

    def run(self) -> Iterator[list[Finding]]:
        """Do it; what each slice found. Raises BrokerError."""
        for _ in self._steps():
            yield self._asking.take_findings()
        yield self._asking.take_findings()

    def _steps(self) -> Iterator[None]:
        for name in self._known_queues() if self._named is None else self._named:
            yield from self._queue(name).first_walks()
        yield from self._survey()
        for name, queue in sorted(self._queues.items()):
            if name not in self._blocked:
                yield from queue.steps()
        if "" not in self._blocked:
            self._directory()

    def _known_queues(self) -> list[str]:
        (names,) = self._asking.connections.exchange([("SMEMBERS", self._keys.queues)])
        if not isinstance(names, ResponseError):
            return sorted(map(text, names))
        if not str(names).startswith("WRONGTYPE"):
            self._calls.refuse(names)
        return []  # it is found by its type, and the queues by their keys

    def _queue(self, name: str) -> QueueAudit:
        found = self._queues.get(name)
        if found is None:
            found = self._queues[name] = QueueAudit(self._asking, name)
        return found

    # -- the keys, and with them the jobs

    def _survey(self) -> Iterator[None]:
        wanted = [pattern(self._keys.namespace, queue) for queue in self._named or (None,)]
        for exchange in self._asking.connections.each_server():
            for match in wanted if self._named != [] else ():
                yield from self._scan(exchange, match)
        for owner, first, detail in self._foreign.by_owner():
            self._asking.add(owner, FindingKind.FOREIGN, first, detail)

    def _scan(self, exchange: Exchange, match: str) -> Iterator[None]:
        cursor: bytes | int = 0
        while cursor != b"0":
            (page,) = exchange([("SCAN", cursor, "MATCH", match, "COUNT", SCANNED)])
            if isinstance(page, ResponseError):
                self._calls.refuse(page)
            cursor, keys = page
            found = {key: place(self._keys.namespace, key) for key in keys}
            self._look_at({key: where for key, where in found.items() if where is not None})
            yield

    def _look_at(self, keys: dict[bytes, Place]) -> None:
        of_jobs: dict[str, list[tuple[str, str]]] = {}
        others: dict[str, Place] = {}
        for key, found in keys.items():
            if found.queue and found.kind in OF_A_JOB:
                of_jobs.setdefault(found.queue, []).append((found.kind, found.rest))
            else:
                others[text(key)] = found
        self._measure({key: found for key, found in others.items() if not found.kind})
        for found in self._right_ones({k: found for k, found in others.items() if found.holds}):
            self._queue(found.queue).remember(found)
        for name, some in of_jobs.items():
            ids = [job_id for kind, job_id in some if kind == JOB]
            self._queue(name).jobs(ids, [pair for pair in some if pair[0] != JOB])

    def _measure(self, keys: dict[str, Place]) -> None:
        """Keys that are not ours."""
        sizes = self._asking.connections.exchange([("MEMORY", "USAGE", key) for key in keys])
        owners = [(found.queue, key) for key, found in keys.items()]
        # An ACL may forbid to ask; and a key that is no text has another name than the one shown.
        self._foreign.add(owners, [size if isinstance(size, int) else None for size in sizes])

    def _right_ones(self, keys: dict[str, Place]) -> Iterator[Place]:
        """The keys of queues that hold what they should."""
        types = map(text, self._calls.ask(("TYPE", key) for key in keys))
        for (key, where), holds in zip(keys.items(), types, strict=True):
            if holds not in (where.holds, "none"):
                self._blocked.add(where.queue)
                detail = f"a {holds} instead of a {where.holds}: nothing else can be looked at here"
                self._asking.add(where.queue, FindingKind.TYPE, key, detail)
            elif where.queue:
                yield where

    # -- the namespace

    def _directory(self) -> None:
        queues = sorted(name for name, queue in self._queues.items() if queue.has_had_jobs)
        for part in list(parts(queues, IDS)) or [[]]:
            command = self._asking.scripts.audit_directory(mend=self._asking.mend, queues=part)
            (rows,) = self._calls.run([command])
            self._asking.note("", rows)
