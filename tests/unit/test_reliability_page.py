"""docs/reliability.md says what is so: tests that exist, every promise, every hole, every mutation."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.faults.mutate import MUTATIONS

ROOT = Path(__file__).parents[2]
PROMISES = range(1, 13)
HOLES = range(1, 27)
COMPLAINTS = range(1, 41)
NO_PROGRAMS = {33, 34, 39, 40}
NO_TEST = ("cannot be had: ", "not yet: ")


@cache
def sections() -> dict[str, str]:
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    return {part.partition("\n")[0]: part for part in re.split(r"^## ", page, flags=re.M)[1:]}


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in sections()[section].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


@cache
def known_tests() -> set[str]:
    files = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("taskrunner/testing/_conformance_*.py")]
    return {
        name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text("utf-8"))
    }


@pytest.mark.parametrize("section", sections())
def test_every_test_that_it_names_exists(section: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", sections()[section]))
    assert named <= known_tests()


def test_no_promise_is_left_out() -> None:
    found = rows("The twelve promises")
    assert [int(row[0].partition(".")[0]) for row in found] == list(PROMISES)
    for _, how, tests, cases, result in found:
        assert how.endswith(".")
        assert "`test_" in tests
        assert int(cases) > 0
        assert result


def test_each_hole_is_tested_or_cannot_be_had() -> None:
    found = rows("The 26 known holes of asynq")
    assert [int(number) for number, *_ in found] == list(HOLES)
    for number, _, tests in found:
        named = set(re.findall(r"`(test_\w+)`", tests))
        assert named or tests.startswith(NO_TEST), number
        of_its_name = {name for name in known_tests() if name.startswith(f"test_hole_{number:>02}")}
        assert of_its_name <= named


def test_each_complaint_is_tested_or_has_its_reason() -> None:
    found = rows("What users of other queues complain about")
    assert [int(number) for number, *_ in found] == [n for n in COMPLAINTS if n not in NO_PROGRAMS]
    for number, _, tests in found:
        assert "`test_" in tests or tests.startswith(NO_TEST), number


def test_it_shows_every_mutation_and_none_that_nobody_noticed() -> None:
    found = rows("Switched off")
    assert [row[0] for row in found] == [mutation.mechanism for mutation in MUTATIONS]
    for _, red in found:
        assert re.findall(r"`(test_\w+)`", red)
