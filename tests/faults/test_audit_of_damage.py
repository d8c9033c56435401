"""Whatever is damaged: an audit says so, one repair mends it, and then nothing is left to find."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskrunner.brokers.base import Finding, FindingKind
from taskrunner.states import State
from taskrunner.testing.redis_server import RedisServer
from tests.faults.estate import JOBS, Estate, estate
from tests.faults.test_damaged_redis import FIELDS, GARBAGE, HASHES, LISTED

SETTINGS = settings(max_examples=12, deadline=None)
KEYS = [*LISTED, *(f"job:{name}" for name in JOBS)]
UNSEEN = {
    "meta",
    "more:retrying",
    *(f"errors:{name}" for name in ("again", "failed")),
    *(f"body:{name}" for name in ("cancelling", "running", "unstarted")),
}
"""Keys that may well not be there, or that nobody needs: who holds a job has its message."""


@contextmanager
def fresh_estate(server: RedisServer) -> Iterator[Estate]:
    """With nothing beside it: an audit looks at all keys there are."""
    with contextlib.closing(server.client()) as client:
        client.flushall()
    with estate(server.unix_url) as place:
        yield place


def mended(place: Estate) -> list[Finding]:
    """What a repair has mended, after which there is nothing else. One is enough, but where a job
    was taken back from its node: only then it is of interest whether its message is there."""
    found = place.store.audit()
    repaired = place.store.audit(repair=True)
    # A lease that is said to be a few ms long can have run out in between: no beat was heard so long.
    assert bool(found) == bool(repaired) or {one.kind for one in found} == {FindingKind.LEASE}
    assert all(finding.repaired for finding in repaired), repaired
    if {FindingKind.UNHELD, FindingKind.LEASE} & {finding.kind for finding in repaired}:
        left = place.store.audit(repair=True)
        assert {finding.kind for finding in left} <= {FindingKind.MESSAGE}
    assert place.store.audit() == []
    return found


def go_on(place: Estate) -> None:
    """Nobody is stuck, and the counters are right to the end."""
    place.live()
    assert place.unfinished() == {}
    assert place.store.audit() == []


def test_a_sound_estate(redis_server: RedisServer) -> None:
    with fresh_estate(redis_server) as place:
        before = place.records()
        assert mended(place) == []
        assert place.records() == before
        go_on(place)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_gone(redis_server: RedisServer, key: str) -> None:
    with fresh_estate(redis_server) as place:
        place.ask("DEL", place.key(key))
        assert bool(mended(place)) == (key not in UNSEEN)
        go_on(place)


@SETTINGS
@given(st.sets(st.sampled_from(KEYS), min_size=2, max_size=8))
def test_keys_that_are_gone(redis_server: RedisServer, keys: set[str]) -> None:
    with fresh_estate(redis_server) as place:
        place.ask("DEL", *(place.key(key) for key in keys))
        mended(place)
        go_on(place)


@SETTINGS
@given(st.sampled_from(list(JOBS)), st.sampled_from(FIELDS), st.sampled_from([None, *GARBAGE]))
@example("pending", "p", "8")
@example("urgent", "p", None)
@example("pending", "q", "5")
@example("running", "o", None)
@example("again", "s", "retrying")
@example("pending", "w", None)
@example("pending", "1", None)
@example("urgent", "1", None)
def test_a_field_that_is_gone_or_garbage(
    redis_server: RedisServer, job: str, field: str, garbage: Any
) -> None:
    with fresh_estate(redis_server) as place:
        if garbage is None:
            place.ask("HDEL", place.key(f"job:{job}"), field)
        else:
            place.ask("HSET", place.key(f"job:{job}"), field, garbage)
        mended(place)
        go_on(place)


@SETTINGS
@given(
    st.sampled_from([(key, field) for key, fields in HASHES.items() for field in fields]),
    st.sampled_from([None, *GARBAGE]),
)
@example(("leases", "n1"), "abc")
@example(("active:n1", "abc"), "running")
def test_books_that_are_garbage(
    redis_server: RedisServer, where: tuple[str, str], garbage: Any
) -> None:
    key, field = where
    with fresh_estate(redis_server) as place:
        if garbage is None:
            place.ask("HDEL", place.key(key), field)
        else:
            place.ask("HSET", place.key(key), field, garbage)
        mended(place)
        go_on(place)


@SETTINGS
@given(
    st.sampled_from(["scheduled", "retrying", "done", "failed", "expiring", "parking", "holders"]),
    st.sampled_from([*JOBS, "nobody"]),
    st.sampled_from([0, 1, 5e15, -1]),
)
def test_an_entry_too_many(redis_server: RedisServer, index: str, job: str, score: float) -> None:
    with fresh_estate(redis_server) as place:
        place.ask("ZADD", place.key(index), score, job)
        mended(place)
        go_on(place)


def test_what_was_lost_is_said_by_name(redis_server: RedisServer) -> None:
    with fresh_estate(redis_server) as place:
        place.ask("DEL", place.key("job:urgent"), place.key("job:scheduled"))
        found = {(f.kind, f.subject) for f in mended(place)}
        assert found == {
            (FindingKind.LOST, "urgent"),
            (FindingKind.LOST, "scheduled"),
            (FindingKind.COUNTER, "p8"),
            (FindingKind.COUNTER, "scheduled"),
        }
        assert place.store.state("urgent") is State.FAILED
