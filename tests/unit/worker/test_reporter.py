"""What a child writes, in which order, and how long it holds it back."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from taskrunner import frames
from taskrunner.frames import Kind
from taskrunner.worker.reporter import MOST_BYTES, MOST_ROWS, Reporter


class Line:
    """A reporter and the other end of its pipe."""

    def __init__(self) -> None:
        self.ours, self._theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.broken = 0
        self.reporter = Reporter(self._theirs.fileno(), broken=self._break)
        self._decoder = frames.Decoder()

    def _break(self) -> None:
        self.broken += 1

    def arrived(self) -> list[list[Any]]:
        found: list[list[Any]] = []
        try:
            while data := self.ours.recv(1 << 20):
                found += self._decoder.feed(data)
        except BlockingIOError:
            pass
        return found

    def close(self) -> None:
        self.reporter.close()
        self.ours.close()
        self._theirs.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def row(number: int, result: bytes | None = None) -> tuple[Any, ...]:
    return ("q", f"job-{number}", number, 0, True, 0.0, result, 60.0, None, None, 0.0, 0, None)


def numbers(frame: list[Any]) -> list[int]:
    assert frame[0] == Kind.DONE
    return [row[2] for row in frame[1]]


def test_outcomes_held_back_go_together_with_the_next_that_is_not(line: Line) -> None:
    line.reporter.add(row(1), hold=True)
    line.reporter.add(row(2), hold=False)
    (frame,) = line.arrived()
    assert numbers(frame) == [1, 2]
    assert not line.reporter.is_holding


def test_nothing_is_held_beyond_its_size(line: Line) -> None:
    line.reporter.add(row(1, b"x" * MOST_BYTES), hold=True)
    assert [numbers(frame) for frame in line.arrived()] == [[1]]


def test_nothing_is_held_beyond_its_number_or_time(line: Line) -> None:
    for number in range(MOST_ROWS):
        line.reporter.add(row(number), hold=True)
    assert sum(len(numbers(frame)) for frame in line.arrived()) == MOST_ROWS


def test_the_tick_sends_what_the_next_job_keeps_waiting(line: Line) -> None:
    line.reporter.add(row(1), hold=True)

    def ticked() -> list[list[Any]]:
        line.reporter.tick()
        return line.arrived()

    found: list[list[Any]] = []
    while not found:  # until 2 ms have passed
        found = ticked()
    assert numbers(found[0]) == [1]


def test_what_a_task_posts_wakes_the_listener_and_precedes_its_outcome(line: Line) -> None:
    line.reporter.post(Kind.BLOCKED, 1, True)
    line.reporter.post(Kind.BLOCKED, 1, False)
    assert line.arrived() == []
    assert select.select([line.reporter.wake_fd], [], [], 0)[0]
    line.reporter.add(row(1), hold=False)
    assert [frame[0] for frame in line.arrived()] == [Kind.BLOCKED, Kind.BLOCKED, Kind.DONE]
    line.reporter.woken()
    assert not select.select([line.reporter.wake_fd], [], [], 0)[0]


def test_a_posted_frame_goes_out_when_the_listener_wakes(line: Line) -> None:
    line.reporter.post(Kind.CALL, 1, 2, "ping", None)
    line.reporter.woken()
    assert line.arrived() == [[Kind.CALL, 1, 2, "ping", None]]


def test_of_much_progress_the_latest_is_sent_and_the_last_before_the_outcome(line: Line) -> None:
    for value in (b"1", b"2", b"3"):
        line.reporter.progress(7, value)
    line.reporter.tick()
    assert line.arrived() == [[Kind.PROGRESS, 7, b"3"]]
    line.reporter.progress(7, b"4")
    line.reporter.tick()
    assert line.arrived() == []
    line.reporter.progress(7, b"5")
    line.reporter.add(row(7), hold=False)
    progress, done = line.arrived()
    assert progress == [Kind.PROGRESS, 7, b"5"]
    assert numbers(done) == [7]


def test_a_frame_larger_than_the_pipe_arrives_whole(line: Line) -> None:
    value = os.urandom(3 << 20)
    sender = threading.Thread(target=line.reporter.send, args=(Kind.PROGRESS, 1, value))
    sender.start()
    found: list[list[Any]] = []
    while not found:
        found = line.arrived()
    sender.join()
    assert found == [[Kind.PROGRESS, 1, value]]


def test_a_closed_line_is_told_and_raises_nothing(line: Line) -> None:
    line.ours.close()
    line.reporter.add(row(1), hold=False)
    line.reporter.send(Kind.BEAT)
    assert line.broken == 2


def test_posting_after_the_end_harms_nobody() -> None:
    line = Line()
    line.close()
    line.reporter.post(Kind.BLOCKED, 1, True)
