"""The conformance suite itself: nothing of it is hidden, and it finds what it should find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from taskrunner.brokers import _memory_job, _memory_queue
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.states import State
from taskrunner.testing.conformance import BackendConformance, BrokerConformance
from taskrunner.testing.machine import compare_with_model

Job = _memory_job.Job
Queue = _memory_queue.Queue


def test_no_test_hides_another_of_the_same_name() -> None:
    bases = [base for base in BrokerConformance.__mro__ if base.__name__.endswith("Tests")]
    names = Counter(name for base in bases for name in vars(base) if name.startswith("test_"))
    assert [name for name, times in names.items() if times > 1] == []
    assert len(names) > 150


def test_the_suites_wait_to_be_inherited() -> None:
    """pytest collects what is called Test*: importing a suite must not run it."""
    assert not BrokerConformance.__name__.startswith("Test")
    assert not BackendConformance.__name__.startswith("Test")


def refuse_late_settles(job: Any) -> bool:
    return job.settled_as is None and job.state is State.ACTIVE


def ignore_the_node(job: Any, node: str, number: int) -> bool:
    return bool(job.number == number)


def forget_tombstones(queue: Any, job_id: str, now: float) -> None:
    return None


def answer_repeats_with_nothing(queue: Any, node: str, numbers: range) -> Any:
    return iter(())


def expire_nothing(queue: Any, now: float, limit: int) -> int:
    return 0


@pytest.mark.parametrize(
    ("part", "method", "flawed"),
    [
        (Job, "accepts_settle", refuse_late_settles),
        (Job, "holds", ignore_the_node),
        (Queue, "tombstone", forget_tombstones),
        (Queue, "_again", answer_repeats_with_nothing),
        (Queue, "_expire", expire_nothing),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_machine_finds_a_flaw(
    monkeypatch: pytest.MonkeyPatch, part: type, method: str, flawed: Callable[..., Any]
) -> None:
    monkeypatch.setattr(part, method, flawed)
    with pytest.raises(BaseException) as caught:  # noqa: PT011  a group, if there are several ways
        compare_with_model(MemoryBroker, examples=500, shorten=False)
    assert _is_assertion(caught.value)


def _is_assertion(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_assertion(inner) for inner in error.exceptions)
    return isinstance(error, AssertionError)
