from __future__ import annotations

import json
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from taskrunner.access import audit
from taskrunner.access.audit import IDS_KEPT, SUBMIT, Auditor, Entry, Lines, Trail, gathered
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import BrokerUnavailable, ConfigError
from taskrunner.testing.clock import FakeClock
from taskrunner.testing.waiting import eventually

ENTRY = Entry(
    at=1_700_000_000.5,
    who="key:abc",
    name="billing",
    address="10.0.0.1",
    action="jobs.cancel",
    status=200,
    queue="mail",
    jobs=("one",),
    request="r1",
)


class Shaky(MemoryBroker):
    """Is away for as many calls as told."""

    away = 0

    def put_record(self, *args: object, **kwargs: object) -> bool:
        if self.away:
            self.away -= 1
            raise BrokerUnavailable
        return super().put_record(*args, **kwargs)  # type: ignore[arg-type]


class Book:
    def __init__(self, folder: Path, *, most: int = 1000) -> None:
        self.clock = FakeClock()
        self.broker = Shaky(clock=self.clock)
        self.trail = Trail(self.broker, retention=100, most=most)
        self.path = folder / "audit.jsonl"
        self.auditor = Auditor(Lines(self.path), self.trail)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.setattr(audit, "GATHER_S", 0.0)
    monkeypatch.setattr(audit, "_FIRST_PAUSE_S", 0.001)
    return Book(tmp_path)


def test_an_entry_is_a_line_at_once_and_in_the_store_a_moment_later(book: Book) -> None:
    book.auditor.record(ENTRY)
    (line,) = book.lines()
    assert line == {
        "at": "2023-11-14T22:13:20.500+00:00",
        "who": "key:abc",
        "name": "billing",
        "address": "10.0.0.1",
        "action": "jobs.cancel",
        "status": 200,
        "outcome": "done",
        "queue": "mail",
        "jobs": ["one"],
        "request": "r1",
        "count": 1,
    }
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600
    eventually(lambda: book.trail.page().entries == [ENTRY], timeout=10)
    book.auditor.stop()


def test_stopping_stores_what_waits(book: Book) -> None:
    for number in range(5):
        book.auditor.record(replace(ENTRY, target=str(number)))
    book.auditor.stop()
    book.auditor.stop()
    assert len(book.trail.page().entries) == 5
    assert not any(thread.name == "taskrunner audit" for thread in threading.enumerate())


def test_a_store_that_is_away_delays_entries(book: Book) -> None:
    book.broker.away = 3
    for number in range(5):
        book.auditor.record(replace(ENTRY, target=str(number)))
    eventually(lambda: len(book.trail.page().entries) == 5, timeout=30)
    assert len(book.lines()) == 5
    book.auditor.stop()


def test_a_store_that_stays_away_costs_entries_of_the_store_alone(
    book: Book, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "WAITING_AT_MOST", 3)
    book.broker.away = 10**9
    for number in range(9):
        book.auditor.record(replace(ENTRY, target=str(number)))
    book.auditor.stop()
    assert len(book.lines()) == 9
    assert book.auditor.dropped >= 1
    assert "were not stored" in caplog.text


def test_the_newest_come_first_page_by_page(book: Book) -> None:
    for number in range(7):
        book.trail.add(replace(ENTRY, at=ENTRY.at + number, target=str(number)))
    first = book.trail.page(limit=5)
    second = book.trail.page(first.cursor, limit=5)
    found = [entry.target for entry in first.entries + second.entries]
    assert found == ["6", "5", "4", "3", "2", "1", "0"]
    assert second.cursor == ""


def test_entries_end(tmp_path: Path) -> None:
    book = Book(tmp_path, most=4)
    for number in range(6):
        book.trail.add(replace(ENTRY, at=ENTRY.at + number, target=str(number)))
    assert book.trail.trim() == 2
    assert [entry.target for entry in book.trail.page().entries] == ["5", "4", "3", "2"]
    book.clock.advance(100)
    assert book.trail.page().entries == []


def test_the_bound_is_kept_while_entries_come(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "TRIM_EVERY", 2)
    book.trail._most = 4
    for number in range(20):
        book.auditor.record(replace(ENTRY, at=ENTRY.at + number, target=str(number)))
    book.auditor.stop()
    assert len(book.trail.page().entries) <= 4 + audit.TRIM_EVERY  # since the last look


def test_alike_ones_are_told_together() -> None:
    submit = replace(ENTRY, action=SUBMIT)
    many = [replace(submit, jobs=(str(n),), request=str(n)) for n in range(3 * IDS_KEPT)]
    (one,) = gathered(many)
    assert (one.count, len(one.jobs), one.request) == (3 * IDS_KEPT, IDS_KEPT, "")
    cancelled = [replace(ENTRY, jobs=(str(n),)) for n in range(2 * IDS_KEPT + 1)]
    assert [entry.count for entry in gathered(cancelled)] == [IDS_KEPT, IDS_KEPT, 1]
    for other in ({"who": "key:x"}, {"status": 403}, {"queue": "x"}, {"detail": {"a": 1}}):
        assert len(gathered([ENTRY, replace(ENTRY, **other)])) == 2


def test_a_file_that_was_moved_away_is_begun_anew(book: Book, tmp_path: Path) -> None:
    book.auditor.record(ENTRY)
    book.path.rename(tmp_path / "old")
    book.auditor.record(ENTRY)
    assert len(book.lines()) == 1
    book.auditor.stop()


def test_without_a_file_lines_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="taskrunner.audit"):
        Lines().write(replace(ENTRY, name='"\nx'))
    (record,) = [one for one in caplog.records if one.name == "taskrunner.audit"]
    assert json.loads(record.getMessage())["name"] == '"\nx'
    assert "\n" not in record.getMessage()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="audit file"):
        Lines(tmp_path / "nothing" / "x")


@pytest.mark.parametrize("packed", [b"", b"5", b"[]", b"{}", b'{"at": 5}', b"\xff"])
def test_what_is_no_entry_hides_no_other(book: Book, packed: bytes) -> None:
    book.trail.add(ENTRY)
    book.broker.put_record(audit.KIND, "0", packed)
    assert book.trail.page().entries == [ENTRY]
