from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.survey import Foreign, Place, pattern, place


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("{shop:q}:job:a", Place("q", "job:", "a", "hash")),
        ("{shop:q}:job:a}:b:c", Place("q", "job:", "a}:b:c", "hash")),
        ("{shop:a/b:c@d}:ready:5", Place("a/b:c@d", "ready:", "5", "list")),
        ("{shop:q}:parked", Place("q", "parked", "", "hash")),
        ("{shop:q}:parked:task:x", Place("q", "parked:", "task:x", "zset")),
        ("{shop:q}:parked:", Place("q", "", "parked:", "")),
        ("{shop:q}:meta", Place("q", "meta", "", "hash")),
        ("{shop}:queues", Place("", "queues", "", "set")),
        ("{shop}:commands:n1", Place("", "commands:", "n1", "hash")),
        ("{shop:q}:locks", Place("q", "locks", "", "hash")),
        ("{shop:q}:stats:20300131", Place("q", "stats:20300131", "", "")),
        ("{shop:q}:else", Place("q", "", "else", "")),
        ("{shop}:done", Place("", "", "done", "")),
        ("{shop2:q}:job:a", None),
        ("{shopping}:queues", None),
        ("{other:q}:job:a", None),
        ("shop:q:job:a", None),
        ("{shop", None),
    ],
)
def test_what_a_key_is(key: str, expected: Place | None) -> None:
    assert place("shop", key.encode()) == expected


def test_a_key_that_is_no_text_is_not_ours() -> None:
    found = place("shop", b"{shop:q}:job:\xff")
    assert found is not None
    assert (found.queue, found.kind) == ("q", "")


def test_the_pattern_meets_the_keys_of_the_namespace_and_of_no_other() -> None:
    keys = Keys("sh*p")
    assert fnmatchcase(keys.meta("q"), pattern("sh*p").replace("\\*", "[*]"))
    assert pattern("sh*p") == "{sh\\*p[:}]*"
    assert pattern("shop", "a[b") == "{shop:a\\[b}:*"


def test_foreign_keys_are_summed_up_by_owner() -> None:
    foreign = Foreign()
    foreign.add([("q", "b"), ("q", "a"), ("", "c")], [5, 7, None])
    assert list(foreign.by_owner()) == [
        ("", "c", "1 key that is not ours: c"),
        ("q", "a", "2 keys that are not ours, 12 bytes: a, b"),
    ]


def test_of_very_many_foreign_keys_some_are_named_and_all_are_counted() -> None:
    foreign = Foreign()
    foreign.add([("q", f"{n:05}") for n in range(1500)], [1] * 1500)
    ((owner, first, words),) = foreign.by_owner()
    assert (owner, first) == ("q", "00000")
    assert words == "1500 keys that are not ours: 00000, 00001, 00002, 00003, 00004, …"
