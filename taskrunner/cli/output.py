"""How results are shown: tables in a terminal, aligned columns elsewhere, JSON where asked.

Whatever comes from a job or a broker is printed with control characters escaped and passwords
hidden.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import click

from taskrunner.jsonable import plain
from taskrunner.log import printable


def say(text: str) -> None:
    """A line of the answer, on standard output."""
    click.echo(printable(text))


def complain(text: str) -> None:
    """A line about the answer, on standard error."""
    click.echo(printable(text), err=True)


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=not _speaks_unicode()))


def as_json(value: Any) -> str:
    """A value as JSON on one line, for people."""
    return json.dumps(plain(value), ensure_ascii=False)


def _speaks_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")


def local(moment: datetime | None) -> str:
    """A moment by the clock on the wall here; empty for None."""
    return "" if moment is None else moment.astimezone().isoformat(timespec="milliseconds")


def ago(moment: datetime, now: datetime) -> str:
    """How far a moment is from another, in words: `in 3 h 12 min`, `5 s ago`."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 0.5:
        return "now"
    words = in_words(abs(seconds))
    return f"in {words}" if seconds > 0 else f"{words} ago"


def in_words(seconds: float) -> str:
    """A duration in its two largest units."""
    left, parts = max(1, round(seconds)), []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def confirmed(question: str, yes: bool) -> bool:
    """Whether to do what cannot be undone: asks, unless it was said before. Raises UsageError where
    nobody can be asked."""
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes")
    return click.confirm(question)


def show_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output. Numbers stand to the right."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    right = [
        bool(rows) and all(isinstance(row[i], int) for row in rows) for i in range(len(headings))
    ]
    if _is_fancy():
        _show_rich(headings, cells, right)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in [list(headings), *cells]:
        parts = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(parts).rstrip())


def _show_rich(
    headings: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]
) -> None:
    # Rich takes a tenth of a second to import, and only a terminal has a use for it.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading, is_right in zip(headings, right, strict=True):
        justify: Literal["right", "left"] = "right" if is_right else "left"
        table.add_column(heading, justify=justify, no_wrap=is_right, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def show_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Names and values, one pair a line, without those that are None or empty."""
    known = [(name, str(value)) for name, value in facts if value not in (None, "")]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        label = click.style(name.ljust(width), bold=True) if _is_fancy() else name.ljust(width)
        click.echo(f"{label}  {printable(value)}")


def _is_fancy() -> bool:
    """Whether to draw and style: in a terminal, unless NO_COLOR asks for plain text."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
