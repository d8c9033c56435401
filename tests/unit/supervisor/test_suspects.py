"""Who gets a child of its own, and when."""

from __future__ import annotations

from taskrunner.supervisor.dispatch import PATIENCE_S
from tests.unit.supervisor.desk import desk


def test_a_suspect_runs_with_nothing_beside_it_and_nothing_behind_it() -> None:
    with desk(concurrency=4, prefetch=10) as it:
        it.fetched("s", suspect=True)
        it.fetched("a", "b", "c")
        assert it.held == [["s"]]
        assert it.dispatcher.room("q") == 0
        it.done(it.children[0], "s")
        assert it.held == [["a", "b", "c"]]
        assert it.dispatcher.room("q") > 0


def test_it_waits_until_a_child_is_empty_and_that_child_gets_nothing_more() -> None:
    with desk(concurrency=4) as it:
        it.fetched("a", "b")
        it.fetched("s", suspect=True)
        it.fetched("c")
        assert it.held == [["a", "b"]]
        it.done(it.children[0], "a")
        assert it.held == [["b"]]
        assert it.dispatcher.count == 3
        it.done(it.children[0], "b")
        assert it.held == [["s"]]
        it.done(it.children[0], "s")
        assert it.held == [["c"]]


def test_the_other_children_go_on() -> None:
    with desk(2, concurrency=2) as it:
        it.fetched("a", "b", "c", "d")
        it.fetched("s1", "s2", suspect=True)
        it.fetched("e", "f", "g")
        one, other = it.children
        assert one.reserved != other.reserved
        it.done(one, *[held.delivery.id for held in one.held.values()])
        assert (it.held[0], other.reserved) == (["s1"], False)
        it.done(other, *[held.delivery.id for held in other.held.values()])
        assert it.held == [["s1"], ["e", "f"]]
        it.done(one, "s1")
        assert it.held == [["s2"], ["e", "f"]]


def test_without_other_work_every_child_may_have_one() -> None:
    with desk(3) as it:
        it.fetched("s1", "s2", "s3", "s4", suspect=True)
        assert it.held == [["s1"], ["s2"], ["s3"]]
        assert it.dispatcher.room("q") <= 0
        it.done(it.children[1], "s2")
        assert it.held == [["s1"], ["s4"], ["s3"]]


def test_a_child_that_comes_takes_what_waits() -> None:
    with desk(concurrency=4) as it:
        it.fetched("a")
        it.fetched("s", suspect=True)
        assert it.held == [["a"]]
        it.child()
        assert it.held == [["a"], ["s"]]
        it.fetched("b")
        assert it.held == [["a", "b"], ["s"]], "the other is not reserved any more"


def test_one_that_waits_for_its_own_sub_job_blocks_its_child_so_that_another_is_started() -> None:
    with desk(concurrency=4) as it:
        it.fetched("s", suspect=True)
        it.fetched("sub")
        child = it.children[0]
        it.blocked(child, "s")
        assert child.is_blocked, "three of its four slots are of no use to anybody"
        it.child()
        assert it.held == [["s"], ["sub"]]


def test_a_sub_job_that_is_a_suspect_too_gets_the_child_that_was_started_for_it() -> None:
    with desk() as it:
        it.fetched("s", suspect=True)
        it.blocked(it.children[0], "s")
        it.fetched("sub", suspect=True)
        it.fetched("a")
        it.child()
        assert it.held == [["s"], ["sub"]]


def test_what_waits_in_a_reserved_child_for_a_sub_job_blocks_it_too() -> None:
    with desk(concurrency=4) as it:
        it.fetched("a")
        it.fetched("s", suspect=True)
        it.fetched("sub of a")
        child = it.children[0]
        assert child.reserved
        it.blocked(child, "a")
        assert child.is_blocked
        it.child()
        assert it.held == [["a", "sub of a"], ["s"]]


def test_what_finds_no_child_here_goes_back_to_the_store() -> None:
    with desk(concurrency=2) as it:
        it.fetched("long")
        it.fetched("s", suspect=True)
        it.clock.advance(PATIENCE_S + 0.1)
        it.dispatcher.rebalance()
        assert it.released == {"s": 1}
        it.dispatcher.rebalance()
        it.fetched("a")
        assert it.held == [["long", "a"]], "nobody is waited for any more"


def test_a_node_that_stops_gives_suspects_back_and_one_that_is_lost_forgets_them() -> None:
    with desk() as it:
        it.fetched("long")
        it.fetched("s", suspect=True)
        assert ("n", 2) in it.dispatcher.numbers()
        it.dispatcher.disown("n")
        assert it.dispatcher.numbers() == {("n", 1)}
    with desk() as it:
        it.fetched("long")
        it.fetched("s", suspect=True)
        it.dispatcher.give_back()
        assert it.released == {"s": 1}


def test_one_that_was_taken_back_unstarted_waits_for_a_child_again() -> None:
    with desk(concurrency=2) as it:
        it.fetched("s", suspect=True)
        child = it.children[0]
        it.dispatcher.hold()
        it.dispatcher.taken(child, [1])
        assert (it.held, child.alone) == ([[]], 0)
        it.dispatcher.resume()
        assert (it.held, child.alone) == ([["s"]], 1)
