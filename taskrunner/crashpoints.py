"""Named places where a test can make a process die, exactly as `kill -9` would.

A call site costs one module-level test when nothing is armed:

    if crashpoints.ARMED:
        crashpoints.reach("settle.before")

Armed by the environment, so that it reaches every process of a supervisor:
`TASKRUNNER_TEST_CRASH="settle.before"`, or `"settle.before:3"` for the third time it is reached
in a process. With `TASKRUNNER_TEST_CRASH_ONCE=/some/path` only the process that creates that file
dies; its replacements live.
"""

from __future__ import annotations

import os
import signal

POINTS = frozenset(
    {
        "enqueue.before",
        "enqueue.after",
        "fetch.before",
        "fetch.after",
        "dispatch.before",
        "dispatch.after",
        "settle.before",
        "settle.after",
        "beat.before",
        "beat.after",
        "promote.before",
        "promote.after",
        "reap.before",
        "reap.after",
        "release.before",
        "release.after",
        "supervisor.starting",
        "supervisor.stopping",
        "forkserver.imported",
        "forkserver.forked",
        "child.started",
        "child.received",
        "child.before_task",
        "child.after_task",
        "child.before_report",
        "child.after_report",
    }
)

_armed = os.environ.get("TASKRUNNER_TEST_CRASH", "")
ARMED = bool(_armed)
_point, _, _count = _armed.partition(":")
_left = int(_count or 1)

if ARMED and _point not in POINTS:
    raise ValueError(f"TASKRUNNER_TEST_CRASH={_armed!r}: known points are {sorted(POINTS)}")


def reach(point: str) -> None:
    """Die here if `point` is the armed one and its count is up."""
    global _left
    if point != _point:
        return
    _left -= 1
    if _left == 0 and _first():
        os.kill(os.getpid(), signal.SIGKILL)


def _first() -> bool:
    path = os.environ.get("TASKRUNNER_TEST_CRASH_ONCE")
    if path is None:
        return True
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
