"""What the trials say: which setting to take, and a picture of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskrunner.bench.chart import Bar, Line, bars, lines
from taskrunner.bench.grid import AUTO, Setting
from taskrunner.bench.trial import Measured

GOOD_ENOUGH: Final = 0.95
"""Of the fastest: what is within this is as fast, for all that can be measured."""
MOST_LINES: Final = 6

Trials = Mapping[Setting, Measured]


def best(trials: Trials) -> Setting:
    """The cheapest of those that are as fast as the fastest: few processes, for each takes memory,
    then few jobs at once, then the prefetch that adapts itself."""
    most = max(measured.rate for measured in trials.values())
    fast = [one for one, measured in trials.items() if measured.rate >= GOOD_ENOUGH * most]
    return min(fast, key=lambda one: (one.processes, one.concurrency, one.prefetch != AUTO))


def in_words(trials: Trials) -> str:
    """The recommendation, as a sentence."""
    chosen = best(trials)
    fastest = max(trials, key=lambda one: trials[one].rate)
    text = f"recommended: {' '.join(chosen.options)}: {shown(trials[chosen].rate)} jobs a second"
    if fastest == chosen:
        return f"{text}, the fastest of {len(trials)} tried"
    part = trials[chosen].rate / trials[fastest].rate
    return f"{text}, {100 * part:.0f} % of the fastest ({fastest}) with less"


def shown(rate: float) -> str:
    """Jobs a second for people."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def picture(trials: Trials, task: str) -> str:
    """An SVG: a line for each concurrency and prefetch over the processes, or bars."""
    title = f"{task}: jobs a second"
    processes = sorted({one.processes for one in trials})
    rest = list(dict.fromkeys((one.concurrency, one.prefetch) for one in trials))
    if len(processes) < 2 or len(rest) > MOST_LINES:
        found = [Bar(str(one), m.rate, m.low, m.high) for one, m in trials.items()]
        return bars(title, "processes x concurrency", found)
    drawn = [
        Line(f"concurrency {concurrency}, prefetch {prefetch}", [
            trials[setting].rate if setting in trials else None
            for number in processes
            for setting in (Setting(number, concurrency, prefetch),)
        ])
        for concurrency, prefetch in rest
    ]  # fmt: skip
    return lines(title, "jobs/s, by processes", [str(number) for number in processes], drawn)
