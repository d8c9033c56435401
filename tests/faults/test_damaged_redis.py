"""A store that was damaged: fields that hold garbage, keys that were evicted. What is damaged harms
its own job; the others go on, no call fails, nobody spins, and what an index has lost is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskrunner import App
from taskrunner.brokers.base import JobKey, OutcomeKind, Take
from taskrunner.errors import JobFailed, ResultExpired
from taskrunner.states import FINISHED, State
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from tests.faults.estate import DIRECTORY, JOBS, Estate, estate

FIELDS = "scpw12ktedngfxluyqobzirmvaA"
"""Of a record; see `keys`."""
GARBAGE = [
    "",
    "0",
    "5",
    "-1",
    "abc",
    "1e400",
    "nan",
    "9" * 30,
    b"\xff\xfe",
    "+1:n1",
    "@9:x",
    "@1:2x",
    "+" + "9" * 5000 + ":n1",
]
SETTINGS = settings(max_examples=60, deadline=None)
LISTED = [
    "active:n1",
    "active:n2",
    "cancel:n1",
    "done",
    "expiring",
    "failed",
    "holders",
    "leases",
    "meta",
    "parked",
    "parked:" + "k" * 100,
    "parking",
    "ready:5",
    "ready:8",
    "retrying",
    "scheduled",
    "stats",
    *(f"body:{name}" for name in ("cancelling", "running", "unstarted", "urgent")),
    *(f"errors:{name}" for name in ("again", "failed")),
    *(f"more:{name}" for name in ("retrying", "waiting")),
    "result:long",
]
"""Every key of the estate but the records."""
HASHES = {
    "stats": ["p5", "p8", "p9", *(state.value for state in State), "processed", "failures"],
    "meta": ["last", "since", "order", "at:5", "scan", "gone", "off:done"],
    "leases": ["n1", "n2"],
    "parked": ["k" * 100, "other"],
    "active:n1": ["last", "8", "9", "10", "abc"],
    "cancel:n1": ["10", "abc"],
}


@pytest.fixture
def place(redis_server: RedisServer) -> Iterator[Estate]:
    with estate(redis_server.unix_url) as made:
        yield made


def test_a_day_in_an_estate_that_nobody_damaged(place: Estate) -> None:
    assert place.names() == sorted([*LISTED, *(f"job:{name}" for name in JOBS)])
    place.live()
    assert place.unfinished() == {}
    place.store.check_counts()


def test_classic_21_of_jobs_that_are_over_nothing_is_left(place: Estate) -> None:
    """Whatever they were, and however they ended; what repeats of calls may need goes by itself."""
    place.live()
    place.store.later(40 * 86_400.0)
    place.store.join("n1")
    place.store.sweep()
    assert sum(place.store.stats().counts.values()) == 0
    lasting = [key for key in place.names() if place.ask("TTL", place.key(key)) == -1]
    assert set(lasting) == {"active:n1", "holders", "idle", "leases", "meta", "stats"}


# -- garbage


@SETTINGS
@given(st.sampled_from(list(JOBS)), st.sampled_from(FIELDS), st.sampled_from(GARBAGE))
@example("pending", "n", "")
@example("pending", "d", "abc")
@example("pending", "p", "-1")
@example("pending", "q", "abc")
@example("urgent", "e", "")
@example("again", "s", "abc")
@example("lost", "l", "abc")
@example("lost", "e", "nan")
@example("running", "o", "")
@example("running", "o", "abc")
@example("cancelling", "o", "-1")
@example("waiting", "y", "abc")
@example("scheduled", "p", "abc")
@example("pending", "1", "abc")
@example("urgent", "1", "")
@example("urgent", "w", "abc")
def test_a_damaged_field_harms_its_own_job_alone(
    redis_server: RedisServer, job: str, field: str, garbage: Any
) -> None:
    with estate(redis_server.unix_url) as place:
        place.ask("HSET", place.key(f"job:{job}"), field, garbage)
        place.live()
        assert place.unfinished() == {}
        for name, record in place.records().items():
            if name != job and record is not None:
                assert record.state is State.SUCCEEDED or JOBS[name] in FINISHED
        assert place.broker.fetch("n1", [Take("q", 1)], 10**6).left == {"q": 0}


@SETTINGS
@given(
    st.sampled_from([(key, field) for key, fields in HASHES.items() for field in fields]),
    st.sampled_from([None, *GARBAGE]),
)
@example(("stats", "p5"), None)
@example(("stats", "p5"), "0")
@example(("stats", "p8"), "abc")
@example(("stats", "active"), "nan")
@example(("meta", "order"), "abc")
@example(("meta", "last"), "")
@example(("leases", "n1"), "abc")
@example(("active:n1", "last"), "abc")
def test_a_damaged_book_stops_nobody(
    redis_server: RedisServer, where: tuple[str, str], garbage: Any
) -> None:
    key, field = where
    with estate(redis_server.unix_url) as place:
        if garbage is None:
            place.ask("HDEL", place.key(key), field)
        else:
            place.ask("HSET", place.key(key), field, garbage)
        place.live()
        assert place.unfinished() == {}
        assert None not in [place.records()[n] for n, state in JOBS.items() if state in FINISHED]


@pytest.mark.parametrize(("field", "garbage"), [("n", "many"), ("e", "soon"), ("p", "first")])
def test_a_job_whose_record_makes_no_sense_fails_as_unreadable(
    place: Estate, field: str, garbage: str
) -> None:
    place.ask("HSET", place.key("job:urgent"), field, garbage)
    place.live()
    record = place.store.record("urgent")
    assert (record.state, record.reason) == (State.FAILED, "unreadable")
    place.store.check_counts()


def test_a_state_that_nobody_knows_is_shown_as_a_failure(
    place: Estate, redis_server: RedisServer
) -> None:
    place.ask("HSET", place.key("job:pending"), "s", "of a later version")
    record = place.store.record("pending")
    assert (record.state, record.reason) == (
        State.FAILED,
        "unreadable: its state is 'of a later version'",
    )
    app = App(redis_server.unix_url, namespace=place.broker._keys.namespace)
    with pytest.raises(JobFailed, match="later version"):
        app.job("pending", queue="q").result(timeout=10)
    app.close()


# -- lost keys


@pytest.mark.parametrize("key", LISTED, ids=lambda key: key[:12])
def test_losing_a_key_loses_no_job(place: Estate, key: str) -> None:
    place.ask("DEL", place.key(key))
    place.live()
    assert place.unfinished() == {}
    finished = {name: record for name, record in place.records().items() if record is not None}
    # What was done at once is kept by nobody but its taker: `settle` gave it no retention.
    assert {name for name, state in JOBS.items() if state is not State.ACTIVE} <= set(finished)
    if key not in ("stats", "done"):  # an audit counts anew
        place.store.check_counts()
    assert bool(place.audit()) == (key in ("stats", "holders", "result:long"))
    eventually(lambda: not place.audit(repair=True))


@pytest.mark.parametrize(
    "key",
    [
        *("active:n1", "body:urgent", "cancel:n1", "done", "expiring", "failed", "holders"),
        *(
            "leases",
            "parked",
            "parking",
            "ready:5",
            "result:long",
            "retrying",
            "scheduled",
            "stats",
        ),
    ],
)
def test_losing_a_key_is_reported(place: Estate, key: str) -> None:
    assert place.audit() == []
    place.ask("DEL", place.key(key))
    assert place.audit() != []


@pytest.mark.parametrize("job", JOBS)
def test_losing_a_record_harms_no_other(place: Estate, job: str) -> None:
    place.ask("DEL", place.key(f"job:{job}"))
    place.live()
    assert place.unfinished() == {}
    assert [name for name, state in JOBS.items() if state in FINISHED and name != job] == [
        name
        for name, record in place.records().items()
        if JOBS[name] in FINISHED and record is not None
    ]
    assert place.broker.fetch("n1", [Take("q", 1)], 10**6).left == {"q": 0}


def test_losing_the_directory_hides_nothing_for_long(place: Estate) -> None:
    for name in DIRECTORY:
        place.ask("DEL", getattr(place.broker._keys, name))
    place.live()
    place.store.beat("n1")
    assert place.unfinished() == {}
    assert place.broker.queues() == ["q"]
    assert [node.id for node in place.broker.nodes()] == ["n1"]


def test_a_message_that_was_lost_fails_its_job(place: Estate) -> None:
    place.ask("DEL", place.key("body:urgent"))
    place.live()
    record = place.store.record("urgent")
    assert (record.state, record.reason) == (State.FAILED, "unreadable")


def test_a_result_that_was_lost_is_said_to_have_expired(
    place: Estate, redis_server: RedisServer
) -> None:
    place.ask("DEL", place.key("result:long"))
    app = App(redis_server.unix_url, namespace=place.broker._keys.namespace)
    with pytest.raises(ResultExpired):
        app.job("long", queue="q").result(timeout=10)
    app.close()


def test_a_long_ready_list_that_was_lost_is_made_again(place: Estate) -> None:
    sent = [f"job-{n}" for n in range(3000)]
    place.store.enqueue(*sent, priority=3)
    place.ask("DEL", place.key("ready:3"))
    fetched = place.broker.fetch("n1", [Take("q", 4000)], 1000)
    assert not {delivery.id for delivery in fetched.deliveries} & set(sent)
    assert fetched.left == {"q": 0}  # else every idle node would ask again at once, for ever
    place.store.enqueue("a new one", priority=3)
    place.store.sweep()
    found = [d.id for d in place.broker.fetch("n1", [Take("q", 4000)], 5000).deliveries]
    assert sorted(found) == sorted([*sent, "a new one"])


def test_a_lost_entry_is_found_and_the_others_keep_their_order(place: Estate) -> None:
    sent = [f"job-{n:02}" for n in range(20)]
    place.store.enqueue(*sent, priority=3)
    place.ask("LREM", place.key("ready:3"), 1, "job-07")
    place.store.sweep()
    found = [d.id for d in place.broker.fetch("n1", [Take("q", 30)], 5000).deliveries]
    assert [job for job in found if job in sent] == [
        *(job for job in sent if job != "job-07"),
        "job-07",
    ]


def test_counters_that_were_lost_cost_no_ready_job(place: Estate) -> None:
    place.ask("DEL", place.key("stats"))
    place.store.sweep()
    found = {d.id for d in place.broker.fetch("n1", [Take("q", 100)], 5000).deliveries}
    assert found >= {"pending", "urgent", "again", "expiring"}


def test_a_lease_that_has_lost_its_length_is_no_shorter_for_it(place: Estate) -> None:
    place.ask("DEL", place.key("leases"))
    place.store.later(1000.0)  # silence: every lease is renewed first
    place.store.join("n3")
    place.store.reap()
    assert place.store.held("n1").keys() == {"running", "unstarted", "cancelling"}


def test_a_held_job_whose_token_was_lost_is_run_by_somebody(place: Estate) -> None:
    """Its node is told that it is fenced, and holds it no longer; the others find it."""
    place.ask("HSET", place.key("job:running"), "o", "+abc")
    running = next(d for d in place.held if d.id == "running")
    assert place.store.settle(running, OutcomeKind.SUCCEEDED) is None
    assert "running" not in place.store.held("n1")
    place.store.sweep()
    assert place.store.state("running") is State.PENDING


def test_what_is_due_and_has_no_record_makes_no_job(place: Estate) -> None:
    place.ask("ZADD", place.key("scheduled"), 1, "nobody")
    place.ask("ZADD", place.key("retrying"), 1, "succeeded")
    place.store.promote()
    assert place.store.find("nobody") is None
    assert place.store.state("succeeded") is State.SUCCEEDED
    assert place.broker.get([JobKey("q", "nobody")]) == [None]
