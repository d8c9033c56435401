"""`app.schedules`: changing, pausing, moving and removing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from taskrunner import (
    App,
)
from taskrunner.brokers.base import BellKind, Tick, TickKind
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.schedulestore import KIND, ScheduleStore, Stored
from tests.unit.some_schedules import fire, make_app, stored


@pytest.fixture
def app() -> Iterator[App]:
    app = make_app()
    yield app
    app.close()


@pytest.fixture
def broker(app: App) -> MemoryBroker:
    assert isinstance(app.broker, MemoryBroker)
    return app.broker


# -- changing


def test_a_change_of_the_job_forgets_no_slot(app: App, broker: MemoryBroker) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    before = stored(app)
    broker.set_skew(1000.0)
    app.schedules.add("s", "add", (2,), every=60, replace=True)
    after = stored(app)
    assert (after.after, after.created_at) == (before.after, before.created_at)
    assert after.revision > before.revision


def test_other_times_count_from_now(app: App, broker: MemoryBroker) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    broker.set_skew(1000.0)
    app.schedules.add("s", "add", (1,), every=70, replace=True)
    assert stored(app).after == pytest.approx(app.broker.now(), abs=5)


def test_what_is_paused_is_not_missed(app: App, broker: MemoryBroker) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    app.schedules.pause("s")
    app.schedules.pause("s")
    paused = app.schedules.get("s")
    assert paused is not None
    assert paused.paused
    assert paused.next is None
    broker.set_skew(1000.0)
    app.schedules.resume("s")
    once = stored(app)
    assert once.after == pytest.approx(app.broker.now(), abs=5)
    app.schedules.resume("s")
    assert stored(app) == once


def test_a_pause_outlives_a_change(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    app.schedules.pause("s")
    app.schedules.add("s", "add", (2,), every=61, replace=True)
    assert stored(app).paused


def test_whoever_knows_less_submits_nothing_after_a_change(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    before, now = stored(app), app.broker.now()
    ticks = [Tick("s", before.job(None), float(n), 0.0, before.revision, now) for n in range(1, 4)]
    assert app.broker.tick(ticks[:1])[0].kind is TickKind.SUBMITTED
    app.schedules.pause("s")
    assert app.broker.tick(ticks[1:2])[0].kind is TickKind.STALE
    assert app.schedules.remove("s")
    assert app.broker.tick(ticks[2:])[0].kind is TickKind.STALE


def test_a_change_rings(app: App) -> None:
    mailbox = app.broker.open_mailbox("me")
    app.schedules.add("s", "add", (1,), every=60)
    assert [bell.kind for bell in mailbox.wait(5)] == [BellKind.SCHEDULE]
    mark = ScheduleStore(app.broker).mark()
    app.schedules.remove("s")
    assert [bell.id for bell in mailbox.wait(5)] == ["s"]
    assert ScheduleStore(app.broker).mark() != mark
    mailbox.close()


def test_removed_is_removed(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    assert app.schedules.remove("s") is True
    assert app.schedules.remove("s") is False
    assert app.schedules.get("s") is None


def test_one_that_comes_back_fires_although_the_clock_went_back(
    app: App, broker: MemoryBroker
) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    app.schedules.remove("s")
    broker.set_skew(-5000.0)
    app.schedules.add("s", "add", (1,), every=60)
    assert fire(app, 1.0) is TickKind.SUBMITTED


def test_others_who_are_quicker_are_respected(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60)
    store, seen = ScheduleStore(app.broker), list[bool]()

    def slow(found: Any) -> Any:
        seen.append(found.paused)
        if len(seen) == 1:
            app.schedules.pause("s")
        return replace(found, owner="me")

    store.edit("s", slow)
    assert seen == [False, True]
    assert (stored(app).paused, stored(app).owner) == (True, "me")


# -- another queue


def test_what_moves_to_another_queue_takes_its_last_slot_along(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60, queue="old")
    slot = float(int(app.broker.now())) + 10
    old = stored(app)
    assert fire(app, slot) is TickKind.SUBMITTED
    app.schedules.add("s", "add", (1,), every=60, queue="new", replace=True)
    moved = stored(app)
    assert (moved.queue, moved.moved_from, moved.after) == ("new", "", slot)
    late = Tick("s", old.job(None), slot + 60, 0.0, old.revision, app.broker.now())
    assert app.broker.tick([late])[0].kind is TickKind.STALE


def test_a_move_that_was_left_undone_is_done_by_whoever_comes_next(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60, queue="old")
    slot = float(int(app.broker.now())) + 10
    fire(app, slot)
    store = ScheduleStore(app.broker)
    half = stored(app)
    half = replace(
        half,
        template=replace(half.template, queue="new"),
        revision=half.revision + 1,
        moved_from="old",
    )
    app.broker.put_record(KIND, "s", half.pack())
    done = store.settled(store.find("s"))
    assert done == Stored("s", stored(app).pack(), stored(app))
    assert (stored(app).after, stored(app).moved_from) == (slot, "")


def test_there_and_back_again(app: App) -> None:
    app.schedules.add("s", "add", (1,), every=60, queue="old")
    for n, queue in enumerate(["new", "old", "new", "old"], 1):
        slot = 1000.0 * n
        assert fire(app, slot) is TickKind.SUBMITTED
        app.schedules.add("s", "add", (1,), every=60, queue=queue, replace=True)
        assert stored(app).after >= slot
    assert fire(app, 9000.0) is TickKind.SUBMITTED
