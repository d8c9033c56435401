"""What a soak came to: every accepted job judged, every run beyond the first explained or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from taskrunner.states import State
from tests.soak.app import CHILD
from tests.soak.journal import FOREVER, Fault, Journal, Run

LAG_S = 1.5
"""How long after its end a run may still be unsettled while nothing is wrong, on a busy machine."""
DYING_S = 1.0
"""How long what is below a killed process may go on until it has noticed."""
FINAL = {State.SUCCEEDED, State.FAILED, State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Sent:
    """A job that was accepted, and what must become of it."""

    id: str
    queue: str
    kind: str
    expected: State | None
    """None: it may be cancelled or succeed, since nobody knows whether the cancel arrived"""
    result: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What the store says of a job."""

    state: State
    result: Any = field(default=None, repr=False)
    reason: str | None = None


@dataclass
class Verdict:
    """The table's numbers, and a line for each thing that is not as it must be."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """how often which was made"""

    def find(self, what: str, line: str) -> None:
        self.counts[what] += 1
        self.findings.append(f"{what}: {line}")


def judge(
    sent: Sequence[Sent],
    found: Mapping[str, Found | None],
    journal: Journal,
    faults: Sequence[Fault],
) -> Verdict:
    """Every job by its own; nothing is forgiven but what a fault explains."""
    verdict = Verdict()
    verdict.counts.update({"accepted": len(sent), "lost": 0, "stranded": 0, "wrong": 0})
    verdict.counts.update({"unexplained repeats": 0, "explained repeats": 0})
    for job in sent:
        _judge_end(verdict, job, found.get(job.id))
        _judge_runs(verdict, job, journal, faults)
    return verdict


def _judge_end(verdict: Verdict, job: Sent, found: Found | None) -> None:
    if found is None:
        verdict.find("lost", f"{job}")
    elif found.state not in FINAL:
        verdict.find("stranded", f"{job}: {found}")
    else:
        verdict.counts[str(found.state)] += 1
        allowed = {job.expected} if job.expected else {State.SUCCEEDED, State.CANCELLED}
        if found.state not in allowed:
            verdict.find("wrong", f"{job}: {found}")
        elif found.state is State.SUCCEEDED and found.result != job.result:
            verdict.find(
                "wrong", f"{job}: its result is {found.result!r:.200}, not {job.result!r:.200}"
            )


def _judge_runs(verdict: Verdict, job: Sent, journal: Journal, faults: Sequence[Fault]) -> None:
    runs = journal.runs.get(job.id, [])
    if job.expected is State.SUCCEEDED and not any(r.ended and not r.raised for r in runs):
        verdict.find("wrong", f"{job}: no run of it came to its end: {runs}")
    parents = journal.runs.get(job.id.removesuffix(CHILD), []) if job.id.endswith(CHILD) else []
    for run, following in pairwise(runs):
        if run.raised and (run.ended or FOREVER) <= following.began:
            continue  # to be retried
        if any(_was_under_way(parent, run, following) for parent in parents):
            continue  # which may have submitted it anew
        fault = explanation(run, following, faults)
        if fault is None:
            verdict.find("unexplained repeats", f"{job}: {run}, and then {following}")
        else:
            verdict.counts["explained repeats"] += 1


def _was_under_way(parent: Run, run: Run, following: Run) -> bool:
    return parent.began <= following.began and (parent.ended or FOREVER) >= run.began


def explanation(run: Run, following: Run, faults: Sequence[Fault]) -> Fault | None:
    """The fault for which a run was followed by another."""
    is_over = run.ended is None or run.ended <= following.began
    for fault in faults:
        if not fault.repeats or fault.began > following.began or not _met(fault, run):
            continue
        if not (is_over or fault.overlaps):
            continue
        if run.began <= fault.ended + DYING_S and (run.ended or FOREVER) >= _unsettled_since(
            fault, faults
        ):
            return fault
    return None


def _met(fault: Fault, run: Run) -> bool:
    if fault.slot is not None and fault.slot != run.slot:
        return False
    return not fault.pids or run.pid in fault.pids


def _unsettled_since(fault: Fault, faults: Sequence[Fault]) -> float:
    """From when on outcomes may have been waiting to be settled when the fault came: other faults
    may have kept them waiting, one after the other."""
    since = fault.began - LAG_S
    for other in sorted(faults, key=lambda f: f.began, reverse=True):
        concerns = fault.slot is None or other.slot in (None, fault.slot)
        if other is not fault and concerns and other.began < since <= other.ended + LAG_S:
            since = other.began - LAG_S
    return since
