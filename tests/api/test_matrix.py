"""No route is forgotten: each is asked by everybody, and the guide says what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.matrix import HEAD, SAMPLES, Row, as_table, rows

GUIDE = Path(__file__).parents[2] / "docs/guides/http-access.md"


@pytest.fixture(scope="module")
def asked() -> list[Row]:
    return list(rows())


def test_the_guide_has_the_table_of_all_routes(asked: list[Row]) -> None:
    text = GUIDE.read_text("utf-8")
    written = text[text.index(HEAD) :].partition("\n\n")[0].rstrip()
    assert written == as_table(asked), "write it anew: python -m tests.api.matrix"


def test_nobody_gets_where_they_may_not(asked: list[Row]) -> None:
    assert {row.request for row in asked} == set(SAMPLES)
    for row in asked:
        unknown, wrong_scope, wrong_queue, right = row.codes
        assert right < 300, row
        assert wrong_queue < 500, row
        if row.scope != "anybody":
            assert unknown == 401, row
            assert wrong_scope == (right if row.scope == "any" else 403), row
