"""What benchmarks answer: as JSON and back, in words, and on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.harness import page
from benchmarks.harness.answer import Answer, Chart, Spread, Table, Target, in_words, share
from benchmarks.peers.queues import PEERS

ROOT = Path(__file__).parents[3]
ANSWER = Answer(
    [
        Table(
            "rates",
            ("what", "jobs/s", "of it"),
            [("ours", Spread.of([3.0, 1.0, 2.0]), 0.5), ("theirs", 61_234.0, None)],
            note="two of them",
            chart=Chart("what", "jobs/s"),
        )
    ],
    [Target.at_least("ratio", 0.6, 0.5), Target.at_most("latency", 3, 2.5, " ms")],
)
MACHINE = {
    "cpu": "a chip", "cores": 2, "system": "Linux", "redis": "Redis 7", "python": "CPython",
    "packages": {"redis": "5"},
}  # fmt: skip


def test_an_answer_survives_as_json() -> None:
    assert Answer.of_map(json.loads(json.dumps(ANSWER.as_map()))).as_map() == ANSWER.as_map()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Spread(61_234.0, 59_999.6, 70_000.0), "61,234 (60,000 to 70,000)"),
        (Spread(2.0, 2.0, 2.0), "2"),
        (0.0051234, "0.00512"),
        (0.00005, "5.0e-05"),
        (1_000_000, "1,000,000"),
        (None, ""),
        ("text", "text"),
    ],
)
def test_cells_in_words(cell: Spread | float | str | None, words: str) -> None:
    assert in_words(cell) == words


def test_targets_are_judged() -> None:
    assert [target.met for target in ANSWER.targets] == [False, True]
    assert ANSWER.targets[1].wanted == "at most 3 ms"


def test_percentiles() -> None:
    values = [float(n) for n in range(100)]
    assert [share(values, part) for part in (0.5, 0.99, 1)] == [50, 99, 99]


def test_the_page_is_made_between_its_markers_and_only_there(tmp_path: Path) -> None:
    names = ("targets", "machine", "one")
    places = "\n".join(f"<!-- measured: {n} -->\nold\n<!-- end: {n} -->\nkept {n}" for n in names)
    made = tmp_path / "page.md"
    made.write_text(places)
    page.keep("one", {**ANSWER.as_map(), "machine": MACHINE}, tmp_path)
    for _ in range(2):
        page.write(("one", "never asked"), made, tmp_path)
    text = made.read_text()
    assert "old" not in text
    assert all(f"kept {name}" in text for name in names)
    assert "| ours | 2 (1 to 3) | 0.5 |" in text
    assert "| ratio | at least 0.6 | 0.5 | no |" in text
    assert "a chip, 2 cores; Linux; CPython; Redis 7; redis 5." in text
    assert "![rates](charts/one-0.svg)" in text
    assert (tmp_path / "one-0.svg").read_text().startswith("<svg")


def test_a_page_without_a_place_says_which(tmp_path: Path) -> None:
    made = tmp_path / "page.md"
    made.write_text("nothing")
    page.keep("one", {**ANSWER.as_map(), "machine": MACHINE}, tmp_path)
    with pytest.raises(ValueError, match="no place for 'one'"):
        page.write(("one",), made, tmp_path)


def test_the_page_has_a_place_for_every_question() -> None:
    text = page.PAGE.read_text("utf-8")
    for name in (*report.QUESTIONS, report.PEERS, "targets", "machine"):
        assert f"<!-- measured: {name} -->" in text
        assert f"<!-- end: {name} -->" in text


def test_every_question_is_a_file_that_explains_itself() -> None:
    for name in report.QUESTIONS:
        text = (ROOT / "benchmarks" / f"{name}.py").read_text("utf-8")
        assert f"python -m benchmarks.{name} [--json] [--runs N] [--quick]" in text


def test_every_other_queue_has_its_script_and_is_held_to_a_version() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS) >= 10
    for peer in PEERS:
        assert (ROOT / "benchmarks" / "peers" / f"{peer.script}.py").is_file()
        assert "<" in peer.requirements[0]
        assert any(peer.script in word or peer.package == "rq" for word in peer.workers)
