"""A store that is sealed anew, in slices."""

from __future__ import annotations

import os
from typing import Any

import pytest

from taskrunner import App, JobFailed, OptionError, State, current_job
from taskrunner.brokers.base import Contents, JobKey, Rewrite
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.crypto import Key
from taskrunner.inspector import Inspector, Rekeyed
from taskrunner.seals import ENCRYPTED

OLD, NEW, LOST = (Key(name, os.urandom(32)).text for name in ("old", "new", "lost"))


def greet(name: str) -> str:
    current_job().progress(1, 2, name)
    if name == "nobody":
        raise ValueError(name)
    return f"hello {name}"


def make(broker: Any = "memory://", **settings: Any) -> App:
    app = App(broker, **settings)
    app.task(name="greet", retries=0)(greet)
    return app


def used(**settings: Any) -> App:
    """An App with something of everything in its store."""
    app = make(**settings)
    task = app.tasks["greet"]
    app.schedules.add("s", task, args=("Ada",), every=3600)
    with app.running(threads=1):
        task.options(job_id="done", headers={"tenant": "7"}).enqueue("Ada").result(timeout=10)
        with pytest.raises(JobFailed):
            task.options(job_id="failed").enqueue("nobody").result(timeout=10)
    task.options(job_id="waits").enqueue("Bea")
    task.options(job_id="later", delay=3600).enqueue("Cy")
    return app


def rekey(app: App, *, dry_run: bool = False) -> Rekeyed:
    return list(Inspector(app).rekey(dry_run=dry_run))[-1]


def records_of(app: App) -> list[Contents]:
    keys = [JobKey("default", name) for name in ("done", "failed", "waits", "later")]
    return [Contents.of(record) for record in app.broker.get(keys) if record is not None]


@pytest.mark.parametrize("before", [{"encryption_keys": [OLD]}, {"signing_keys": [OLD]}, {}])
def test_everything_is_under_the_first_key(before: dict[str, Any]) -> None:
    app = used(**before)
    rotated = make(app.broker, encryption_keys=[NEW, OLD], signing_keys=[OLD])
    held = records_of(app)
    counted = rekey(rotated, dry_run=True)
    assert (counted.changed, records_of(app)) == (5, held)
    assert rekey(rotated).changed == 5
    assert rekey(rotated).changed == 0
    for contents in records_of(app):
        for value in filter(None, (contents.progress, contents.result, *contents.errors)):
            assert value.startswith(ENCRYPTED + b"\x03new")
    only = make(app.broker, encryption_keys=[NEW], require_encryption=True)
    done = only.job("done")
    assert (done.result(timeout=1), done.info().args) == ("hello Ada", ("Ada",))
    assert (dict(done.info().headers), done.state()) == ({"tenant": "7"}, State.SUCCEEDED)
    error = only.job("failed").info().error
    assert error is not None
    assert error.message == "nobody"
    schedule = only.schedules.get("s")
    assert schedule is not None
    assert schedule.args == ("Ada",)
    with only.running(threads=1):
        assert only.job("waits").result(timeout=10) == "hello Bea"
        assert only.schedules.trigger("s").result(timeout=10) == "hello Ada"
    # The same said again is still the same.
    assert only.schedules.add("s", only.tasks["greet"], args=("Ada",), every=3600).name == "s"


def test_what_no_key_opens_is_left_and_named() -> None:
    app = used(encryption_keys=[LOST])
    held = records_of(app)
    done = rekey(make(app.broker, encryption_keys=[NEW, OLD]))
    assert (done.changed, records_of(app)) == (0, held)
    assert all("key 'lost' is not known here" in why for why in done.left)
    assert done.left.total() >= 5


def test_what_must_be_encrypted_and_is_not_is_not_made_trustworthy() -> None:
    app = used()
    held = records_of(app)
    done = rekey(make(app.broker, encryption_keys=[NEW], require_encryption=True))
    assert (done.changed, records_of(app)) == (0, held)
    assert all("require_encryption" in why for why in done.left)


def test_what_changes_meanwhile_is_found_by_the_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    app = used(encryption_keys=[OLD])
    rotated = make(app.broker, encryption_keys=[NEW, OLD])
    broker: MemoryBroker = app.broker  # type: ignore[assignment]
    rewrite = broker.rewrite
    refused: list[Rewrite] = []

    def first_too_late(changes: list[Rewrite]) -> list[bool | None]:
        if not refused:
            refused.extend(changes)
            return [False] * len(changes)
        return rewrite(changes)

    monkeypatch.setattr(broker, "rewrite", first_too_late)
    done = rekey(rotated)
    assert len(refused) >= 1
    assert (done.changed, done.left.total()) == (5, 0)


def test_results_in_a_backend_are_sealed_anew_too() -> None:
    app = used(backend="memory://", encryption_keys=[OLD])
    rotated = make(app.broker, backend=app.backend, encryption_keys=[NEW, OLD])
    assert rekey(rotated).left.total() == 0
    only = make(app.broker, backend=app.backend, encryption_keys=[NEW])
    assert only.job("done").result(timeout=1) == "hello Ada"


def test_without_keys_there_is_nothing_to_do_it_with() -> None:
    with pytest.raises(OptionError, match="there are no encryption_keys or signing_keys"):
        Inspector(make()).rekey()
