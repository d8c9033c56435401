"""One child, driven over its pipe: what it runs, gives back, and how it lives and dies."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import App
from taskrunner.brokers.base import Broker, OutcomeKind
from taskrunner.clock import monotonic
from taskrunner.frames import Kind
from taskrunner.testing.waiting import eventually
from taskrunner.worker.main import EXIT_CHILD_START
from taskrunner.worker.upcall import FINISHED, answer
from tests.process.apps import child as tasks
from tests.process.one_child import OneChild, ready_child, value_of
from tests.unit.one_node import OneNode


@pytest.fixture(params=[1, 3], ids=["serial", "concurrent"])
def child(request: pytest.FixtureRequest) -> Iterator[OneChild]:
    with ready_child(request.param) as found:
        yield found


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that the task `gate` waits for."""
    path = tmp_path / "gate"
    path.touch()
    return path


def test_it_runs_what_it_is_given_def_and_async(child: OneChild) -> None:
    given = [(tasks.echo if n % 2 else tasks.aecho).message(n) for n in range(50)]
    numbers = child.give(*given)
    outcomes = sorted(child.outcomes(50), key=lambda outcome: outcome.number)
    assert [outcome.number for outcome in outcomes] == numbers
    assert [value_of(outcome) for outcome in outcomes] == list(range(50))


def test_one_at_a_time_means_in_order() -> None:
    with ready_child() as child:
        numbers = child.give(*[tasks.echo.message(n) for n in range(1000)])
        assert [outcome.number for outcome in child.outcomes(1000)] == numbers


def test_what_has_not_started_is_given_back_and_never_runs(child: OneChild, gate: Path) -> None:
    slots = len(child.page.slots())
    running = child.give(*[tasks.gate.message(str(gate)) for _ in range(slots)])
    waiting = child.give(*[tasks.echo.message(n) for n in range(10)])
    for number in running:
        child.started(number)
    child.send(Kind.TAKE, 7, 4)
    assert child.hear(Kind.TAKEN) == [Kind.TAKEN, 7, waiting[-4:]]
    child.send(Kind.TAKE, 8, 0)
    assert child.hear(Kind.TAKEN) == [Kind.TAKEN, 8, []]
    gate.unlink()
    done = {outcome.number for outcome in child.outcomes(slots + 6)}
    assert done == {*running, *waiting[:6]}
    child.send(Kind.TAKE, 9, 100)
    assert child.hear(Kind.TAKEN, Kind.DONE) == [Kind.TAKEN, 9, []]


def test_at_most_as_many_run_at_once_as_it_was_told(gate: Path) -> None:
    with ready_child(3) as child:
        numbers = child.give(*[tasks.gate.message(str(gate)) for _ in range(5)])
        child.started(numbers[2])
        assert {slot.number for slot in child.page.slots()} == set(numbers[:3])
        gate.unlink()
        assert len(child.outcomes(5)) == 5


def test_an_outcome_is_not_kept_waiting_by_a_slow_successor(gate: Path) -> None:
    """`gate` has been quick so far, so the outcome before it is held back for a batch."""
    with ready_child() as child:
        child.give(*[tasks.gate.message("/nonexistent") for _ in range(20)])
        child.outcomes(20)
        child.give(tasks.echo.message(1), tasks.gate.message(str(gate)))
        begin = monotonic()
        assert value_of(child.outcome()) == 1
        assert monotonic() - begin < 0.7, "it came with the next beat, not by itself"


def test_exit_called_by_a_task_is_its_own_failure(child: OneChild) -> None:
    pid = child.process.pid
    left, after = child.give(tasks.leave.message(), tasks.about.message())
    outcomes = {outcome.number: outcome for outcome in child.outcomes(2)}
    assert outcomes[left].kind is OutcomeKind.FAILED
    assert value_of(outcomes[after]) == ["", pid]


def test_a_killed_child_leaves_word_of_what_ran(child: OneChild, gate: Path) -> None:
    slots = len(child.page.slots())
    done, *running = child.give(
        tasks.echo.message(), *[tasks.gate.message(str(gate)) for _ in range(slots)]
    )
    child.give(tasks.echo.message())
    child.started(running[-1])
    child.process.kill()
    assert child.ended()[0] == -signal.SIGKILL
    seen = child.page.slots()
    assert {slot.number for slot in seen if slot.running} == set(running)
    assert max(slot.number for slot in seen) == running[-1] > done
    assert all(0 < slot.started_ns <= monotonic() * 1e9 for slot in seen)


@pytest.mark.parametrize("what", ["nap", "spin"])
def test_it_does_not_outlive_its_supervisor(child: OneChild, what: str) -> None:
    (number,) = child.give(tasks.app.tasks[what].message(60))
    child.started(number)
    begin = monotonic()
    child.line.close()
    assert child.ended()[0] == 0
    assert monotonic() - begin < 5


def test_stopped_it_finishes_what_runs_and_says_goodbye(child: OneChild, gate: Path) -> None:
    (number,) = child.give(tasks.gate.message(str(gate)))
    child.started(number)
    child.send(Kind.STOP)
    gate.unlink()
    assert value_of(child.outcome()) == str(gate)
    status, error = child.ended()
    assert (status, error.strip()) == (0, "child_stop")


def test_nonsense_on_the_pipe_ends_it(child: OneChild) -> None:
    child.send(Kind.READY, "wrong way")
    _, error = child.ended()
    assert "the supervisor sent" in error


def test_a_hook_that_cannot_start_ends_the_child_with_its_traceback() -> None:
    with OneChild(CHILD_START="raise") as child:
        status, error = child.ended()
        assert status == EXIT_CHILD_START
        assert "RuntimeError: no pool today" in error
        with pytest.raises(EOFError):
            child.hear(Kind.READY)


def test_its_title_says_what_it_runs(child: OneChild, gate: Path) -> None:
    (number,) = child.give(tasks.gate.message(str(gate)))
    busy = f"taskrunner: worker 3 [gate job-{number}]"
    eventually(lambda: child.title() == busy, message=busy)
    gate.unlink()
    eventually(lambda: child.title() == "taskrunner: worker 3 [idle]", message="idle")


def test_it_beats_while_a_task_computes(child: OneChild) -> None:
    child.give(tasks.spin.message(2.5))
    assert [child.hear(Kind.BEAT, Kind.DONE)[0] for _ in range(3)] == [
        *(Kind.BEAT, Kind.BEAT),
        Kind.DONE,
    ]


def test_it_starts_nothing_without_a_lease(child: OneChild) -> None:
    child.page.lease_until(0.0)
    child.give(tasks.echo.message("later"))
    assert child.hear(Kind.BEAT, Kind.DONE)[0] is not Kind.DONE
    child.page.lease_until(1e9)
    assert value_of(child.outcome()) == "later"


def test_progress_is_thinned_out_and_its_last_word_precedes_the_outcome(child: OneChild) -> None:
    child.give(tasks.steps.message(2000))
    told = []
    while (frame := child.hear(Kind.PROGRESS, Kind.DONE))[0] == Kind.PROGRESS:
        told.append(tasks.app.codec.unpack(frame[2]))
    assert told[-1][:2] == [2000, 2000]
    assert len(told) < 10


# -- jobs that ask the supervisor


class Upcalls:
    """Answers what jobs ask, as a supervisor does."""

    def __init__(self, child: OneChild, broker: Broker) -> None:
        self._child = child
        self._broker = broker
        self._waits: list[int] = []

    def serve(self, until: Kind) -> list[Any]:
        """Answer calls until a frame of this kind comes."""
        child = self._child
        while (frame := child.hear(Kind.CALL, until))[0] == Kind.CALL:
            _, call, number, method, value = frame
            assert child.runs(number) or number == 0
            if method == FINISHED:
                self._waits.append(call)
            else:
                child.send(Kind.ANSWER, call, True, answer(self._broker, method, value))
        return frame

    def finish(self) -> None:
        """What is waited for is finished."""
        (call,) = self._waits
        self._child.send(Kind.ANSWER, call, True, None)


@pytest.fixture
def node() -> OneNode:
    return OneNode(App("memory://", namespace=uuid.uuid4().hex), "subs")


def test_a_job_waits_for_another_through_the_pipe(child: OneChild, node: OneNode) -> None:
    (number,) = child.give(tasks.parent.message("subs"))
    upcalls = Upcalls(child, node.broker)
    assert upcalls.serve(until=Kind.BLOCKED) == [Kind.BLOCKED, number, True]
    node.succeed("from the sub-job")
    upcalls.finish()
    assert upcalls.serve(until=Kind.BLOCKED) == [Kind.BLOCKED, number, False]
    done = upcalls.serve(until=Kind.DONE)
    assert tasks.app.codec.unpack(done[1][0][6]) == "from the sub-job"


def test_a_wait_that_nobody_can_end_is_a_deadlock(child: OneChild, node: OneNode) -> None:
    (number,) = child.give(tasks.parent.message("subs"))
    upcalls = Upcalls(child, node.broker)
    upcalls.serve(until=Kind.BLOCKED)
    child.send(Kind.DEADLOCK, number)
    done = upcalls.serve(until=Kind.DONE)
    assert b"WouldDeadlock" in done[1][0][8]
    child.give(tasks.echo.message("alive"))
    assert value_of(child.outcome()) == "alive"
