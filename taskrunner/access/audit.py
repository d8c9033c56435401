"""What was changed over the network: by whom, what, when, and what came of it.

    request ─▶ record ─┬─▶ a line of JSON, before the request is answered     lines
                       └─▶ queue ─▶ thread: alike ones together ─▶ the store  trail

The lines are complete, in a file of one's own or in the log. What the store keeps is for looking at,
newest first: for a while, and not more than so many entries, in which requests of one kind that came
within a moment are counted together. A store that is away delays entries, and a request never.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from taskrunner.brokers.base import BrokerClient
from taskrunner.errors import BrokerError, ConfigError

KIND: Final = "audit"
SUBMIT: Final = "submit"
IDS_KEPT: Final = 50
"""Jobs named in one entry of the store."""

WAITING_AT_MOST: Final = 10_000
GATHER_S: Final = 0.5
"""How long entries are gathered before they are stored."""

TRIM_EVERY: Final = 200
_SLICE: Final = 500
_LATEST_MS: Final = 2**48
_FIRST_PAUSE_S: Final = 0.5
_MOST_PAUSE_S: Final = 30.0

_lines = logging.getLogger("taskrunner.audit")
_log = logging.getLogger("taskrunner.access")


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, or one that was refused."""

    at: float
    """seconds since the epoch"""
    who: str
    """kind and id of the identity"""
    name: str
    address: str
    action: str
    """such as jobs.cancel"""
    status: int
    """of the answer, as HTTP has it"""
    queue: str | None = None
    task: str | None = None
    jobs: tuple[str, ...] = ()
    target: str | None = None
    """what else it was done to: a schedule, a key, a node, a filter"""
    request: str = ""
    """the request's id, which its answer carries too"""
    count: int = 1
    """how many requests of this kind are told together"""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """In a word: done, refused or failed."""
        if self.status < 400:
            return "done"
        return "refused" if self.status < 500 else "failed"

    def as_map(self) -> dict[str, Any]:
        """As JSON has it, without what is not said."""
        moment = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        values = {**asdict(self), "at": moment, "jobs": list(self.jobs), "outcome": self.outcome}
        return {name: value for name, value in values.items() if value not in (None, [], {}, "")}

    def as_line(self) -> str:
        return json.dumps(self.as_map(), ensure_ascii=True, default=str)

    @classmethod
    def parse(cls, packed: bytes) -> Entry:
        """Raises ValueError for what is no entry."""
        try:
            values = json.loads(packed)
            values["at"] = datetime.fromisoformat(values["at"]).timestamp()
            values["jobs"] = tuple(values.get("jobs", ()))
            return cls(**{name: values[name] for name in cls.__slots__ if name in values})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("not an entry of the audit") from error

    @property
    def kind(self) -> tuple[object, ...]:
        """The same for entries that may be told together."""
        detail = json.dumps(dict(self.detail), sort_keys=True, default=str)
        fixed = (self.who, self.address, self.action, self.status)
        return (*fixed, self.queue, self.task, self.target, detail)

    def takes(self, other: Entry) -> bool:
        """Whether it has room for another of its kind; of submissions not all ids are kept."""
        return self.action == SUBMIT or len(self.jobs) + len(other.jobs) <= IDS_KEPT

    def with_(self, other: Entry) -> Entry:
        """The two as one."""
        jobs = (*self.jobs, *other.jobs)[:IDS_KEPT]
        return replace(self, jobs=jobs, count=self.count + other.count, request="")


def gathered(entries: Iterable[Entry]) -> list[Entry]:
    """Entries with those told together that are alike, in the order of the first of each."""
    found: list[Entry] = []
    places: dict[tuple[object, ...], int] = {}
    for entry in entries:
        place = places.get(entry.kind)
        if place is not None and found[place].takes(entry):
            found[place] = found[place].with_(entry)
        else:
            places[entry.kind] = len(found)
            found.append(entry)
    return found


class Lines:
    """Entries as lines of JSON: appended to a file, or to the log of `taskrunner.audit`.

    A file that was moved away is begun anew. Raises ConfigError, at once, for one that cannot be
    written. Thread-safe.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._fd = -1
        try:
            self._open()
        except OSError as error:
            raise ConfigError([f"the audit file {path}: {error.strerror}"]) from error

    def write(self, entry: Entry) -> None:
        line = entry.as_line()
        if self._path is None:
            _lines.info("%s", line)
            return
        try:
            with self._lock:
                self._open()
                os.write(self._fd, line.encode() + b"\n")
        except OSError as error:
            _log.error("the audit file cannot be written (%s): %s", error.strerror, line)

    def _open(self) -> None:
        if self._path is None or self._is_current():
            return
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)

    def _is_current(self) -> bool:
        try:
            return self._fd >= 0 and os.path.samestat(os.fstat(self._fd), os.stat(self._path or ""))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Page(NamedTuple):
    """Entries, newest first, and where the next page begins; empty: there is none."""

    entries: list[Entry]
    cursor: str


class Trail:
    """Entries in the store: for `retention` seconds, and `most` at most. Every method may raise
    BrokerUnavailable."""

    def __init__(self, broker: BrokerClient, *, retention: float, most: int) -> None:
        self._broker = broker
        self._retention = retention
        self._most = most

    def add(self, entry: Entry) -> None:
        # Ids sort the newest first, as records are listed.
        place = f"{_LATEST_MS - int(entry.at * 1000):012x}-{secrets.token_hex(4)}"
        self._broker.put_record(KIND, place, entry.as_line().encode(), ttl=self._retention)

    def page(self, cursor: str = "", *, limit: int = 100) -> Page:
        found, cursor = self._broker.records(KIND, cursor, limit=limit)
        entries = []
        for record in found:
            try:
                entries.append(Entry.parse(record.value))
            except ValueError:
                continue  # of a later version
        return Page(entries, cursor)

    def trim(self) -> int:
        """Remove what is beyond the bound, the oldest; how many."""
        seen, removed, cursor = 0, 0, ""
        while True:
            found, cursor = self._broker.records(KIND, cursor, limit=_SLICE)
            for record in found:
                seen += 1
                if seen > self._most:
                    removed += self._broker.remove_record(KIND, record.id)
            if not cursor:
                return removed


class Auditor:
    """Takes entries, writes their lines at once, and stores them a moment later."""

    def __init__(self, lines: Lines, trail: Trail) -> None:
        self._lines = lines
        self._trail = trail
        self._waiting: deque[Entry] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._stored = 0
        self.dropped = 0
        """entries that are in the lines alone: the store was away for too long"""

    def record(self, entry: Entry) -> None:
        self._lines.write(entry)
        with self._wake:
            if len(self._waiting) >= WAITING_AT_MOST:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(entry)
            if self._thread is None and not self._stopping:
                self._start()
            self._wake.notify()

    # -- the thread

    def _start(self) -> None:
        """With the first entry: a service that is mounted in another hears of no beginning."""
        self._thread = threading.Thread(target=self._run, name="taskrunner audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Store what waits, if the store is there, and end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        with self._wake:
            self._thread, self._stopping = None, False
        self._lines.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while self._sleep():
            try:
                self.run_once()
                pause = _FIRST_PAUSE_S
            except Exception as error:  # noqa: BLE001  whatever it is, later entries are stored
                if self._stopping:
                    _log.error("%d entries of the audit were not stored", len(self._waiting))
                    return
                why = None if isinstance(error, BrokerError) else error
                _log.warning("the audit waits for the store: %s", error, exc_info=why)
                pause = min(_MOST_PAUSE_S, 2 * pause)
                with self._wake:
                    self._wake.wait_for(lambda: self._stopping, timeout=pause)

    def _sleep(self) -> bool:
        """Wait until there is something to store, and a moment longer; False: it is time to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._stopping)
            self._wake.wait_for(lambda: self._stopping, timeout=GATHER_S)
            return bool(self._waiting) or not self._stopping

    def run_once(self) -> None:
        """Store what waits. Raises BrokerUnavailable, BrokerFull: what is not stored waits on."""
        with self._wake:
            taken = gathered(self._waiting)
            self._waiting.clear()
        try:
            while taken:
                self._trail.add(taken[0])
                taken.pop(0)
                self._stored += 1
        finally:
            with self._wake:
                self._waiting.extendleft(reversed(taken))
        if self._stored >= TRIM_EVERY:
            self._stored = 0
            self._trail.trim()
