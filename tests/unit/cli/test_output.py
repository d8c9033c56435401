from __future__ import annotations

import sys
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from taskrunner import State
from taskrunner.cli import output
from taskrunner.jsonable import plain


@dataclass
class Point:
    x: int


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (State.PENDING, "pending"),
        (datetime(2030, 1, 2, tzinfo=UTC), "2030-01-02T00:00:00+00:00"),
        (date(2030, 1, 2), "2030-01-02"),
        (timedelta(minutes=1), 60.0),
        (b"\xff", "/w=="),
        ((1, [2]), [1, [2]]),
        ({1: {2, 3}}, {"1": [2, 3]}),
        (Point(1), {"x": 1}),
        (Pair(1, b"a"), {"a": 1, "b": "YQ=="}),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_any_value_as_json(value: Any, shown: Any) -> None:
    found = plain(value)
    assert found == shown
    assert type(found) is type(shown)


def test_what_is_printed_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("a\x1b[31m redis://:secret@h")
    output.show_facts([("name", "b\x07"), ("none", None), ("empty", "")])
    output.show_table(("x",), [("c\x9b",)])
    out = capsys.readouterr().out
    assert out == "a\\x1b[31m redis://:***@h\nname  b\\x07\nx\nc\\x9b\n"


class Terminal:
    """Standard output that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def in_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From here on standard output is a terminal. No fixture: pytest changes it back before the
    test."""
    found = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", found)
    return found


def test_a_terminal_gets_a_drawn_table_that_escapes_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    output.show_table(("name", "n"), [("[bold]x[/bold]", 5)])
    assert "─" in terminal.text
    assert "[bold]x[/bold]" in terminal.text


def test_no_color_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    output.show_table(("name", "n"), [("x", 5)])
    output.show_facts([("name", "x")])
    assert terminal.text == "name  n\nx     5\nname  x\n"


def test_a_terminal_gets_names_in_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    output.show_facts([("name", "x")])
    assert terminal.text == "\x1b[1mname\x1b[0m  x\n"
