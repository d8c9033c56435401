"""An answer in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Drawn

from benchmarks.harness.answer import Answer, Table, in_words


def show(answer: Answer) -> None:
    """Print the tables, and the targets if there are any."""
    console = Console()
    for table in answer.tables:
        console.print(_drawn(table))
        if table.note:
            console.print(table.note, style="dim", highlight=False)
    if answer.targets:
        drawn = Drawn("target", "wanted", "measured", "met", title="targets", title_justify="left")
        for target in answer.targets:
            met = "yes" if target.met else "[red]no[/red]"
            drawn.add_row(target.what, target.wanted, target.measured, met)
        console.print(drawn)


def _drawn(table: Table) -> Drawn:
    drawn = Drawn(title=table.title, title_justify="left")
    for at, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if at else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(in_words, row))
    return drawn
