"""Which job gets a node of its own, when, and for how long."""

from __future__ import annotations

from typing import Any

from taskrunner.supervisor.dispatch import PATIENCE_S
from taskrunner.supervisor.seclusion import CLEARING_S
from tests.unit.supervisor.desk import Desk, desk

DANGEROUS: dict[str, Any] = {"suspect": True, "losses": 3}


def unstarted(it: Desk) -> None:
    """Each child says that all it holds runs already."""
    for child in it.children:
        if child.taking:
            it.dispatcher.taken(child, [])


def test_it_waits_until_nothing_runs_and_the_store_knows_that_it_is_alone() -> None:
    with desk(2) as it:
        it.fetched("a")
        it.fetched("d", **DANGEROUS)
        assert (it.held, it.alone) == ([["a"], []], [])
        assert it.dispatcher.room("q") == 0
        unstarted(it)
        it.done(it.children[0], "a")
        assert (it.held, it.alone) == ([[], []], [("d", 3)])
        it.told(True)
        assert it.held == [["d"], []]
        it.fetched("b")
        it.clock.advance(PATIENCE_S + 0.1)
        it.dispatcher.rebalance()
        assert it.held == [["d"], []]
        assert (it.released, it.dispatcher.room("q")) == ({"b": 1}, 0)
        it.done(it.children[0], "d")
        it.fetched("c")
        assert sorted(it.held) == [[], ["c"]]
        assert it.alone == [("d", 3)]


def test_what_waits_or_comes_meanwhile_goes_back_to_the_store_at_once() -> None:
    with desk(concurrency=2) as it:
        it.fetched("a", "b", "c", "s")
        it.fetched("d", **DANGEROUS)
        it.fetched("e")
        it.fetched("f", **DANGEROUS)
        it.fetched("g", suspect=True)
        assert it.released["d"] == 0
        assert {"e", "f", "g"} <= it.released.keys()
        it.dispatcher.taken(it.children[0], [3, 4])
        assert {"c", "s"} <= it.released.keys()
        assert it.held == [["a", "b"]]


def test_a_suspect_of_fewer_losses_has_no_node_of_its_own() -> None:
    with desk(2) as it:
        it.fetched("a")
        it.fetched("s", suspect=True, losses=2)
        it.fetched("was one before", losses=5)
        assert (it.alone, it.held) == ([], [["a"], ["s"]])


def test_where_the_store_cannot_be_told_it_runs_alone_in_its_process_only() -> None:
    with desk(2) as it:
        it.fetched("d", **DANGEROUS)
        it.told(False)
        it.fetched("a")
        assert it.held == [["d"], ["a"]]


def test_a_node_that_does_not_become_free_gives_up_after_a_while() -> None:
    with desk(2) as it:
        it.fetched("long")
        it.fetched("d", **DANGEROUS)
        unstarted(it)
        it.clock.advance(CLEARING_S - 1)
        it.dispatcher.rebalance()
        assert it.held == [["long"], []]
        it.clock.advance(2)
        it.dispatcher.rebalance()
        assert it.held == [["long"], ["d"]]
        assert it.alone == [("d", 0)], "and is charged with nothing"
        it.done(it.children[0], "long")
        it.fetched("a")
        assert it.held == [["a"], ["d"]]


def test_what_waits_for_another_job_is_in_nobodys_way() -> None:
    """And when it goes on, the other one is not alone any more."""
    with desk() as it:
        it.fetched("a")
        it.blocked(it.children[0], "a")
        it.fetched("d", **DANGEROUS)
        unstarted(it)
        assert it.alone == [("d", 3)]
        other = it.child()
        it.told(True)
        assert it.held == [["a"], ["d"]]
        it.dispatcher.rebalance()
        assert it.alone == [("d", 3)]
        it.dispatcher.unblocked(it.children[0], 1)
        assert it.alone == [("d", 3), ("d", 0)]
        it.done(it.children[0], "a")
        unstarted(it)
        it.fetched("b")
        assert it.held == [["b"], ["d"]]
        assert other.alone == 2, "in its process nothing else comes all the same"


def test_one_that_waits_for_its_own_sub_job_lets_others_run() -> None:
    with desk(2) as it:
        it.fetched("d", **DANGEROUS)
        it.told(True)
        it.blocked(it.children[0], "d")
        it.dispatcher.rebalance()
        assert it.alone == [("d", 3), ("d", 0)]
        it.fetched("sub")
        assert it.held == [["d"], ["sub"]]


def test_it_goes_back_when_the_node_stops_and_is_forgotten_when_it_is_lost() -> None:
    with desk() as it:
        it.fetched("d", **DANGEROUS)
        it.dispatcher.give_back()
        it.told(True)
        assert (it.released, it.held) == ({"d": 1}, [[]])
    with desk() as it:
        it.fetched("d", **DANGEROUS)
        it.dispatcher.disown("n")
        it.told(True)
        it.fetched("a", node="n2")
        assert it.held == [["a"]]


def test_one_that_was_taken_back_unstarted_is_noted_again() -> None:
    with desk() as it:
        it.fetched("d", **DANGEROUS)
        it.told(True)
        it.dispatcher.hold()
        it.dispatcher.taken(it.children[0], [1])
        it.dispatcher.resume()
        assert it.held == [[]]
        it.told(True)
        assert (it.held, it.alone) == ([["d"]], [("d", 3), ("d", 3)])


def test_an_answer_that_comes_too_late_starts_nothing() -> None:
    with desk(2) as it:
        it.fetched("d", **DANGEROUS)
        late = it.told
        it.clock.advance(CLEARING_S + 1)
        it.dispatcher.rebalance()
        assert it.held == [["d"], []], "like any other suspect"
        late(True)
        it.fetched("a")
        assert it.held == [["d"], ["a"]]
        assert it.alone == [("d", 3), ("d", 0)]
