"""The plain data structures of the memory broker: jobs by time, jobs by priority, leases."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING

from taskrunner.brokers.base import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskrunner.brokers._memory_job import Job


class TimeIndex:
    """Ids by a time, soonest first; those of the same time in the order in which they came."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, str]] = []
        self._entry_of: dict[str, tuple[float, int, str]] = {}
        self._order = count()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, job_id: str, at: float) -> None:
        self.discard(job_id)
        entry = self._entry_of[job_id] = (at, next(self._order), job_id)
        insort(self._entries, entry)  # times mostly grow, and then this is an append

    def discard(self, job_id: str) -> None:
        entry = self._entry_of.pop(job_id, None)
        if entry is not None:
            del self._entries[bisect_left(self._entries, entry)]

    def __iter__(self) -> Iterator[str]:
        return iter([job_id for _, _, job_id in self._entries])

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._entry_of

    def ids(self) -> list[str]:
        return list(self._entry_of)

    def first(self) -> str | None:
        return self._entries[0][2] if self._entries else None

    def soonest(self) -> float | None:
        return self._entries[0][0] if self._entries else None

    def times_until(self, moment: float, limit: int) -> list[float]:
        return [at for at, _, _ in self._entries[: min(limit, self._count_until(moment))]]

    def page(
        self, after: tuple[float, int] | None, limit: int, *, newest_first: bool
    ) -> list[tuple[float, int, str]]:
        """Up to `limit` entries, times and places and ids, behind the place `after`."""
        if newest_first:
            end = len(self) if after is None else bisect_left(self._entries, after)
            return self._entries[max(0, end - limit) : end][::-1]
        start = 0 if after is None else bisect_left(self._entries, (after[0], after[1] + 1))
        return self._entries[start : start + limit]

    def pop_until(self, moment: float, limit: int) -> list[str]:
        """Take out the ids whose time has come, soonest first, `limit` at most."""
        return self.pop(min(limit, self._count_until(moment)))

    def pop(self, how_many: int) -> list[str]:
        """Take out the soonest, in one cut: one by one would move the rest each time."""
        how_many = max(0, how_many)
        taken = [job_id for _, _, job_id in self._entries[:how_many]]
        del self._entries[:how_many]
        for job_id in taken:
            del self._entry_of[job_id]
        return taken

    def _count_until(self, moment: float) -> int:
        return bisect_right(self._entries, moment, key=lambda entry: entry[0])


class ReadyLists:
    """Ready jobs: one list for each priority, first in, first out.

    A job that leaves from the middle of a list (cancelled, expired, settled late) leaves its entry
    behind: removing it there would cost as much as the list is long. An entry counts only while
    its ticket is the job's; others are dropped where they are met, and by `sweep`. So the length
    of a list says nothing, and the number of ready jobs is counted apart.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(PRIORITIES, 0)
        self._lists: dict[int, deque[tuple[int, Job]]] = {p: deque() for p in PRIORITIES}
        self._tickets = count(1)
        self._head_tickets = count(-1, -1)
        """lower than all before: within a list tickets grow"""
        self._swept = dict.fromkeys(PRIORITIES, 0)
        """by priority: how many entries from the head `sweep` has found good"""

    def add(self, job: Job, *, head: bool = False) -> None:
        """At the end of its priority, or at the head of it."""
        job.ticket = next(self._head_tickets if head else self._tickets)
        entries = self._lists[job.priority]
        entries.appendleft((job.ticket, job)) if head else entries.append((job.ticket, job))
        self.counts[job.priority] += 1

    def leave(self, job: Job) -> None:
        job.ticket = 0
        self.counts[job.priority] -= 1

    def pop(self) -> Job | None:
        """The most urgent job, without its entry; it is counted until it leaves."""
        for priority in reversed(PRIORITIES):
            entries = self._lists[priority]
            while entries:
                ticket, job = entries.popleft()
                if job.ticket == ticket:
                    return job
        return None

    def first(self) -> Job | None:
        """The most urgent job; it stays."""
        job = self.pop()
        if job is not None:
            self.put_back(job)
        return job

    def put_back(self, job: Job) -> None:
        """What was popped a moment ago."""
        self._lists[job.priority].appendleft((job.ticket, job))

    def heads(self) -> list[Job]:
        """The next job of each priority."""
        found = (
            next((job for ticket, job in entries if job.ticket == ticket), None)
            for entries in self._lists.values()
        )
        return [job for job in found if job is not None]

    def entries(self) -> list[Job]:
        """The jobs of all entries that count, most urgent first."""
        return [
            job
            for priority in reversed(PRIORITIES)
            for ticket, job in self._lists[priority]
            if job.ticket == ticket
        ]

    def page(self, after: tuple[int, int] | None, limit: int) -> list[Job]:
        """Up to `limit` jobs behind a priority and a ticket there."""
        places = (
            (job.priority, ticket, job)
            for priority in reversed(PRIORITIES)
            if after is None or priority <= after[0]
            for ticket, job in self._lists[priority]
        )
        found = (
            job
            for priority, ticket, job in places
            if job.ticket == ticket and (after is None or priority < after[0] or ticket > after[1])
        )
        return list(islice(found, limit))

    def drop_last(self, job: Job) -> None:
        """Take out the last of a job's entries, whatever is counted."""
        entries = self._lists[job.priority]
        entries.reverse()
        entries.remove((job.ticket, job))
        entries.reverse()

    def sweep(self, limit: int) -> int:
        """Look at up to `limit` entries and drop dead ones; 0 when there are none anywhere."""
        for priority, entries in self._lists.items():
            if len(entries) > self.counts[priority]:
                return max(1, self._sweep_one(priority, limit))
        return 0

    def _sweep_one(self, priority: int, limit: int) -> int:
        entries = self._lists[priority]
        start = self._swept[priority] if self._swept[priority] < len(entries) else 0
        looked = min(limit, len(entries) - start)
        entries.rotate(-start)
        kept = 0
        for _ in range(looked):
            ticket, job = entries.popleft()
            if job.ticket == ticket:
                entries.append((ticket, job))
                kept += 1
        entries.rotate(start + kept)
        self._swept[priority] = start + kept
        return looked - kept


@dataclass(slots=True)
class Lease:
    length: float
    """seconds"""
    ends: float


@dataclass(slots=True)
class Leases:
    """The nodes of one queue, and whether the time says that one of them is lost.

    A store that was stopped, cut off or whose clock stepped has heard nobody, so that nobody's
    silence means anything. Only what happened since beats arrive without a gap counts.
    """

    of: dict[str, Lease] = field(default_factory=dict)
    _last_beat: float | None = None
    _gapless_since: float = 0.0

    def __contains__(self, node: str) -> bool:
        return node in self.of

    def __iter__(self) -> Iterator[str]:
        return iter(self.of)

    def beat(self, node: str, length: float, now: float) -> None:
        """Give the node a lease of `length` seconds; new or renewed."""
        if self._is_gap(now, length):
            self._gapless_since = now
            self._renew_all(now)
        self._last_beat = now
        self.of[node] = Lease(length, now + length)

    def forget(self, node: str) -> None:
        self.of.pop(node, None)

    def lapsed(self, now: float) -> list[str]:
        """Nodes whose lease ran out while the store was listening."""
        if self.of and self._is_gap(now, max(lease.length for lease in self.of.values())):
            self._renew_all(now)
        listened = now - self._gapless_since
        return [
            node
            for node, lease in self.of.items()
            if lease.ends <= now and lease.length <= listened
        ]

    def _is_gap(self, now: float, length: float) -> bool:
        return self._last_beat is None or not 0 <= now - self._last_beat <= length

    def _renew_all(self, now: float) -> None:
        for lease in self.of.values():
            lease.ends = now + lease.length
