"""What a child writes down in the memory that it shares, and what is read there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from taskrunner.clock import monotonic_ns
from taskrunner.worker.evidence import LINE, LINES, Evidence
from taskrunner.worker.startpage import StartPage


@pytest.fixture
def page() -> Iterator[StartPage]:
    page = StartPage.create(3)
    yield page
    page.close_fd()
    page.close()


@pytest.fixture
def evidence(page: StartPage) -> Iterator[Evidence]:
    evidence = Evidence(page)
    yield evidence
    evidence.close()


def texts(evidence: Evidence, since_ns: int = 0) -> list[str]:
    return [line.text for line in evidence.lines(since_ns)]


def test_the_other_side_reads_the_lines_in_order(page: StartPage, evidence: Evidence) -> None:
    other = Evidence(page)
    evidence.keep("one")
    evidence.keep("two\nthree\n")
    assert texts(other) == ["one", "two", "three"]
    assert other.stacks() == ""
    other.close()


def test_the_newest_take_the_place_of_the_oldest(evidence: Evidence) -> None:
    for n in range(3 * LINES + 5):
        evidence.keep(f"line {n}")
    assert texts(evidence) == [f"line {n}" for n in range(2 * LINES + 5, 3 * LINES + 5)]


def test_lines_from_before_a_moment_are_left_out(evidence: Evidence) -> None:
    evidence.keep("the last job's")
    since = monotonic_ns()
    evidence.keep("this job's")
    assert texts(evidence, since) == ["this job's"]


def test_long_and_hostile_lines_stay_in_their_place(evidence: Evidence) -> None:
    evidence.keep("é" * 10_000)
    evidence.keep("\udcff\0 \x1b")
    evidence.keep("after")
    first, second, third = texts(evidence)
    assert first.startswith("éééé")
    assert len(first.encode()) < LINE
    assert second.startswith("\\udcff")
    assert third == "after"


def test_threads_do_not_write_over_each_other(evidence: Evidence) -> None:
    def write(name: str) -> None:
        for n in range(200):
            evidence.keep(f"{name * 50} {n}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(set(text.split()[0])) == 1 for text in texts(evidence))
    assert len(texts(evidence)) == LINES


FORKS = """
import ctypes, logging, os, sys
from taskrunner.worker.evidence import Evidence
from taskrunner.worker.startpage import StartPage
page = StartPage.create(1)
evidence = Evidence(page)
evidence.watch()
logging.getLogger("mine").warning("before")
pid = os.fork()
if pid == 0:
    logging.getLogger("theirs").warning("inside")
    ctypes.string_at(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -11
print("after", file=sys.stderr)
print([line.text for line in evidence.lines()], repr(evidence.stacks()))
"""


def test_a_process_that_a_task_forks_leaves_no_evidence_against_it() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
    assert done.stdout == "['WARNING mine: before', 'after'] ''\n"
    assert "Segmentation fault" in done.stderr, "it has the place that it had before"


def test_the_start_page_is_untouched(page: StartPage, evidence: Evidence) -> None:
    page.begin(2, 7)
    evidence.keep("x" * 1000)
    os.pwrite(page.fd, b"stacks", os.fstat(page.fd).st_size - 100)
    assert [slot.number for slot in page.slots()] == [0, 0, 7]
    assert "stacks" in evidence.stacks()
