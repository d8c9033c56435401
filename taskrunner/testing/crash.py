"""Arming the named crash points of `taskrunner.crashpoints` from a test.

    crash = CrashAt("settle.before", folder=tmp_path)
    fleet.start("--processes", "2", crash=crash)       # in this node's processes only
    crash.wait()                                       # somebody died there; crash.pid says who

Of all processes in which it is armed only the first that gets there dies; its replacement lives.
With `how=signal.SIGSTOP` it stands still there instead, until it is sent SIGCONT.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Mapping
from pathlib import Path

from taskrunner.crashpoints import POINTS
from taskrunner.testing.processes import resume, state_of
from taskrunner.testing.waiting import eventually


class CrashAt:
    """A point, armed by its `environ`. `on` is the how-manieth time a process gets there. Raises
    ValueError for a point that does not exist."""

    def __init__(
        self,
        point: str,
        *,
        folder: Path,
        on: int = 1,
        how: signal.Signals = signal.SIGKILL,
    ) -> None:
        if point not in POINTS:
            raise ValueError(f"there is no point {point!r}; there are {', '.join(sorted(POINTS))}")
        self.point = point
        self._on = on
        self._how = how
        self._once = folder / f"crash-{uuid.uuid4().hex}"

    @property
    def environ(self) -> Mapping[str, str]:
        """For the processes of which one shall die."""
        return {
            "TASKRUNNER_TEST_CRASH": f"{self.point}:{self._on}",
            "TASKRUNNER_TEST_CRASH_ONCE": str(self._once),
            "TASKRUNNER_TEST_CRASH_HOW": self._how.name,
        }

    @property
    def has_happened(self) -> bool:
        """Somebody has got there, and is dead or stands still."""
        pid = self._pid()
        wanted = "ZX" if self._how == signal.SIGKILL else "TtZX"
        return pid is not None and (state_of(pid) or "X") in wanted

    @property
    def pid(self) -> int:
        """Who got there. Raises LookupError while nobody has."""
        pid = self._pid()
        if pid is None:
            raise LookupError(f"nobody has reached {self.point}")
        return pid

    def wait(self, timeout: float = 20.0) -> int:
        """Wait until somebody has got there; its pid. Raises AssertionError after `timeout`
        seconds."""
        eventually(
            lambda: self.has_happened,
            timeout=timeout,
            message=f"somebody reaches {self.point}",
        )
        return self.pid

    def resume(self) -> None:
        """Let the process that stands still there go on."""
        resume(self.pid)

    def _pid(self) -> int | None:
        try:
            return int(self._once.read_text())
        except (OSError, ValueError):
            return None
