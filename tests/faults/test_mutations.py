"""The table of mutations is about the code as it is, and about tests that exist."""

from __future__ import annotations

import pytest

from tests.faults.mutate import MUTATIONS, ROOT
from tests.faults.mutation import Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.mechanism)
def test_it_can_be_applied_and_its_tests_exist(mutation: Mutation) -> None:
    for edit in mutation.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == 1
    suites = "".join(path.read_text() for path in ROOT.glob("taskrunner/testing/_conformance_*.py"))
    for test in mutation.tests:
        file, *names = test.partition("[")[0].split("::")
        assert (ROOT / file).exists()
        for name in names[-1:]:
            assert f"def {name}(" in (ROOT / file).read_text() + suites
