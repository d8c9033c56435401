"""A child that is on its way out gets nothing more, and what it holds is still this node's."""

from __future__ import annotations

import pytest

from taskrunner.supervisor.child import Phase
from tests.unit.supervisor.desk import desk


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.KILLED])
def test_what_a_dismissed_child_holds_is_still_held(phase: Phase) -> None:
    with desk() as it:
        it.fetched("a")
        it.dispatcher.dismiss(it.children[0], phase)
        it.fetched("b")
        assert it.held == [["a"]]
        assert it.dispatcher.numbers() == {("n", 1), ("n", 2)}
        assert it.dispatcher.count == 2
        it.done(it.children[0], "a")
        assert it.dispatcher.count == 1
        it.dispatcher.abandon(it.children[0])
        it.child()
        assert it.held == [[], ["b"]]


def test_a_child_is_dismissed_for_idleness_only_when_it_is_idle() -> None:
    with desk() as it:
        child = it.children[0]
        it.fetched("a")
        assert not it.dispatcher.dismiss_idle(child, Phase.STOPPING)
        assert child.phase is Phase.READY
        it.done(child, "a")
        assert it.dispatcher.dismiss_idle(child, Phase.STOPPING)
        it.fetched("b")
        assert it.held == [[]]
