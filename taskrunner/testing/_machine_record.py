"""The part of `machine` that compares what a store knows of a job with what the model does."""

from __future__ import annotations

from collections.abc import Mapping

from taskrunner.brokers.base import ERRORS_KEPT, JobKey, JobRecord
from taskrunner.brokers.limits import LIMIT_PREFIX
from taskrunner.states import State
from taskrunner.testing._model_job import ModelJob


def compare_record(key: JobKey, job: ModelJob | None, record: JobRecord | None) -> None:
    """Raises AssertionError where they differ."""
    if job is None or job.gone:
        assert record is None, key
        return
    assert record is not None, key
    assert (record.state, record.priority) == (job.state, job.priority), key
    assert (record.node, record.number) == (job.node, job.number), key
    counts = (record.attempts, record.failures, record.crashes, record.losses)
    assert counts == (job.attempts, job.failures, job.crashes, job.losses), key
    assert (record.suspect, record.replaced) == (job.suspect, job.replaced), key
    assert len(record.errors) == min(job.errors, ERRORS_KEPT), key
    assert record.state is not State.ACTIVE or record.cancelling == job.cancelling, key


def states_of(
    records: Mapping[JobKey, JobRecord | None],
) -> tuple[dict[JobKey, State | None], set[JobKey]]:
    """The states of jobs, and which of them a limit holds."""
    states = {key: None if record is None else record.state for key, record in records.items()}
    there = (record for record in records.values() if record is not None)
    held = (one for one in there if (one.park_key or "").startswith(LIMIT_PREFIX))
    return states, {JobKey(one.queue, one.id) for one in held}
