"""The soak in short, and whether it would find what it is there to find.

`make soak MINUTES=10` is the long one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskrunner.states import State
from tests.soak.journal import Fault, Journal, Run
from tests.soak.soak import Plan, soak
from tests.soak.verdict import Found, Sent, Verdict, judge

SECONDS = 15.0


@pytest.mark.timeout(300)
def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(3), "big")
    verdict = soak(Plan(seconds=SECONDS, seed=seed), tmp_path)
    assert verdict.findings == [], f"seed {seed}, {verdict.counts}, {verdict.faults}"
    assert verdict.counts["accepted"] > 100
    assert verdict.faults.total() > 5


# -- the judge, and what it lets pass


def sent(expected: State | None = State.SUCCEEDED) -> Sent:
    return Sent("job", "default", "instant", expected, result=2)


def verdict_on(
    *runs: Run,
    found: Found | None = Found(State.SUCCEEDED, 2),  # noqa: B008  frozen
    job: Sent = sent(),  # noqa: B008
    faults: tuple[Fault, ...] = (),
) -> Verdict:
    journal = Journal()
    journal.runs["job"].extend(runs)
    return judge([job], {"job": found}, journal, faults)


def run(began: float, ended: float | None, *, slot: str = "0.1", raised: bool = False) -> Run:
    return Run("job", slot, 100, began, ended, raised)


def kinds(verdict: Verdict) -> list[str]:
    return [line.partition(":")[0] for line in verdict.findings]


ONCE = run(1, 2)


def test_a_job_that_ran_once_is_no_finding() -> None:
    verdict = verdict_on(ONCE)
    assert verdict.findings == []
    assert verdict.counts["succeeded"] == 1


@pytest.mark.parametrize(
    ("found", "job", "finding"),
    [
        (None, sent(), "lost"),
        (Found(State.PENDING), sent(), "stranded"),
        (Found(State.ACTIVE), sent(State.CANCELLED), "stranded"),
        (Found(State.FAILED, reason="crashed"), sent(), "wrong"),
        (Found(State.SUCCEEDED, 3), sent(), "wrong"),
        (Found(State.SUCCEEDED, 2), sent(State.CANCELLED), "wrong"),
        (Found(State.SUCCEEDED, 2), sent(State.FAILED), "wrong"),
    ],
)
def test_a_wrong_end_is_found(found: Found | None, job: Sent, finding: str) -> None:
    assert kinds(verdict_on(ONCE, found=found, job=job)) == [finding]


def test_a_success_that_nobody_ran_is_found() -> None:
    assert kinds(verdict_on()) == ["wrong"]
    assert kinds(verdict_on(run(1, None))) == ["wrong"]


def test_where_nobody_knows_whether_it_was_cancelled_either_end_will_do() -> None:
    for state in (State.CANCELLED, State.SUCCEEDED):
        assert verdict_on(ONCE, found=Found(state, 2), job=sent(None)).findings == []
    assert kinds(verdict_on(ONCE, found=Found(State.FAILED), job=sent(None))) == ["wrong"]


def test_a_run_that_raised_is_followed_by_another() -> None:
    assert verdict_on(run(1, 2, raised=True), run(3, 4)).findings == []
    # But not before it has ended.
    assert kinds(verdict_on(run(1, 5, raised=True), run(3, 4))) == ["unexplained repeats"]


@pytest.mark.parametrize(
    ("first", "fault", "is_explained"),
    [
        (run(1, None), Fault("kill", 5, 5, "0.1", repeats=True), True),
        (run(1, 4.9), Fault("kill", 5, 5, "0.1", repeats=True), True),
        (run(1, None), Fault("kill", 5, 5, "0.1", (100,), repeats=True), True),
        # To somebody else, too late, too long ago, or nothing that costs a run.
        (run(1, None), Fault("kill", 5, 5, "0.2", repeats=True), False),
        (run(1, None), Fault("kill", 5, 5, "0.1", (101,), repeats=True), False),
        (run(1, None), Fault("kill", 11, 11, "0.1", repeats=True), False),
        (run(1, 2), Fault("kill", 9, 9, "0.1", repeats=True), False),
        (run(1, None), Fault("cut", 5, 5, "0.1"), False),
        # Still running when it runs again: only where its node was cut off.
        (run(1, 12), Fault("kill", 5, 5, "0.1", repeats=True), False),
        (run(1, 12), Fault("away", 2, 9, "0.1", repeats=True, overlaps=True), True),
    ],
)
def test_a_repeat_needs_a_fault_that_explains_it(
    first: Run, fault: Fault, is_explained: bool
) -> None:
    verdict = verdict_on(first, run(10, 13, slot="1.1"), faults=(fault,))
    assert kinds(verdict) == ([] if is_explained else ["unexplained repeats"])
    assert verdict.counts["explained repeats"] == is_explained


def test_a_child_is_submitted_anew_by_a_later_run_of_its_parent() -> None:
    child = Sent("job.child", "default", "child", State.SUCCEEDED, result=2)
    journal = Journal()
    journal.runs[child.id] = [run(2, 3), run(7, 8)]
    journal.runs["job"] = [run(0, 1), run(6, 9)]
    found = {child.id: Found(State.SUCCEEDED, 2)}
    assert judge([child], found, journal, ()).findings == []
    journal.runs["job"].pop()
    assert kinds(judge([child], found, journal, ())) == ["unexplained repeats"]


def test_what_could_not_be_settled_for_long_explains_a_repeat_from_before() -> None:
    kill = Fault("kill", 9, 9, "0.1", repeats=True)
    away = (Fault("away", 5, 8, None), Fault("silent", 2, 4, "0.1"))
    assert verdict_on(run(1, 2), run(10, 11, slot="1.1"), faults=(kill, *away)).findings == []
    others = (Fault("away", 5, 8, "1.1"), Fault("silent", 2, 4, "0.1"))
    found = verdict_on(run(1, 2), run(10, 11, slot="1.1"), faults=(kill, *others))
    assert kinds(found) == ["unexplained repeats"]
