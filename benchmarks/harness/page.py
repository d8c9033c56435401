"""The page with the measured tables: what stands between its markers is made, the rest is written.

    docs/charts/NAME.json ─▶ docs/charts/NAME-N.svg and, in docs/performance.md,
                             <!-- measured: NAME --> … <!-- end: NAME -->

Two markers more hold what is put together from all answers: `targets` and `machine`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.answer import Answer, Cell, Spread, Table, Target, in_words
from benchmarks.harness.stage import ROOT
from taskrunner.bench.chart import Bar, Line, bars, lines

PAGE: Final = ROOT / "docs" / "performance.md"
CHARTS: Final = ROOT / "docs" / "charts"


def keep(name: str, found: Mapping[str, Any], folder: Path = CHARTS) -> None:
    """Put an answer, as JSON, where `write` finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def write(names: Iterable[str], page: Path = PAGE, folder: Path = CHARTS) -> None:
    """Put every answer that is kept onto the page, and its pictures beside it. Raises ValueError
    where the page lacks a marker."""
    text = page.read_text("utf-8")
    answers = {name: _kept(folder / f"{name}.json") for name in names}
    known = {name: found for name, found in answers.items() if found is not None}
    for name, found in known.items():
        answer = Answer.of_map(found)
        shown = _pictures(name, answer.tables, folder)
        text = _between(text, name, "\n\n".join(map(_markdown, answer.tables, shown)))
    targets = [target for found in known.values() for target in Answer.of_map(found).targets]
    if known:
        text = _between(text, "targets", _targets(targets))
        text = _between(text, "machine", _machine(next(iter(known.values()))["machine"]))
    page.write_text(text, "utf-8")


def _kept(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _between(text: str, name: str, made: str) -> str:
    start, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page has no place for {name!r}: expected {start} … {end}")
    return pattern.sub(lambda _: f"{start}\n\n{made}\n\n{end}", text)


def _markdown(table: Table, picture: str) -> str:
    lines_ = [f"**{table.title}**", "", _row(table.columns)]
    lines_.append(_row(["---", *["---:"] * (len(table.columns) - 1)]))
    lines_ += [_row([in_words(cell) for cell in row]) for row in table.rows]
    if table.note:
        lines_ += ["", table.note]
    if picture:
        lines_ += ["", f"![{table.title}](charts/{picture})"]
    return "\n".join(lines_)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _targets(targets: Sequence[Target]) -> str:
    rows = [(t.what, t.wanted, t.measured, "yes" if t.met else "no") for t in targets]
    head = [_row(["target", "wanted", "measured", "met"]), _row(["---"] * 4)]
    return "\n".join([*head, *map(_row, rows)])


def _machine(found: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return (
        f"{found['cpu']}, {found['cores']} cores; {found['system']}; {found['python']}; "
        f"{found['redis']}; {packages}."
    )


# -- pictures


def _pictures(name: str, tables: Sequence[Table], folder: Path) -> list[str]:
    """Draw those tables that are to be drawn; the files' names, empty for the others."""
    found = []
    for at, table in enumerate(tables):
        file = f"{name}-{at}.svg" if table.chart and table.rows else ""
        if file:
            (folder / file).write_text(drawn(table), "utf-8")
        found.append(file)
    return found


def drawn(table: Table) -> str:
    """A table as its picture."""
    chart = table.chart
    assert chart is not None
    columns = list(table.columns)
    label, value = columns.index(chart.label), columns.index(chart.value)
    rows = [row for row in table.rows if not isinstance(row[value], str | None)]
    labels = [in_words(row[label]) for row in rows]
    if chart.kind == "line":
        values = [_middle(row[value]) for row in rows]
        return lines(f"{table.title}, by {chart.label}", chart.value, labels, [Line("", values)])
    made = [_bar(name, row[value]) for name, row in zip(labels, rows, strict=True)]
    return bars(table.title, chart.value, made)


def _bar(label: str, cell: Cell) -> Bar:
    if isinstance(cell, Spread):
        return Bar(label, cell.median, cell.low, cell.high)
    return Bar(label, _middle(cell))


def _middle(cell: Cell) -> float:
    if isinstance(cell, Spread):
        return cell.median
    assert isinstance(cell, int | float)
    return float(cell)
