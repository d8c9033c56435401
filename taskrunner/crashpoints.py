"""Named places where a test can make a process die, exactly as `kill -9` would.

A call site costs one module-level test when nothing is armed:

    if crashpoints.ARMED:
        crashpoints.reach("child.received")

Every call of a broker has a point before and one after it, `settle.before` and `settle.after`: where
something is armed, a broker is surrounded as it is made, and otherwise nothing is there.

Armed by the environment, so that it reaches every process of a supervisor (a test uses
`taskrunner.testing.crash`):

    TASKRUNNER_TEST_CRASH        the point, or `settle.before:3` for the third time in a process
    TASKRUNNER_TEST_CRASH_ONCE   a path: only the process that creates this file dies, its
                                 replacements live; the file gets the pid
    TASKRUNNER_TEST_CRASH_HOW    SIGKILL; SIGSTOP: stand still there until SIGCONT
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

BROKER_CALLS = frozenset(
    {
        *("ping", "enqueue", "aenqueue", "open_mailbox", "watch", "cancel", "send", "get", "stats"),
        *("queues", "nodes", "now", "put_record", "records", "remove_record", "fetch", "settle"),
        *("note", "due", "promote", "join", "beat", "commands", "leave", "reap", "held", "sweep"),
        *("tick", "slots", "close_slots", "audit", "remarks"),
        *("jobs", "oldest", "requeue", "delete", "reschedule", "rewrite"),
        *("set_limit", "pause", "resume", "limits", "declare_limits"),
    }
)
"""Methods of a broker; all but `close`, and `set_skew` and `erase`, which no node calls."""
MAILBOX_CALLS = frozenset({"wait"})
"""Methods of a mailbox."""
BACKEND_CALLS = frozenset({"store"})
"""Methods of a result backend that a node calls."""

POINTS = frozenset(
    {
        *(f"{call}.before" for call in BROKER_CALLS | MAILBOX_CALLS | BACKEND_CALLS),
        *(f"{call}.after" for call in BROKER_CALLS | MAILBOX_CALLS | BACKEND_CALLS),
        "dispatch.before",
        "dispatch.after",
        "collect.before",
        "collect.after",
        "release.before",
        "release.after",
        "burial.before",
        "burial.after",
        "supervisor.starting",
        "supervisor.filled",
        "supervisor.started",
        "supervisor.stopping",
        "supervisor.childless",
        "rollover.imported",
        "rollover.replaced",
        "forkserver.starting",
        "forkserver.imported",
        "forkserver.forking",
        "forkserver.forked",
        "forkserver.reaped",
        "forkserver.ending",
        "child.started",
        "child.ready",
        "child.received",
        "child.before_task",
        "child.after_task",
        "child.before_report",
        "child.after_report",
        "child.before_taken",
        "child.after_taken",
        "child.stopping",
    }
)

_armed = os.environ.get("TASKRUNNER_TEST_CRASH", "")
ARMED = bool(_armed)
_point, _, _count = _armed.partition(":")
_left = int(_count or 1)
_how = signal.Signals[os.environ.get("TASKRUNNER_TEST_CRASH_HOW", "SIGKILL")]

if ARMED and _point not in POINTS:
    raise ValueError(f"TASKRUNNER_TEST_CRASH={_armed!r}: known points are {sorted(POINTS)}")


def reach(point: str) -> None:
    """Die here if `point` is the armed one and its count is up."""
    global _left
    if point != _point:
        return
    _left -= 1
    if _left == 0 and _first():
        os.kill(os.getpid(), _how)


def surround(thing: T) -> T:
    """A broker, mailbox or backend with a point before and after each of its calls."""
    for name in BROKER_CALLS | MAILBOX_CALLS | BACKEND_CALLS:
        if hasattr(type(thing), name) and name not in vars(thing):
            setattr(thing, name, _around(name, getattr(thing, name)))
    return thing


def _around(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        reach(f"{name}.before")
        answer = method(*args, **kwargs)
        reach(f"{name}.after")
        return surround(answer) if name == "open_mailbox" else answer

    @functools.wraps(method)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        reach(f"{name}.before")
        answer = await method(*args, **kwargs)
        reach(f"{name}.after")
        return answer

    return acall if inspect.iscoroutinefunction(method) else call


def _first() -> bool:
    path = os.environ.get("TASKRUNNER_TEST_CRASH_ONCE")
    if path is None:
        return True
    try:
        with open(path, "x") as once:
            once.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True
