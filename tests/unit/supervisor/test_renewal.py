"""What is given to children that are about to be replaced, and to those that replace them."""

from __future__ import annotations

from taskrunner.frames import Kind
from taskrunner.supervisor.child import Phase
from tests.unit.supervisor.desk import Desk, desk


def quick(it: Desk) -> None:
    """Let the task be known for a quick one, of which many are given at once."""
    it.fetched("first")
    it.done(it.children[0], "first", ran=0.0001)


def test_no_child_is_given_more_jobs_than_it_may_run() -> None:
    with desk(2, max_jobs=4) as it:
        quick(it)
        it.fetched(*map(str, range(20)))
        assert [len(held) for held in it.held] == [3, 4], "one had run the first"
        assert it.dispatcher.room("q") == 0
        assert it.used_up == 1
        it.done(it.children[1], *it.held[1])
        it.fetched("late")
        assert [len(held) for held in it.held] == [3, 0]


def test_what_was_given_back_does_not_count() -> None:
    with desk(max_jobs=3) as it:
        quick(it)
        it.fetched("a", "b", "c")
        child = it.children[0]
        assert (it.held, child.jobs_left) == ([["a", "b"]], 0)
        it.dispatcher.hold()
        it.dispatcher.taken(child, [3])
        assert (it.held, child.jobs_left) == ([["a"]], 1)
        it.dispatcher.resume()
        assert it.held == [["a", "b"]]


def test_a_successor_runs_nothing_while_the_place_is_taken() -> None:
    with desk(max_jobs=1) as it:
        it.fetched("long", "next")
        old = it.children[0]
        new = it.child(before=old)
        assert it.held == [["long"], []]
        assert it.dispatcher.room("q") == 0
        it.done(old, "long")
        assert it.held == [[], ["next"]]
        assert it.dispatcher.dismiss_idle(old, Phase.STOPPING)
        assert new.jobs_left == 0


def test_several_places_pass_one_by_one() -> None:
    with desk(concurrency=3) as it:
        it.fetched("a", "b", "c", "d", "e")
        old = it.children[0]
        it.child(before=old)
        assert it.held == [["a", "b", "c"], []]
        it.done(old, "b")
        assert it.held == [["a", "c"], ["d"]]
        it.done(old, "a", "c")
        assert it.held == [[], ["d", "e"]]


def test_what_the_old_one_has_not_begun_is_asked_back() -> None:
    with desk(prefetch=5) as it:
        it.fetched("runs", "waits")
        old = it.children[0]
        new = it.child(before=old)
        assert old.taking
        assert [Kind.TAKE, 0, 2] in old.channel.sent  # type: ignore[attr-defined]
        it.dispatcher.taken(old, [2])
        assert it.held == [["runs"], []]
        it.done(old, "runs")
        assert it.held == [[], ["waits"]]
        assert new.jobs_left > 1000


def test_one_that_waits_for_a_sub_job_leaves_its_place_to_it() -> None:
    with desk(max_jobs=1) as it:
        it.fetched("asks", "sub")
        old = it.children[0]
        it.child(before=old)
        assert it.held == [["asks"], []]
        it.blocked(old, "asks")
        it.dispatcher.rebalance()
        assert it.held == [["asks"], ["sub"]]


def test_when_every_job_of_a_used_up_child_waits_it_counts_as_blocked() -> None:
    with desk(concurrency=4, max_jobs=1) as it:
        it.fetched("asks")
        it.blocked(it.children[0], "asks")
        assert it.children[0].is_blocked
