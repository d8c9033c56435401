"""The table of transitions: what it forbids, and that docs/states.md shows it as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskrunner.errors import IllegalTransition
from taskrunner.states import FINISHED, IDLE, TRANSITIONS, UNFINISHED, State, check_transition

PAGE = (Path(__file__).parents[2] / "docs/states.md").read_text("utf-8")
ALLOWED = {(str(before), str(after)) for before in State for after in TRANSITIONS[before]}


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_a_change_is_allowed_or_raises_and_names_both_ends(before: State, after: State) -> None:
    if (before, after) in ALLOWED:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransition, match=f"from {before} to {after};"):
            check_transition(before, after)


def test_a_success_is_the_end() -> None:
    with pytest.raises(IllegalTransition, match="it may go to: nothing"):
        check_transition(State.SUCCEEDED, State.PENDING)


def test_a_finished_job_goes_nowhere_but_back_to_the_queue() -> None:
    assert {after for before in FINISHED for after in TRANSITIONS[before]} == {State.PENDING}


def test_whatever_waits_can_be_cancelled() -> None:
    assert all(State.CANCELLED in TRANSITIONS[state] for state in IDLE)
    assert {State.ACTIVE} == UNFINISHED - IDLE


def test_the_page_names_every_state() -> None:
    table = PAGE.split("| from |")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(State)


def test_the_pages_table_is_the_codes_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| .+ \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == ALLOWED


def test_the_pages_drawing_is_the_codes_table() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+) : ", PAGE, re.MULTILINE)
    assert len(arrows) == len(set(arrows))
    assert set(arrows) == ALLOWED
