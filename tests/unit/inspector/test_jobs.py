"""What operators mean by a filter, and slices of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner import App
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import OptionError
from taskrunner.inspector import Inspector, JobAction, JobFilter, jobs
from taskrunner.states import State


@pytest.fixture
def app() -> App:
    return App(MemoryBroker())


def submit(app: App, count: int, task: str = "t", **options: Any) -> list[str]:
    return [app.enqueue(task, (n,), **options).id for n in range(count)]


def ids(app: App, **said: Any) -> list[str]:
    """Of all pages, one by one."""
    inspector, found, cursor = Inspector(app), [], ""
    while True:
        page = inspector.jobs(JobFilter.of(**said), cursor=cursor, limit=3)
        assert len(page.jobs) <= 3
        found += [info.id for info in page.jobs]
        cursor = page.cursor
        if not cursor:
            return found


def test_pages_go_through_queues_and_states(app: App) -> None:
    a, b = submit(app, 4, queue="a"), submit(app, 4, queue="b")
    late = submit(app, 2, queue="a", delay=60)
    for job_id in a[:2]:
        app.job(job_id).cancel()
    assert ids(app) == [*late, *a[2:], a[1], a[0], *b]
    assert ids(app, queue="b") == b
    assert ids(app, queue=["a"], state=["pending", "scheduled"]) == [*late, *a[2:]]
    assert ids(app, queue="nowhere") == []


def test_a_filter_that_fits_few_makes_short_pages_and_ends(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_LOOKED_AT", 5)
    submit(app, 12)
    (needle,) = submit(app, 1, task="needle")
    submit(app, 3)
    first = Inspector(app).jobs(JobFilter.of(task="need*"), limit=3)
    assert (first.jobs, first.cursor != "") == ((), True)
    assert ids(app, task="need*") == [needle]


def test_times_are_those_that_matter_in_a_state(app: App) -> None:
    now = datetime.now(UTC)
    (late,) = submit(app, 1, delay=3600)
    (here,) = submit(app, 1)
    in_a_while = now + timedelta(seconds=1800)
    assert ids(app, since=in_a_while) == [late]
    assert ids(app, until=in_a_while) == [here]
    app.job(late).cancel()
    assert ids(app, since=in_a_while) == []


def test_arguments_are_searched_only_where_that_is_allowed(app: App) -> None:
    job = app.enqueue("t", ("secret",), headers={"h": "secret"})
    assert ids(app, text="secret") == [job.id]
    assert ids(app, text="secret", in_data=False) == []
    assert ids(app, text=job.id[:8].lower(), in_data=False) == [job.id]


def test_what_is_not_allowed_is_not_there(app: App) -> None:
    submit(app, 2, task="a")
    b = submit(app, 2, task="b")
    allowed = JobFilter.of(allowed=lambda info: info.task == "b")
    assert [info.id for info in Inspector(app).jobs(allowed).jobs] == b
    assert Inspector(app).bulk("delete", allowed).done == 2
    assert len(ids(app)) == 2


def test_a_bulk_goes_slice_by_slice(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_IN_A_SLICE", 4)
    submit(app, 10)
    inspector, wanted = Inspector(app), JobFilter.of(state="pending")
    assert [s.matched for s in slices(inspector, "cancel", wanted, dry_run=True)] == [4, 4, 2]
    assert len(ids(app, state="pending")) == 10
    found = slices(inspector, JobAction.CANCEL, wanted)
    assert sum(part.done for part in found) == 10
    assert len(ids(app, state="cancelled")) == 10


def slices(inspector: Inspector, action: Any, wanted: JobFilter, **said: Any) -> list[Any]:
    found, cursor = [], ""
    while True:
        found.append(inspector.bulk(action, wanted, cursor=cursor, **said))
        cursor = found[-1].cursor
        if not cursor:
            return found


def test_a_bulk_touches_only_states_from_which_it_is_possible(app: App) -> None:
    submit(app, 2)
    submit(app, 2, delay=60)
    found = Inspector(app).bulk("reschedule", JobFilter.of(), delay=5)
    assert (found.matched, found.done) == (2, 2)
    with pytest.raises(OptionError, match="state=succeeded: retry is possible for jobs that are"):
        Inspector(app).bulk("retry", JobFilter.of(state="succeeded"))


@pytest.mark.parametrize(
    ("action", "said", "text"),
    [
        ("destroy", {}, "action='destroy': expected one of cancel, retry, delete, reschedule"),
        ("reschedule", {}, "delay, eta: expected one of them"),
        ("reschedule", {"delay": 1, "eta": datetime.now(UTC)}, "expected one of them"),
        ("cancel", {"delay": 1}, "cancel takes neither"),
        ("cancel", {"cursor": "!"}, "cursor='!'"),
        ("cancel", {"cursor": "WzEsMiwzXQ"}, "cursor='WzEsMiwzXQ'"),
    ],
)
def test_a_bulk_that_cannot_be(app: App, action: str, said: dict[str, Any], text: str) -> None:
    submit(app, 1)
    with pytest.raises(OptionError, match=text):
        Inspector(app).bulk(action, JobFilter.of(), **said)
    assert len(ids(app, state=State.PENDING)) == 1


def test_one_job(app: App) -> None:
    (job_id,) = submit(app, 1, delay=60)
    inspector = Inspector(app)
    assert inspector.reschedule(job_id, eta=datetime(2090, 1, 1, tzinfo=UTC))
    assert app.job(job_id).info().eta == datetime(2090, 1, 1, tzinfo=UTC)
    assert inspector.retry(job_id)
    assert inspector.cancel(job_id)
    assert not inspector.reschedule(job_id, delay=1)
    assert inspector.delete(job_id)
    assert inspector.stats().counts == dict.fromkeys(State, 0)


@pytest.mark.parametrize("said", [{"state": "no"}, {"queue": "a b"}, {"text": ""}, {"task": 5}])
def test_filters_that_cannot_be(said: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(said))}="):
        JobFilter.of(**said)
