"""The fork server: a process of one thread that has imported the application and forks children.

    supervisor ──SPEC──▶ fork server            a fresh interpreter, started once a generation
               ◀─MANIFEST or REFUSED──           the tasks it found, or the user's own traceback
               ──FORK + pipe, page──▶ ───fork──▶ child
               ──KILL──▶              ───kill──▶ child
               ◀─FORKED, EXITED──                pid; exit status, signal, peak memory

Why not `multiprocessing`'s: docs/decisions/0003-fork-server.md. It has a session of its own and acts
on no signal. When its line to the supervisor closes it kills its children, waits for them and
exits, so nothing outlives a killed supervisor.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import msgpack

from taskrunner import context, crashpoints, frames, registry, withheld
from taskrunner.app import App
from taskrunner.config import Config
from taskrunner.errors import AppNotFound
from taskrunner.schedules import Schedule
from taskrunner.worker.main import ChildSettings, run_child


class Line(IntEnum):
    """What travels on the line between supervisor and fork server; framed as in `frames`."""

    SPEC = 1
    FORK = 2
    KILL = 3
    MANIFEST = 11
    REFUSED = 12
    FORKED = 13
    FORK_FAILED = 14
    EXITED = 15


LOG_SETUP = "taskrunner.log:configure"
"""By name: logs are a layer above, and only a node of its own has them set up."""

CHILD_CODE = "from taskrunner.supervisor.forkserver import main_of_child as main; main()"
SERVER_CODE = "from taskrunner.supervisor.forkserver import main; main(int(sys.argv[1]))"


def command(code: str, path: list[str], *arguments: str) -> list[str]:
    """The command line of a fresh interpreter like this one, that finds the same modules."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-c", f"import sys; sys.path[:] = {path!r}; {code}", *arguments]


def load(spec: Mapping[str, Any]) -> App:
    """The application a spec names, with the supervisor's settings. Raises AppNotFound."""
    context.importing = True
    try:
        with withheld.while_importing(spec["secrets"]):
            if spec["path"]:
                app = registry.load_app_from_path(spec["path"], spec["target"])
            else:
                app = registry.load_app(spec["target"])
    finally:
        context.importing = False
    app.adopt(Config.unpack(spec["config"]))
    if spec["logs"]:
        configure = registry.load(LOG_SETUP)
        configure(app.config.log_level, app.config.log_format)
    return app


def main(line_fd: int) -> None:
    """Run the fork server on an inherited socket until that closes."""
    _act_on_no_signal()
    line = socket.socket(fileno=line_fd)
    ForkServer(line).run()


def main_of_child() -> None:
    """A child that had to import the application itself; see `ForkServer._spawn`."""
    _act_on_no_signal()
    spec, pipe_fd, page_fd, settings = msgpack.unpackb(sys.stdin.buffer.read())
    run_child(load(spec), pipe_fd, page_fd, ChildSettings(*settings))


def _act_on_no_signal() -> None:
    # A handler that does nothing, and not SIG_IGN: that one would be inherited by every program a
    # task starts, which could then not be stopped by TERM.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)


def _kib(peak: int) -> int:
    """A peak of memory as the kernel counts it, which is in bytes on macOS."""
    return peak // 1024 if sys.platform == "darwin" else peak


class ForkServer:
    """Imports, then serves requests one by one."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._decoder = frames.Decoder()
        self._fds: deque[int] = deque()
        self._children: dict[int, int] = {}
        self._spec: dict[str, Any] = {}
        self._app: App | None = None
        self._wake_r, self._wake_w = os.pipe()

    def run(self) -> None:
        """Serve until the supervisor's end of the line is closed."""
        os.set_blocking(self._wake_w, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        try:
            while self._serve():
                pass
        finally:
            self._end()

    def _serve(self) -> bool:
        line = self._line.fileno()
        ready, _, _ = select.select([line, self._wake_r], [], [])
        if self._wake_r in ready:
            os.read(self._wake_r, 4096)
            self._reap()
        if line not in ready:
            return True
        try:
            data, fds, _, _ = socket.recv_fds(self._line, 1 << 16, 64)
        except ConnectionError:
            return False
        self._fds.extend(fds)
        for frame in self._decoder.feed(data):
            self._handle(frame)
        return bool(data)

    def _handle(self, frame: list[Any]) -> None:
        match frame:
            case [Line.SPEC, spec]:
                self._import(spec)
            case [Line.FORK, number, settings]:
                self._fork(number, settings, self._fds.popleft(), self._fds.popleft())
            case [Line.KILL, number, which]:
                self._kill(number, which)
            case _:
                raise frames.FrameError(f"the supervisor sent {frame[0]!r}")

    # -- import

    def _import(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        if crashpoints.ARMED:
            crashpoints.reach("forkserver.starting")
        try:
            self._app = load(spec)
            schedules = self._app.schedules.judged()
            registry.preload(self._app.config.broker, self._app.config.backend)
        except AppNotFound as error:
            self._send(Line.REFUSED, str(error), error.user_traceback)
            return
        except Exception as error:  # noqa: BLE001  whatever it is, the supervisor must hear of it
            self._send(Line.REFUSED, f"{type(error).__name__}: {error}", traceback.format_exc())
            return
        gc.collect()
        gc.freeze()
        if crashpoints.ARMED:
            crashpoints.reach("forkserver.imported")
        self._send(Line.MANIFEST, self._manifest(self._app, schedules))

    def _manifest(self, app: App, schedules: Mapping[str, Schedule]) -> dict[str, Any]:
        return {
            "tasks": {name: app.policy(name).pack() for name in app.tasks},
            "schedules": {name: schedule.pack() for name, schedule in schedules.items()},
            "threads": self._threads(),
        }

    @staticmethod
    def _threads() -> list[str]:
        """Threads that the import left running: forking would copy their locks, held for ever."""
        return [t.name for t in threading.enumerate() if t is not threading.main_thread()]

    # -- children

    def _fork(self, number: int, settings: list[Any], pipe_fd: int, page_fd: int) -> None:
        if crashpoints.ARMED:
            crashpoints.reach("forkserver.forking")
        try:
            if self._threads():
                pid = self._spawn(settings, pipe_fd, page_fd)
            else:
                pid = os.fork()
                if pid == 0:
                    self._become_child(pipe_fd, page_fd, settings)
        except OSError as error:
            self._send(Line.FORK_FAILED, number, str(error))
            return
        finally:
            # Kept open here, they would hide the child's death and leak into its siblings.
            os.close(pipe_fd)
            os.close(page_fd)
        self._children[pid] = number
        if crashpoints.ARMED:
            crashpoints.reach("forkserver.forked")
        self._send(Line.FORKED, number, pid)

    def _become_child(self, pipe_fd: int, page_fd: int, settings: list[Any]) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._line.close()
            os.close(self._wake_r)
            os.close(self._wake_w)
            assert self._app is not None
            run_child(self._app, pipe_fd, page_fd, ChildSettings(*settings))
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001  a fork must never return into the server's loop
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _spawn(self, settings: list[Any], pipe_fd: int, page_fd: int) -> int:
        """Start a child that imports the application itself, since forking is not safe here."""
        process = subprocess.Popen(
            command(CHILD_CODE, sys.path),
            stdin=subprocess.PIPE,
            pass_fds=(pipe_fd, page_fd),
        )
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(msgpack.packb([self._spec, pipe_fd, page_fd, settings]))
        process.returncode = 0  # _reap waits for it; Popen must not warn that nobody does
        return process.pid

    def _kill(self, number: int, which: int) -> None:
        for pid, child in self._children.items():
            if child == number:
                # One that has just ended is still a zombie: nobody else can have its pid.
                os.kill(pid, which)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:  # else a process that the user's import started
                if crashpoints.ARMED:
                    crashpoints.reach("forkserver.reaped")
                code = os.waitstatus_to_exitcode(status)
                self._send(Line.EXITED, number, pid, code, _kib(usage.ru_maxrss))

    def _send(self, kind: Line, *values: Any) -> None:
        # The supervisor is gone: the next read says so and ends the loop.
        with contextlib.suppress(OSError):
            self._line.sendall(frames.encode(kind, *values))

    def _end(self) -> None:
        if crashpoints.ARMED:
            crashpoints.reach("forkserver.ending")
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
