"""`bench`: how many processes, how many jobs at once, how many ahead: tried with a task of one's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from taskrunner.bench import advice
from taskrunner.bench.grid import (
    MOST_PROCESSES,
    Setting,
    grid,
    numbers,
    prefetches,
    usual_processes,
)
from taskrunner.bench.nodeprocess import running
from taskrunner.bench.trial import WARM_S, Measured, measure
from taskrunner.bench.workplace import Workplace, chosen_task, new_namespace
from taskrunner.cli.connect import broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import complain, in_words, say, show_json, show_table
from taskrunner.cli.submitting import listed, named
from taskrunner.errors import OptionError

FIRST_TRIAL_S: Final = 1.0
START_S: Final = 2.0
"""What starting and stopping a node takes, about: for saying how long it will be."""


@click.command()
@click.argument("app", metavar="APP")
@click.option("--task", metavar="NAME", help="The task to run. [default: the only one of APP]")
@click.option("--args", metavar="JSON", help="Its arguments, one JSON array: '[42, \"text\"]'.")
@click.option("--kwargs", metavar="JSON", help="Its arguments by name, one JSON object.")
@click.option(
    "--processes", metavar="LIST", help="To try. [default: 1, one for each CPU, twice as many]"
)
@click.option("--concurrency", metavar="LIST", default="1,10", help="To try. [default: 1,10]")
@click.option("--prefetch", metavar="LIST", default="auto,1", help="To try. [default: auto,1]")
@click.option(
    "--seconds",
    metavar="SECONDS",
    default=3.0,
    type=click.FloatRange(min=0.1, max=3600),
    help="How long each setting is measured. [default: 3]",
)
@click.option(
    "--chart",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the picture, an SVG. [default: bench.svg]",
    default=Path("bench.svg"),
)
@broker_options
@json_option
def bench(
    app: str,
    task: str | None,
    args: str | None,
    kwargs: str | None,
    **options: Any,
) -> int:
    """Run a task of APP for real, again and again, with each number of processes, each concurrency and
    each prefetch; say which setting was the fastest and needs the least, and draw all of them.

    The jobs are in a namespace of their own on your broker, which no other node serves and which is
    removed at the end, also after Ctrl-C. What the task does to the rest of the world it does.
    """
    settings, chart = _settings(options), options["chart"]
    arguments = listed(args, "--args"), named(kwargs)
    _check_writable(chart)
    where = ["--namespace", new_namespace()]
    broker = options["broker"]
    if broker:
        where += ["--broker", broker]
    with connected(app, broker=broker, namespace=where[1]) as found:
        chosen = chosen_task(found, task)
        workplace = Workplace(found, chosen, *arguments)
        complain(_announced(chosen.name, settings, options["seconds"]))
        with _erased(workplace):
            trials = _try_all(app, workplace, settings, where, options["seconds"])
            failure = workplace.a_failure() if any(m.failed for m in trials.values()) else None
    _show(trials, wants_json=options["wants_json"], task=chosen.name, chart=chart)
    chart.write_text(advice.picture(trials, chosen.name), "utf-8")
    if failure is not None:
        complain(f"some jobs failed, and count as done: {failure}")
    return Exit.OK


def _settings(options: dict[str, Any]) -> list[Setting]:
    """Raises OptionError."""
    text = options["processes"]
    processes = (
        usual_processes() if text is None else numbers(text, "--processes", most=MOST_PROCESSES)
    )
    concurrency = numbers(options["concurrency"], "--concurrency")
    return grid(processes, concurrency, prefetches(options["prefetch"]))


def _check_writable(path: Path) -> None:
    """Before minutes are spent. Raises OptionError."""
    if not path.parent.is_dir():
        raise OptionError(f"--chart {str(path)!r}: there is no folder {str(path.parent)!r}")


def _announced(task: str, settings: Sequence[Setting], seconds: float) -> str:
    count = len(settings)
    length = in_words((count + 1) * (WARM_S + START_S) + count * seconds)
    settings_ = "1 setting" if count == 1 else f"{count} settings"
    return f"runs {task} for real, with {settings_}, for about {length}; Ctrl-C stops and cleans up"


def _try_all(
    app: str,
    workplace: Workplace,
    settings: Sequence[Setting],
    where: Sequence[str],
    seconds: float,
) -> dict[Setting, Measured]:
    def tried(setting: Setting, seconds: float, expected: float) -> Measured:
        start = partial(running, app, [*setting.options, *where])
        return measure(workplace, setting, seconds, start=start, expected=expected)

    # Not shown: until something is known of the task, too few of its jobs may wait.
    fastest = tried(settings[0], FIRST_TRIAL_S, 0.0).rate
    trials: dict[Setting, Measured] = {}
    for at, setting in enumerate(settings, 1):
        found = trials[setting] = tried(setting, seconds, fastest)
        fastest = max(fastest, found.high)
        complain(f"{at}/{len(settings)}  {setting}: {advice.shown(found.rate)} jobs a second")
    return trials


@contextmanager
def _erased(workplace: Workplace) -> Iterator[None]:
    """Nothing is left behind, whatever ends the block: TERM too, which would else end us at once."""
    before = signal.signal(signal.SIGTERM, _interrupted)
    try:
        yield
    finally:
        workplace.erase()
        signal.signal(signal.SIGTERM, before)


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(trials: dict[Setting, Measured], *, wants_json: bool, task: str, chart: Path) -> None:
    chosen = advice.best(trials)
    if wants_json:
        rows = [{**s._asdict(), **_as_map(m)} for s, m in trials.items()]
        document = {"task": task, "trials": rows, "recommended": chosen._asdict()}
        show_json({**document, "chart": str(chart)})
        return
    most = max(measured.rate for measured in trials.values())
    has_failures = any(measured.failed for measured in trials.values())
    headings = ["processes", "concurrency", "prefetch", "jobs/s", "from", "to", "of the fastest"]
    rows_ = [
        [*setting, *map(advice.shown, (m.rate, m.low, m.high)), f"{m.rate / most:.2f}"]
        + ([m.failed] if has_failures else [])
        for setting, m in trials.items()
    ]
    show_table([*headings, *(["failed"] if has_failures else [])], rows_)
    say(f"\n{advice.in_words(trials)}\nthe picture: {chart}")


def _as_map(measured: Measured) -> dict[str, Any]:
    return {
        "jobs_per_s": measured.rate,
        "lowest": measured.low,
        "highest": measured.high,
        "failed": measured.failed,
    }
