"""A node for a trial: `python -m taskrunner run`, as a user runs it, in a session of its own.

Ctrl-C in a terminal is for whoever measures, who then stops the node in good order.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from taskrunner.bench.workplace import QUEUE
from taskrunner.errors import StartError

STOP_S: Final = 40.0
"""Seconds in which a node ends in good order: its own limit for running jobs is 25."""
HURRY_S: Final = 10.0
"""Seconds for the same without waiting for running jobs."""
_SHOWN: Final = 4_000


class NodeProcess:
    """One node, serving the queue of the trial."""

    def __init__(self, target: str, options: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by `stop`
        command = [sys.executable, "-m", "taskrunner", "run", target, *options]
        self._process = subprocess.Popen(
            [*command, "--queues", QUEUE, "--log-level", "warning"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def check(self) -> None:
        """Raises StartError, with what it wrote, where it has ended."""
        status = self._process.poll()
        if status is not None:
            raise StartError(f"the node ended with exit code {status}:\n{self._written()}")

    def stop(self, *, hurry: bool) -> None:
        """Have it end, and wait for that: in good order, or in a hurry, or by force."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(1.0 if hurry else STOP_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(HURRY_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _written(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-_SHOWN:].rstrip()


@contextmanager
def running(target: str, options: Sequence[str]) -> Iterator[NodeProcess]:
    """It runs as long as the block does."""
    node = NodeProcess(target, options)
    try:
        yield node
    except BaseException:
        node.stop(hurry=True)
        raise
    node.stop(hurry=False)
