"""What a dead child left, in words."""

from __future__ import annotations

import os

import taskrunner
from taskrunner.supervisor.generation import Exit
from taskrunner.supervisor.health import Sentence
from taskrunner.supervisor.postmortem import account, how_it_ended, start_failed, without_our_frames
from taskrunner.worker.evidence import Line
from tests.unit.supervisor.desk import desk

OURS = os.path.dirname(taskrunner.__file__)
STACKS = f"""Fatal Python error: Segmentation fault

Thread 0x1 (most recent call first):
  File "{OURS}/worker/listener.py", line 130 in _listen
  File "/lib/python3.11/threading.py", line 982 in run

Thread 0x2 (most recent call first):
  File "/shop/poll.py", line 7 in poll
  File "/lib/python3.11/threading.py", line 982 in run

Current thread 0x3 (most recent call first):
  File "/shop/tasks.py", line 81 in fall
  File "{OURS}/worker/executor.py", line 92 in call
  File "{OURS}/supervisor/forkserver.py", line 87 in main
  File "<string>", line 1 in <module>

Extension modules: msgpack._cmsgpack (total: 1)

"""


def test_stacks_are_shown_down_to_the_users_code() -> None:
    theirs = STACKS[STACKS.index("Thread 0x2") : STACKS.index("\n\nCurrent")]
    assert without_our_frames(STACKS).split("\n\n") == [
        "Fatal Python error: Segmentation fault",
        theirs,
        'Current thread 0x3 (most recent call first):\n  File "/shop/tasks.py", line 81 in fall',
        "Extension modules: msgpack._cmsgpack (total: 1)",
    ]


def test_stacks_that_are_all_ours_are_shown_whole() -> None:
    ours = STACKS[STACKS.index("Thread 0x1") : STACKS.index("\n\nThread 0x2")]
    assert without_our_frames(ours) == ours
    assert without_our_frames("") == ""


def test_how_a_process_ended() -> None:
    with desk() as it:
        child = it.children[0]
        assert how_it_ended(child, Exit(1, 2, -9)) == "died: signal SIGKILL"
        ended = how_it_ended(child, Exit(1, 2, 7, peak_memory_kib=524_288))
        assert ended == "died: exit status 7; its memory had peaked at 512 MiB"
        child.sentence = Sentence("it slept", is_charged=True)
        assert how_it_ended(child, Exit(1, 2, -9)) == "was killed: it slept"


def test_children_that_cannot_start_say_where_to_look() -> None:
    lines = [Line(n, f"line {n}") for n in range(20)]
    text = start_failed(5, Exit(1, 2, 3), lines)
    first, *rest = text.splitlines()
    assert "5 children in a row died while they started, the last with exit status 3" in first
    assert "child_start hook" in first
    assert rest == [f"  line {n}" for n in range(12, 20)]
    assert "look at" in start_failed(5, Exit(1, 2, -11), [])
    assert "SIGSEGV" in start_failed(5, Exit(1, 2, -11), [])


def test_the_last_lines_stand_at_the_end_and_all_keeps_to_its_size() -> None:
    lines = [Line(8_500_000_000, "WARNING shop: nearly"), Line(9_000_000_000, "now")]
    text = account(stacks="x" * 5000, lines=lines, ended_at=10.0, limit=1000)
    assert len(text.encode()) <= 1000
    assert text.endswith("    1.500 s  WARNING shop: nearly\n    1.000 s  now")
    assert account(stacks="", lines=[], ended_at=0.0, limit=1000) == ""
