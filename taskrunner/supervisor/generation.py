"""The supervisor's handle on a fork server, and so on one version of the user's code.

A generation is a fork server with its manifest and its children. The supervisor holds one, and two
while code is being replaced. `ThreadGeneration` is its stand-in inside one process, for tasks that
no other process can import.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from taskrunner import frames, withheld
from taskrunner.app import App
from taskrunner.config import Config
from taskrunner.errors import AppNotFound, StartError
from taskrunner.retry import Policy
from taskrunner.schedules import Schedule
from taskrunner.supervisor.forkserver import SERVER_CODE, Line, command
from taskrunner.worker import evidence
from taskrunner.worker.main import ChildSettings, run_child


@dataclass(frozen=True, slots=True)
class Target:
    """Where the application is: `module:attribute`, or the attribute of a script given by path."""

    name: str
    path: str | None = None

    @property
    def owner(self) -> str:
        """A name that is the same on every machine."""
        return self.name if self.path is None else f"{Path(self.path).stem}:{self.name}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an application declares, as its fork server found it."""

    tasks: Mapping[str, Policy]
    threads: tuple[str, ...] = ()
    """left running by the import"""
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    owner: str = ""
    """whose schedules they are: the application, by a name that all its nodes know it by"""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended."""

    number: int
    pid: int
    code: int
    """exit status; negative: the signal that killed it"""
    peak_memory_kib: int = 0

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exit status {self.code}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-self.code).name}"
        return f"signal {-self.code}"


def check_backend(app: App) -> None:
    """Raise StartError where worker processes could not see each other's results."""
    if app.backend is not None and not app.backend.shared:
        raise StartError(
            "the result backend lives in the memory of one process, and worker processes could not "
            "read results from it: use one that is shared, such as redis://localhost:6379/0, leave "
            "it out (the broker keeps results itself), or app.running(threads=N)"
        )


class Hears(Protocol):
    """Who is told what happens to the children of a generation. Called on the loop's thread."""

    def child_forked(self, number: int, pid: int) -> None: ...
    def child_exited(self, exit_: Exit) -> None: ...
    def fork_failed(self, number: int, why: str) -> None: ...
    def fork_server_died(self, generation: Generation) -> None: ...


class Generation(Protocol):
    """Something that makes children."""

    manifest: Manifest

    @property
    def server_pid(self) -> int:
        """Of the process that forks; 0: there is none."""
        ...

    @property
    def is_alive(self) -> bool:
        """It can make children: it has started, and has neither died nor been stopped."""
        ...

    @property
    def can_reload(self) -> bool:
        """A later one would import the code anew."""
        ...

    def kill_server(self) -> None:
        """End that process: its children end with it."""
        ...

    async def start(self) -> None:
        """Import the application. Raises AppNotFound, StartError."""
        ...

    def fork(self, settings: ChildSettings, pipe_fd: int, page_fd: int) -> None:
        """Make a child that owns these descriptors; the caller closes its own copies."""
        ...

    def dump(self, number: int) -> bool:
        """Have a child write down the stacks of its threads, a stopped one too; False where there
        is nothing to wait for."""
        ...

    def kill(self, number: int) -> None: ...
    async def stop(self) -> None: ...


class ForkedGeneration:
    """A fork server in a process of its own. With `logs` it and its children write log lines."""

    can_reload = True

    def __init__(self, target: Target, config: Config, *, hears: Hears, logs: bool = False) -> None:
        self._target = target
        self._logs = logs
        self._config = config
        self._hears = hears
        self._decoder = frames.Decoder()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._started: asyncio.Future[Manifest] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self.manifest = Manifest({})

    @property
    def server_pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def is_alive(self) -> bool:
        return self._line is not None

    def kill_server(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def start(self) -> None:
        """Start the interpreter, have it import, read the manifest."""
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.create_future()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                command(SERVER_CODE, sys.path, str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=withheld.for_tasks(os.environ),
                start_new_session=True,
            )
        self._line = ours
        ours.setblocking(False)
        self._loop.add_reader(ours.fileno(), self._readable)
        self._send(
            Line.SPEC,
            {
                "target": self._target.name,
                "path": self._target.path,
                "config": self._config.pack(),
                "logs": self._logs,
                "secrets": withheld.besides(os.environ),
            },
        )
        try:
            async with asyncio.timeout(self._config.start_timeout_s):
                self.manifest = await self._started
        except TimeoutError:
            await self.stop()
            limit = self._config.start_timeout_s
            raise StartError(f"importing {self._target.name} took over {limit:g} s") from None
        except BaseException:
            await self.stop()
            raise

    def fork(self, settings: ChildSettings, pipe_fd: int, page_fd: int) -> None:
        frame = frames.encode(Line.FORK, settings.number, list(astuple(settings)))
        self._send_bytes(frame, [pipe_fd, page_fd])

    def dump(self, number: int) -> bool:
        self._send(Line.KILL, number, int(evidence.SIGNAL))
        self._send(Line.KILL, number, int(signal.SIGCONT))
        return True

    def kill(self, number: int) -> None:
        """Kill a child; asked of its parent, for whom its pid cannot have been used again."""
        self._send(Line.KILL, number, int(signal.SIGKILL))

    async def stop(self) -> None:
        """Close the line: the fork server kills what is left, and exits. Waits for its end."""
        self._stopping = True
        if self._line is not None and self._loop is not None:
            self._loop.remove_reader(self._line.fileno())
            self._line.close()
            self._line = None
        if self._process is not None:
            await self._ended(self._process)

    async def _ended(self, process: subprocess.Popen[bytes]) -> None:
        try:
            await asyncio.wait_for(asyncio.to_thread(process.wait, 2), 3)
        except (subprocess.TimeoutExpired, TimeoutError):
            # Stuck in the user's import, or stopped: its children die with it, by their own wish.
            process.kill()
            await asyncio.to_thread(process.wait)

    # -- the line

    def _send(self, kind: Line, *values: Any) -> None:
        self._send_bytes(frames.encode(kind, *values), [])

    def _send_bytes(self, frame: bytes, fds: list[int]) -> None:
        if self._line is None:
            return
        try:
            # Requests are few and small beside the socket's buffer; one that is full belongs to a
            # fork server that has stopped, and its end is what the supervisor must hear of.
            if fds:
                socket.send_fds(self._line, [frame], fds)
            else:
                self._line.sendall(frame)
        except OSError:
            if self._process is not None:
                self._process.kill()

    def _readable(self) -> None:
        assert self._line is not None
        try:
            data = self._line.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._lost("died while it did")
            return
        try:
            for frame in self._decoder.feed(data):
                self._handle(frame)
        except frames.FrameError as error:
            # Something that was imported writes where it should not. No later word of this process
            # could be believed, and its children die with it.
            assert self._process is not None
            self._process.kill()
            self._lost(f"spoke nonsense on its line: {error}")

    def _handle(self, frame: list[Any]) -> None:
        match frame:
            case [Line.MANIFEST, dict() as found]:
                self._answer(_manifest(found, self._target.owner))
            case [Line.REFUSED, str() as message, str() as user_traceback]:
                self._answer(AppNotFound(message, user_traceback=user_traceback))
            case [Line.FORKED, int() as number, int() as pid] if pid > 1:
                self._hears.child_forked(number, pid)
            case [Line.FORK_FAILED, int() as number, str() as why]:
                self._hears.fork_failed(number, why)
            case [Line.EXITED, int() as number, int() as pid, int() as code, int() as memory]:
                self._hears.child_exited(Exit(number, pid, code, memory))
            case _:
                raise frames.FrameError(f"a frame of kind {frame[0]} that makes no sense")

    def _answer(self, answer: Manifest | AppNotFound) -> None:
        assert self._started is not None
        if self._started.done():
            return
        if isinstance(answer, Manifest):
            self._started.set_result(answer)
        else:
            self._started.set_exception(answer)

    def _lost(self, how: str) -> None:
        assert self._line is not None
        assert self._loop is not None
        assert self._started is not None
        self._loop.remove_reader(self._line.fileno())
        self._line.close()
        self._line = None
        if not self._started.done():
            error = f"the process that imports {self._target.name} {how}"
            self._started.set_exception(StartError(error))
        elif not self._stopping:
            self._hears.fork_server_died(self)


def _manifest(found: Mapping[str, Any], owner: str) -> Manifest:
    try:
        tasks = {name: Policy.unpack(packed) for name, packed in found["tasks"].items()}
        packed = found["schedules"].items()
        schedules = {name: Schedule.unpack(name, one) for name, one in packed}
        return Manifest(tasks, tuple(found["threads"]), schedules, owner)
    except Exception as error:
        raise frames.FrameError(f"not a manifest: {type(error).__name__}: {error}") from error


class ThreadGeneration:
    """Children that are threads of this process. They cannot be killed, only interrupted."""

    server_pid = 0
    is_alive = True
    can_reload = False

    def __init__(self, app: App, *, hears: Hears, owner: str = "") -> None:
        self._app = app
        self._hears = hears
        self._threads: list[threading.Thread] = []
        self.manifest = Manifest(
            {name: app.policy(name) for name in app.tasks},
            schedules=app.schedules.judged(),
            owner=owner,
        )

    def kill_server(self) -> None:
        """There is none."""

    async def start(self) -> None:
        """Nothing to import: the application is here."""

    def fork(self, settings: ChildSettings, pipe_fd: int, page_fd: int) -> None:
        loop = asyncio.get_running_loop()
        fds = os.dup(pipe_fd), os.dup(page_fd)
        thread = threading.Thread(
            target=self._live,
            args=(settings, *fds, loop),
            name=f"taskrunner worker {settings.number}",
            daemon=True,
        )
        self._threads.append(thread)
        thread.start()
        self._hears.child_forked(settings.number, os.getpid())

    def _live(
        self,
        settings: ChildSettings,
        pipe_fd: int,
        page_fd: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        run_child(self._app, pipe_fd, page_fd, settings)
        end = Exit(settings.number, os.getpid(), 0)
        with contextlib.suppress(RuntimeError):  # the loop has ended before us
            loop.call_soon_threadsafe(self._hears.child_exited, end)

    def dump(self, number: int) -> bool:
        return False

    def kill(self, number: int) -> None:
        """A thread cannot be killed: it goes on, as a daemon, and its outcome is fenced off."""
        self._hears.child_exited(Exit(number, os.getpid(), -int(signal.SIGKILL)))

    async def stop(self) -> None:
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 0.2)
