"""What a benchmark answers: tables of measured values, and targets with what was reached.

Answer ─▶ show.py (a terminal), `as_map` (JSON), report.py (the page and its charts)
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Spread:
    """The same thing measured several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))

    def as_map(self) -> dict[str, float]:
        return {"median": self.median, "min": self.low, "max": self.high}


Cell: TypeAlias = str | int | float | Spread | None
"""None: there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Which columns of a table a picture shows: a bar or a point for each row."""

    label: str
    value: str
    kind: str = "bars"
    """`bars`, or `line` where the labels are numbers"""


@dataclass(slots=True)
class Table:
    """One table; the first column says what a row is about."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)
    note: str = ""
    chart: Chart | None = None

    def add(self, *cells: Cell) -> None:
        self.rows.append(cells)

    def as_map(self) -> dict[str, Any]:
        chart = self.chart and {
            "label": self.chart.label, "value": self.chart.value, "kind": self.chart.kind,
        }  # fmt: skip
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [[plain(cell) for cell in row] for row in self.rows],
            "note": self.note,
            "chart": chart,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """Something that was promised. `wanted` is in words; `measured` in the same unit."""

    what: str
    wanted: str
    measured: str
    met: bool

    @classmethod
    def at_least(cls, what: str, bound: float, measured: float, unit: str = "") -> Target:
        return cls(what, f"at least {bound:g}{unit}", f"{measured:.3g}{unit}", measured >= bound)

    @classmethod
    def at_most(cls, what: str, bound: float, measured: float, unit: str = "") -> Target:
        return cls(what, f"at most {bound:g}{unit}", f"{measured:.3g}{unit}", measured <= bound)

    def as_map(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "wanted": self.wanted,
            "measured": self.measured,
            "met": self.met,
        }


@dataclass(slots=True)
class Answer:
    """What came of a question."""

    tables: list[Table]
    targets: list[Target] = field(default_factory=list)

    def as_map(self) -> dict[str, Any]:
        return {
            "tables": [table.as_map() for table in self.tables],
            "targets": [target.as_map() for target in self.targets],
        }

    @classmethod
    def of_map(cls, found: Mapping[str, Any]) -> Answer:
        """What `as_map` made, as it was."""
        tables = [
            Table(
                title=one["title"],
                columns=one["columns"],
                rows=[[_cell(cell) for cell in row] for row in one["rows"]],
                note=one["note"],
                chart=Chart(**one["chart"]) if one["chart"] else None,
            )
            for one in found["tables"]
        ]
        return cls(tables, [Target(**one) for one in found["targets"]])


def plain(cell: Cell) -> Any:
    """A cell as JSON has it."""
    return cell.as_map() if isinstance(cell, Spread) else cell


def _cell(found: Any) -> Cell:
    if isinstance(found, dict):
        return Spread(found["median"], found["min"], found["max"])
    assert found is None or isinstance(found, str | int | float)
    return found


def in_words(cell: Cell) -> str:
    """A cell for people: three digits that count, or whole thousands."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case Spread(median, low, high) if low == high:
            return number(median)
        case Spread(median, low, high):
            return f"{number(median)} ({number(low)} to {number(high)})"
        case _:
            return number(cell)


def number(value: float) -> str:
    """A number for people."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"


def share(values: Sequence[float], part: float) -> float:
    """The value below which so large a part of sorted values lies: 0.99 for the 99th percentile."""
    return values[min(len(values) - 1, int(part * len(values)))]
