"""Two kinds of code run at once: who gets which job, and what becomes of tasks that are gone."""

from __future__ import annotations

from tests.unit.supervisor.desk import Desk, desk

OLD, NEW = ("t", "old"), ("t", "new")


def mixed(it: Desk) -> None:
    """An old child and a new one, both empty, both of which take jobs."""
    it.knows(NEW, OLD)
    it.child(knows=OLD)
    it.child(knows=NEW)


def test_each_gets_what_its_code_knows_whatever_is_first_in_line() -> None:
    with desk(0) as it:
        mixed(it)
        it.fetched("n1", "n2", task="new")
        it.fetched("o1", "o2", task="old")
        assert it.held == [["o1"], ["n1"]]
        it.done(it.children[1], "n1")
        it.fetched("t1")
        assert it.held == [["o1"], ["n2"]]
        it.done(it.children[0], "o1")
        it.done(it.children[0], "o2")
        assert it.held == [["t1"], ["n2"]]


def test_a_suspect_waits_for_an_empty_child_that_knows_it() -> None:
    with desk(0) as it:
        mixed(it)
        it.fetched("busy", task="old")
        it.fetched("suspect", task="old", suspect=True)
        assert it.held == [["busy"], []]
        it.done(it.children[0], "busy")
        assert it.held == [["suspect"], []]


def test_what_nobody_knows_any_more_is_parked() -> None:
    with desk(0) as it:
        mixed(it)
        it.fetched("o1", "o2", task="old")
        it.fetched("t1", "t2")
        it.dispatcher.close(it.children[0])
        it.knows(NEW)
        assert it.held == [["o1"], ["t1"]]
        assert it.parked == ["task:old"]
        assert it.dispatcher.count == 3
        assert it.dispatcher.can_run("task:new")
        assert not it.dispatcher.can_run("task:old")


def test_what_comes_back_of_a_task_that_is_gone_is_parked() -> None:
    with desk(0, prefetch=3) as it:
        mixed(it)
        it.fetched("o1", task="old")
        it.fetched("o2", task="old")
        it.fetched("o3", task="old")
        old = it.children[0]
        assert it.held[0] == ["o1", "o2", "o3"]
        it.dispatcher.close(old)
        it.knows(NEW)
        it.dispatcher.taken(old, [2])
        assert (it.held[0], it.parked) == (["o1", "o3"], ["task:old"])
        it.dispatcher.abandon(old)
        assert it.parked == ["task:old"] * 3


def test_no_old_child_is_given_a_new_task_after_it_was_closed_and_none_before() -> None:
    """Also where only the children are of two kinds, and the old code is not in charge any more."""
    with desk(0) as it:
        mixed(it)
        it.knows(NEW)
        it.fetched("n1", "n2", task="new")
        assert it.held == [[], ["n1"]]
