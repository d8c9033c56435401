from __future__ import annotations

from typing import Any

import msgpack
import pytest

from taskrunner import current_job
from taskrunner.context import CURRENT, JobContext, Progress
from taskrunner.errors import ArgumentError, TaskrunnerError


def context(**fields: Any) -> JobContext:
    return JobContext(id="me", task="t", queue="q", attempt=2, **fields)


def test_outside_of_a_task_there_is_no_current_job() -> None:
    with pytest.raises(TaskrunnerError, match="outside of a running task"):
        current_job()


def test_inside_a_task_it_is_the_one_that_runs() -> None:
    me = context(token="node:3")
    token = CURRENT.set(me)
    try:
        assert current_job() is me
    finally:
        CURRENT.reset(token)
    assert (me.id, me.attempt, me.token, me.cancelled, me.deadline) == (
        "me",
        2,
        "node:3",
        False,
        None,
    )


def test_progress_is_reported_packed() -> None:
    sent: list[bytes] = []
    me = context(report_progress=sent.append)
    me.progress(3, 10, "resizing")
    me.progress(0.5)
    assert [Progress.unpack(packed) for packed in sent] == [(3, 10, "resizing"), (0.5, None, None)]


def test_a_long_or_odd_progress_text_is_made_to_fit() -> None:
    sent: list[bytes] = []
    context(report_progress=sent.append).progress(1, 2, "\ud800" + "x" * 5000)
    done, total, text = msgpack.unpackb(sent[0])
    assert (done, total, len(text)) == (1, 2, 1000)


@pytest.mark.parametrize(
    "arguments", [("3",), (True,), (float("nan"),), (1, "10"), (1, 2, 3), (None,), (2**70,)]
)
def test_progress_that_is_none_is_refused(arguments: Any) -> None:
    with pytest.raises(ArgumentError, match="progress"):
        context().progress(*arguments)


@pytest.mark.parametrize("packed", [b"", b"\xc1", msgpack.packb(5), msgpack.packb([1, 2, 3, 4])])
def test_progress_that_cannot_be_read_is_none(packed: bytes) -> None:
    assert Progress.unpack(packed) is None


def test_a_wait_that_ends_with_an_error_is_told_too() -> None:
    told: list[bool] = []
    me = context(blocked=told.append)
    with pytest.raises(KeyError), me.blocking(lambda: None):
        raise KeyError
    assert told == [True, False]


def test_a_deadlock_without_a_wait_does_nothing() -> None:
    context().deadlock()
