"""Processes seen from outside: who is below whom, stopping and killing, and nothing left over.

    with paused(child.pid): ...                # SIGSTOP, and SIGCONT at the end
    kill(child.pid)                            # SIGKILL, and wait until it is gone
    with nothing_left_over(): ...              # AssertionError for processes, threads, descriptors

Reads /proc, so most of it works on Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from taskrunner.testing.waiting import eventually

PR_SET_CHILD_SUBREAPER: Final = 36
_GONE: Final = "ZX"


def descendants(pid: int) -> list[int]:
    """Processes below this one that have not ended, nearest first."""
    parents = {entry: parent_of(entry) for entry in _pids()}
    below: list[int] = []
    near = [pid]
    while near:
        near = [entry for entry, parent in parents.items() if parent in near]
        below += near
    return below


def parent_of(pid: int) -> int | None:
    """Its parent; None where there is no such process or it has ended."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in _GONE else int(stat[1])


def state_of(pid: int) -> str | None:
    """R, S, D, T (stopped), Z (ended, not waited for) …; None: there is no such process."""
    stat = _stat(pid)
    return None if stat is None else stat[0]


def is_alive(pid: int) -> bool:
    """Whether it has not ended; one that nobody has waited for yet has."""
    return (state_of(pid) or "X") not in _GONE


def fork_server_of(node: int) -> int:
    """The only child of a supervisor's own. Raises LookupError."""
    for pid in descendants(node):
        if parent_of(pid) == node:
            return pid
    raise LookupError(f"process {node} has no fork server")


def children_of(node: int) -> list[int]:
    """The processes in which the jobs of a supervisor run."""
    with contextlib.suppress(LookupError):
        server = fork_server_of(node)
        return [pid for pid in descendants(server) if parent_of(pid) == server]
    return []


# -- doing things to them


def send(pid: int, which: signal.Signals) -> None:
    """Send a signal; one that has ended does not mind."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, which)


def pause(pid: int) -> None:
    """SIGSTOP, and wait until it stands still."""
    send(pid, signal.SIGSTOP)
    eventually(lambda: (state_of(pid) or "X") in "TtZX", message=f"process {pid} stops")


def resume(pid: int) -> None:
    """SIGCONT."""
    send(pid, signal.SIGCONT)


@contextlib.contextmanager
def paused(*pids: int) -> Iterator[None]:
    """Processes stand still as long as the block runs."""
    try:
        for pid in pids:
            pause(pid)
        yield
    finally:
        for pid in pids:
            resume(pid)


def kill(*pids: int) -> None:
    """SIGKILL to all, and wait until they are gone."""
    for pid in pids:
        send(pid, signal.SIGKILL)
    wait_until_gone(pids)


def wait_until_gone(pids: Iterable[int], *, timeout: float = 10.0) -> None:
    """Wait until none of these processes lives. Raises AssertionError after `timeout` seconds."""
    asked = list(pids)

    def all_gone() -> bool:
        return not any(is_alive(pid) for pid in asked)

    eventually(all_gone, timeout=timeout, message=f"the processes {asked} are gone")


# -- nothing left over


def adopt_orphans(adopting: bool = True) -> None:
    """Become the parent of whatever below this process loses its own: then nothing gets out of
    sight. Linux; elsewhere it does nothing. Nobody waits for them: they stay as zombies."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopting), 0, 0, 0)


def with_environ(name: str, value: str) -> list[int]:
    """Living processes, but this one, that were started with this in their environment. One that
    has changed its title hides it."""
    wanted = f"\0{name}={value}\0".encode()
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            environ = b"\0" + Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
            if wanted in environ and pid != os.getpid() and is_alive(pid):
                found.append(pid)
    return found


def open_files(pid: int | None = None) -> dict[int, str]:
    """What each descriptor of a process (None: this one) is: a path, `socket:[…]`, `pipe:[…]`."""
    folder = Path(f"/proc/{pid or 'self'}/fd")
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for entry in list(folder.iterdir()):
            with contextlib.suppress(OSError):
                found[int(entry.name)] = os.readlink(entry)
    # The one through which the folder was read.
    return {fd: what for fd, what in found.items() if not what.endswith("/fd")}


@contextlib.contextmanager
def nothing_left_over(*, timeout: float = 10.0) -> Iterator[None]:
    """Raises AssertionError where, `timeout` seconds after the block, there are processes below
    this one, threads, or descriptors (sockets too) that were not there before it."""
    adopt_orphans()
    processes, threads, files = _belongings()
    try:
        yield
    finally:
        adopt_orphans(False)

    def left() -> list[str]:
        more_processes, more_threads, more_files = _belongings()
        return [
            *(f"process {pid}: {_title(pid)}" for pid in more_processes - processes),
            *(f"thread {thread.name}" for thread in more_threads - threads),
            *(f"descriptor {fd}: {what}" for fd, what in more_files - files),
        ]

    with contextlib.suppress(AssertionError):
        eventually(lambda: not left(), timeout=timeout)
    assert not (found := left()), f"left over: {'; '.join(found)}"


def _belongings() -> tuple[set[int], set[threading.Thread], set[tuple[int, str]]]:
    threads = {thread for thread in threading.enumerate() if thread.is_alive()}
    return set(descendants(os.getpid())), threads, set(open_files().items())


def _title(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "gone by now"
    return line.replace(b"\0", b" ").decode(errors="replace").strip()[:200]


def _pids() -> list[int]:
    try:
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return []


def _stat(pid: int) -> list[str] | None:
    """State, parent and what follows; None: there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rfind(")") + 2 :].split()
