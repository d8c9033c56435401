"""A child in a process of its own, whose supervisor is the test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from taskrunner import frames
from taskrunner.brokers.base import Blame, Delivery, Outcome, OutcomeKind
from taskrunner.frames import Kind
from taskrunner.message import Message
from taskrunner.testing.waiting import eventually
from taskrunner.worker.startpage import StartPage
from tests.process.apps.child import app

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from tests.process.apps.child import app
from taskrunner.worker.main import ChildSettings, run_child
run_child(app, int(sys.argv[1]), int(sys.argv[2]), ChildSettings(3, int(sys.argv[3])))
"""


class OneChild:
    """Speaks to it, frame by frame."""

    def __init__(self, concurrency: int = 1, **environ: str) -> None:
        self.line, theirs = socket.socketpair()
        self.line.settimeout(20)
        self.page = StartPage.create(concurrency)
        self.page.lease_until(1e9)
        self.gulp = 1 << 20
        """bytes that are read at once"""
        self._decoder = frames.Decoder()
        self._unread: list[list[Any]] = []
        self._number = 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, *map(str, (theirs.fileno(), self.page.fd, concurrency))],
            cwd=ROOT,
            env={**os.environ, **environ},
            pass_fds=(theirs.fileno(), self.page.fd),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        theirs.close()

    def __enter__(self) -> OneChild:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.line.close()
        self.process.kill()
        self.process.communicate()
        self.page.close_fd()
        self.page.close()

    # -- what it is told

    def send(self, kind: Kind, *values: Any) -> None:
        self.line.sendall(frames.encode(kind, *values))

    def give(self, *messages: Message, **fields: Any) -> list[int]:
        """Send jobs in one frame; the numbers of their deliveries."""
        first = self._number + 1
        self._number += len(messages)
        numbers = list(range(first, self._number + 1))
        rows = [
            Delivery("q", f"job-{n}", "node", n, m.wire, 0, 0, 0, 0, None, None)._replace(**fields)
            for n, m in zip(numbers, messages, strict=True)
        ]
        self.send(Kind.RUN, rows)
        return numbers

    # -- what it says

    def hear(self, *kinds: Kind) -> list[Any]:
        """The next frame of one of these kinds; others before it are skipped."""
        while True:
            while self._unread:
                frame = self._unread.pop(0)
                if frame[0] in kinds:
                    return frame
            data = self.line.recv(self.gulp)
            if not data:
                raise EOFError(self.process.communicate()[1].decode())
            self._unread += self._decoder.feed(data)

    def ready(self) -> OneChild:
        self.hear(Kind.READY)
        return self

    def outcomes(self, count: int) -> list[Outcome]:
        """The next outcomes, in the order in which they come."""
        found: list[Outcome] = []
        while len(found) < count:
            for row in self.hear(Kind.DONE)[1]:
                outcome = Outcome(*row)
                kind, blame = OutcomeKind(outcome.kind), Blame(outcome.blame)
                found.append(outcome._replace(kind=kind, blame=blame))
        return found

    def outcome(self) -> Outcome:
        (outcome,) = self.outcomes(1)
        return outcome

    # -- what can be seen of it

    def runs(self, number: int) -> bool:
        return any(slot.number == number and slot.running for slot in self.page.slots())

    def started(self, number: int) -> None:
        """Wait until it runs."""
        eventually(lambda: self.runs(number), message=f"delivery {number} runs")

    def within(self, number: int) -> None:
        """Wait until the task of this delivery has said that it is there."""
        while self.hear(Kind.PROGRESS)[1] != number:
            pass

    def title(self) -> str:
        raw = Path(f"/proc/{self.process.pid}/cmdline").read_bytes()
        return raw.rstrip(b"\0").decode()

    def ended(self) -> tuple[int, str]:
        """Wait for its end: exit status (negative: the signal) and standard error."""
        _, error = self.process.communicate(timeout=20)
        return self.process.returncode, error.decode()


@contextmanager
def ready_child(concurrency: int = 1, **environ: str) -> Iterator[OneChild]:
    with OneChild(concurrency, **environ) as child:
        yield child.ready()


def value_of(outcome: Outcome) -> Any:
    """What the task returned."""
    assert outcome.kind is OutcomeKind.SUCCEEDED, outcome
    assert outcome.result is not None
    return app.codec.unpack(outcome.result)
