"""Interrupts reach the job they are aimed at, in all three ways to run one, and never another."""

from __future__ import annotations

import random
import select
import threading
from typing import Any

import pytest

from taskrunner.brokers.base import Blame, Outcome, OutcomeKind
from taskrunner.clock import monotonic
from taskrunner.frames import Kind, Why
from taskrunner.message import ErrorInfo
from tests.process.apps import child as tasks
from tests.process.one_child import OneChild, ready_child, value_of

WAYS = {
    "def": (1, "nap"),
    "def-computing": (1, "spin"),
    "async": (1, "anap"),
    "def-in-thread": (3, "spin"),
    "async-on-loop": (3, "anap"),
}


def interrupted(child: OneChild, task: str, why: Why, **fields: Any) -> Outcome:
    """Run a task of a minute and interrupt it; another job runs behind it unharmed."""
    (number,) = child.give(tasks.app.tasks[task].message(60), **fields)
    child.within(number)
    begin = monotonic()
    child.send(Kind.INTERRUPT, number, why)
    outcome = child.outcome()
    assert outcome.number == number
    assert monotonic() - begin < 3
    child.give(tasks.echo.message("after"))
    assert value_of(child.outcome()) == "after"
    return outcome


@pytest.mark.parametrize("way", WAYS)
def test_each_kind_of_task_can_be_timed_out_and_cancelled(way: str) -> None:
    concurrency, task = WAYS[way]
    with ready_child(concurrency) as child:
        outcome = interrupted(child, task, Why.TIMEOUT)
        assert (outcome.kind, outcome.blame) == (OutcomeKind.RETRY, Blame.FAILURE)
        assert outcome.error is not None
        error = ErrorInfo.unpack(outcome.error)
        assert error.type == "taskrunner.errors.TaskTimeout"
        assert f"in {task}" in error.traceback
        outcome = interrupted(child, task, Why.TIMEOUT, failures=3)
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "timeout")
        outcome = interrupted(child, task, Why.DEADLINE)
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "deadline")
        outcome = interrupted(child, task, Why.CANCEL)
        assert outcome.kind is OutcomeKind.CANCELLED


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("why", list(Why))
def test_what_a_task_makes_of_its_interrupt(concurrency: int, why: Why) -> None:
    """A result counts, an error is still the interrupt's, a Reject is the task's decision; a
    cancel is a cancel."""
    expected: dict[Why, list[tuple[OutcomeKind, str | None]]] = {
        Why.TIMEOUT: [
            (OutcomeKind.SUCCEEDED, None),
            (OutcomeKind.FAILED, "timeout"),
            (OutcomeKind.FAILED, "rejected"),
        ],
        Why.DEADLINE: [
            (OutcomeKind.SUCCEEDED, None),
            (OutcomeKind.FAILED, "deadline"),
            (OutcomeKind.FAILED, "rejected"),
        ],
        Why.CANCEL: [(OutcomeKind.CANCELLED, None)] * 3,
    }
    jobs = [tasks.swallow.message(), tasks.swallow.message(True), tasks.last_words.message()]
    with ready_child(concurrency) as child:
        found = []
        for job in jobs:
            (number,) = child.give(job, failures=3)
            child.within(number)
            child.send(Kind.INTERRUPT, number, why)
            outcome = child.outcome()
            found.append((outcome.kind, outcome.reason))
    assert found == expected[why]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_cancel_that_is_repeated_does_not_hit_the_cleaning_up(concurrency: int) -> None:
    with ready_child(concurrency) as child:
        (number,) = child.give(tasks.tidy.message())
        child.within(number)
        for _ in range(3):
            child.send(Kind.INTERRUPT, number, Why.TIMEOUT)
        outcome = child.outcome()
    assert value_of(outcome) == "1 hits"


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_cancel_that_comes_before_the_start_is_remembered(concurrency: int) -> None:
    with ready_child(concurrency) as child:
        running = child.give(*[tasks.spin.message(0.3)] * concurrency)
        waiting = child.give(tasks.echo.message(1), tasks.echo.message(2))
        child.send(Kind.INTERRUPT, waiting[0], Why.CANCEL)
        child.send(Kind.INTERRUPT, waiting[1], Why.TIMEOUT)
        outcomes = {one.number: one for one in child.outcomes(len(running) + 2)}
    assert outcomes[waiting[0]].kind is OutcomeKind.CANCELLED
    assert not outcomes[waiting[0]].started
    assert outcomes[waiting[1]].kind is OutcomeKind.SUCCEEDED


def shoot(child: OneChild, targets: set[int], why: Why, chance: random.Random) -> None:
    """Interrupt each target about when it ends, six milliseconds after its start. In a thread of
    its own, while somebody else hears the outcomes."""
    done = 0
    while done < max(targets):
        for slot in child.page.slots():
            if done < slot.number and slot.number in targets:
                end = slot.started_ns / 1e9 + 0.0045 + chance.random() * 0.0025
                while monotonic() < end:
                    pass
                child.send(Kind.INTERRUPT, slot.number, why)
        done = max(done, *(slot.number for slot in child.page.slots()))


@pytest.mark.parametrize("why", [Why.TIMEOUT, Why.CANCEL])
@pytest.mark.parametrize(
    ("concurrency", "task"), [(1, "spin"), (1, "aspin"), (3, "spin"), (3, "aspin")]
)
def test_hundreds_of_interrupts_about_the_end_of_their_job_hit_no_neighbour(
    concurrency: int, task: str, why: Why
) -> None:
    with ready_child(concurrency) as child:
        given = child.give(*[tasks.app.tasks[task].message(0.006)] * 500)
        targets = set(given[::2])
        shooter = threading.Thread(target=shoot, args=(child, targets, why, random.Random(1)))
        shooter.start()
        outcomes = {one.number: one for one in child.outcomes(500)}
        shooter.join()
    assert {outcomes[number].kind for number in given[1::2]} == {OutcomeKind.SUCCEEDED}
    kinds = [outcomes[number].kind for number in targets]
    hit = OutcomeKind.CANCELLED if why is Why.CANCEL else OutcomeKind.RETRY
    assert set(kinds) <= {OutcomeKind.SUCCEEDED, hit}
    assert hit in kinds, "none came in time to show anything"


def test_an_interrupt_in_the_middle_of_a_call_leaves_the_pipe_whole() -> None:
    """What the task submits is more than the pipe holds, and is read in sips: it is interrupted
    with half a frame on its way."""
    with ready_child() as child:
        child.gulp = 1000
        for why in (Why.TIMEOUT, Why.CANCEL) * 3:
            (number,) = child.give(tasks.flood.message())
            assert select.select([child.line], [], [], 20)[0]
            child.send(Kind.INTERRUPT, number, why)
            assert child.outcome().number == number
        child.give(tasks.echo.message("whole"))
        assert value_of(child.outcome()) == "whole"
