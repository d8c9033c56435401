"""The audit of one queue: its jobs, its nodes, its indexes, its ready lists, its counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from redis.exceptions import ResponseError

from taskrunner.brokers.base import PRIORITIES, Finding, FindingKind
from taskrunner.brokers.redis import walks
from taskrunner.brokers.redis.batches import IDS, parts
from taskrunner.brokers.redis.calls import Calls
from taskrunner.brokers.redis.connection import Connections
from taskrunner.brokers.redis.scripts import Command, Scripts
from taskrunner.brokers.redis.survey import Place
from taskrunner.brokers.redis.walks import Pending, Walk

ENTRIES: Final = 4000
"""How long a ready list may be to be read by one script."""
PAGE: Final = 500
"""Entries of an index that one script looks at, about."""
TAKEN_BACK: Final = 500
UNSURE: Final = 50_000
"""Pending jobs remembered to be looked for in a long list; those beyond wait for another audit."""
AT_ONCE: Final = 20
"""Scripts in one round trip."""
INDEXES: Final = ("scheduled", "retrying", "parking", "expiring", "done", "failed", "locks")


class Asking:
    """Whom to ask, whether to mend, and what was found so far."""

    def __init__(self, connections: Connections, scripts: Scripts, *, mend: bool) -> None:
        self.connections = connections
        self.scripts = scripts
        self.calls = Calls(connections, scripts)
        self.mend = mend
        self._findings: list[Finding] = []

    def take_findings(self) -> list[Finding]:
        """What was found since the last time."""
        found, self._findings = self._findings, []
        return found

    def add(
        self, queue: str, kind: FindingKind, subject: str, detail: str, *, repaired: bool = False
    ) -> None:
        self._findings.append(Finding(kind, queue, subject, detail, repaired))

    def note(self, queue: str, rows: Iterable[Any]) -> None:
        """Rows that a script has found."""
        for kind, subject, words, repaired, *_ in rows:
            name, detail = subject.decode(errors="replace"), words.decode(errors="replace")
            self.add(queue, FindingKind(kind.decode()), name, detail, repaired=bool(repaired))

    def one(self, command: Command[Any]) -> Any:
        """What one script answers. Raises BrokerError."""
        return self.calls.run([command])[0]

    def all(self, queue: str, commands: Sequence[Command[Any]]) -> list[Any]:
        """What some scripts answer; None where a key that one of them needs is not what it should
        be, which is a finding. Raises BrokerError."""
        results: list[Any] = []
        for part in parts(commands, AT_ONCE):
            talk = self.scripts.run(part)
            for command, result in zip(part, self.connections.talk(talk), strict=True):
                is_error = isinstance(result, ResponseError)
                if is_error and not str(result).startswith("WRONGTYPE"):
                    self.calls.refuse(result)
                if is_error:
                    words = " ".join(str(result).split())
                    self.add(queue, FindingKind.TYPE, command.script, f"cannot be done: {words}")
                results.append(None if is_error else result)
        return results


class QueueAudit:
    """One queue, and what was learnt of it on the way."""

    def __init__(self, asking: Asking, name: str) -> None:
        self.name = name
        self.has_had_jobs = False
        self._asking = asking
        self._scripts = asking.scripts
        self._mend = asking.mend
        self._nodes: set[str] = set()
        self._park_keys: set[str] = set()
        self._places: set[str] = set()
        self._unsure: list[Pending] = []
        self._first: dict[int, Walk] = {}
        self._off: Counter[str] = Counter()
        """by how much indexes are known to differ from the jobs there are, by counter"""
        self._gone: set[bytes] = set()
        """ids of which that was said"""

    def remember(self, found: Place) -> None:
        """There is a key of this kind."""
        if found.kind in ("active:", "cancel:"):
            self._nodes.add(found.rest)
        elif found.kind == "parked:":
            self._park_keys.add(found.rest)
        elif found.kind == "places:":
            self._places.add(found.rest)
        elif found.kind == "stats":
            self.has_had_jobs = True

    def first_walks(self) -> Iterator[None]:
        """Before the jobs are looked at: what is in the long lists."""
        for priority, length in zip(PRIORITIES, self._lengths(), strict=True):
            if length.entries > ENTRIES:
                walk = yield from walks.walk(self._scripts, self._asking.one, self.name, priority)
                if walk is not None:
                    self._first[priority] = walk

    def _lengths(self) -> list[walks.Length]:
        asked = [walks.ask_length(self._scripts, self.name, priority) for priority in PRIORITIES]
        return [
            walks.Length(*(answer or (0, 0, 0))) for answer in self._asking.all(self.name, asked)
        ]

    def jobs(self, ids: Sequence[str], beside: Sequence[tuple[str, str]] = ()) -> None:
        """Look at some jobs by their records; `beside` are kinds and ids of other keys of jobs, of
        interest where there is no record."""
        self.has_had_jobs = self.has_had_jobs or bool(ids)
        asked = [self._look(ids=part) for part in parts(ids, IDS)]
        asked += [self._look(beside=part) for part in parts(beside, IDS)]
        for answer in self._asking.all(self.name, asked):
            findings, unsure = answer or ((), ())
            self._note(findings)
            room = max(0, UNSURE - len(self._unsure))
            self._unsure += islice(self._not_met(unsure), room)

    def _look(
        self, *, ids: Sequence[str] = (), beside: Sequence[tuple[str, str]] = ()
    ) -> Command[list[Any]]:
        return self._scripts.audit_jobs(
            self.name, mend=self._mend, entries=ENTRIES, ids=ids, beside=beside
        )

    def _not_met(self, rows: Sequence[Any]) -> Iterator[Pending]:
        for job_id, priority, entry, owner in rows:
            found = Pending(job_id.decode(), int(priority), entry, owner)
            walk = self._first.get(found.priority)
            if walk is None or found.mark not in walk.owned:
                yield found

    def steps(self) -> Iterator[None]:
        """After that: everything else."""
        yield from self._check_nodes()
        yield from self._check_indexes()
        yield from self._check_ready()
        yield from self._check_counters()

    def _note(self, rows: Iterable[Any]) -> None:
        told = []
        for row in rows:
            kind, subject, _, repaired, off, counters = row
            if not repaired:
                self._off.update({counter.decode(): off for counter in counters})
            # All that is left of a job that is gone is one finding.
            if kind in (b"lost", b"leftover", b"misplaced") and subject in self._gone:
                continue
            if kind in (b"lost", b"leftover"):
                self._gone.add(subject)
            told.append(row)
        self._asking.note(self.name, told)

    # -- nodes and indexes

    def _check_nodes(self) -> Iterator[None]:
        wanted = sorted(self._nodes)
        while True:
            command = self._scripts.audit_nodes(
                self.name, mend=self._mend, limit=TAKEN_BACK, nodes=wanted
            )
            (answer,) = self._asking.all(self.name, [command])
            findings, more = answer or ((), ())
            self._note(findings)
            wanted = [node.decode() for node in more]
            yield
            if not wanted:
                return

    def _check_indexes(self) -> Iterator[None]:
        of_nodes = [f"{kind}:{node}" for kind in ("active", "cancel") for node in self._nodes]
        parked = [f"parked:{key}" for key in self._park_keys]
        places = [f"places:{scope}" for scope in self._places]
        left = dict.fromkeys([*INDEXES, *sorted(of_nodes), *sorted(parked), *sorted(places)], "0")
        while left:
            now = list(islice(left, AT_ONCE))
            asked = [
                self._scripts.audit_index(
                    self.name, mend=self._mend, index=index, cursor=left[index], limit=PAGE
                )
                for index in now
            ]
            for index, answer in zip(now, self._asking.all(self.name, asked), strict=True):
                cursor, findings = answer or (b"0", ())
                self._note(findings)
                left[index] = cursor.decode()
                if left[index] == "0":
                    del left[index]
            yield

    # -- ready lists

    def _check_ready(self) -> Iterator[None]:
        self._look_again()
        asked = [
            self._scripts.audit_ready(
                self.name,
                mend=self._mend,
                priority=priority,
                entries=ENTRIES,
                missing=self._off[f"p{priority}"],
            )
            for priority in PRIORITIES
        ]
        answers = self._asking.all(self.name, asked)
        yield
        for priority, answer in zip(PRIORITIES, answers, strict=True):
            if answer is None:
                continue
            is_whole, findings = answer
            self._note(findings)
            if not is_whole:
                yield from self._check_long(priority)

    def _look_again(self) -> None:
        """Those that were not looked for because of the other lists, or of a list that is shorter
        now."""
        unsure, self._unsure = self._unsure, []
        for priority in PRIORITIES:
            self.jobs([found.id for found in unsure if found.priority == priority])

    def _check_long(self, priority: int) -> Iterator[None]:
        first = self._first.get(priority)
        unsure = [found for found in self._unsure if found.priority == priority]
        length = self._lengths()[priority]
        second = yield from walks.walk(self._scripts, self._asking.one, self.name, priority)
        if second is None:
            return
        missing = self._confirm([u for u in unsure if u.mark not in second.owned], doubled=False)
        self._confirm(second.doubled, doubled=True)
        if first is not None:
            self._correct([walks.pending(first, length, second).shifted(missing)])

    def _confirm(self, jobs: Sequence[Pending], *, doubled: bool) -> int:
        count = 0
        for part in parts(jobs, IDS):
            rows = [found.row for found in part]
            found = self._asking.one(
                self._scripts.audit_pending(self.name, mend=self._mend, rows=rows, doubled=doubled)
            )
            self._note(found)
            count += len(found)
        return count

    # -- counters

    def _check_counters(self) -> Iterator[None]:
        told: set[bytes] = set()
        for part in list(parts(sorted(self._park_keys), IDS)) or [[]]:
            command = self._scripts.audit_counters(
                self.name,
                mend=self._mend,
                off=self._off,
                nodes=sorted(self._nodes),
                park_keys=part,
            )
            (answer,) = self._asking.all(self.name, [command])
            rows = [row for row in answer or () if row[1] not in told]
            told |= {row[1] for row in rows}
            self._note(rows)
            yield
        found = yield from walks.finished(self._scripts, self._asking.one, self.name)
        self._correct([bounds.shifted(self._off[bounds.counter]) for bounds in found])

    def _correct(self, found: Sequence[walks.Bounds]) -> None:
        """Counters that were read in one step."""
        wrong = [bounds for bounds in found if bounds.off]
        if not wrong:
            return
        command = self._scripts.audit_correct(
            self.name,
            corrected=wrong[0].corrected,
            rows=[(bounds.counter, bounds.off) for bounds in wrong],
        )
        repaired = bool(self._mend and self._asking.one(command))
        for bounds in wrong:
            kind = FindingKind.COUNTER
            self._asking.add(self.name, kind, bounds.counter, bounds.words, repaired=repaired)
