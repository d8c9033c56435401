"""A private redis-server for tests.

    with RedisServer() as server:
        App(server.url)                  # a TCP port of its own on the loopback address
        App(server.unix_url)             # the same server on a unix socket
        server.kill(); server.start()
        server.keep(fsync="everysec")    # an append-only file, from now on
        older = server.snapshot(); ...; server.restore(older)
        with server.paused(): ...

It lives in a temporary folder, writes to nowhere else, and ends with the block.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from taskrunner.testing.processes import pause, paused, resume
from taskrunner.testing.waiting import eventually

PROGRAM: Final = "redis-server"
_START_S: Final = 20.0
_ATTEMPTS: Final = 5
_FORGETS: Final = ("--appendonly", "no")
_APPENDS: Final = ("--appendonly", "yes", "--appendfsync", "always")
_DUMP: Final = "dump.rdb"
_APPENDED: Final = "appendonly*"
"""A folder, or a file before Redis 7."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files with which a server speaks TLS, on its TCP port, and only TLS."""

    cert: Path
    key: Path
    ca: Path


class RedisServer:
    """A redis-server process with an empty store.

    `appendonly` keeps every write, with an fsync each; `maxmemory` is in bytes, with `noeviction`.
    Raises FileNotFoundError where no redis-server is installed.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        password: str | None = None,
        user: str | None = None,
        maxmemory: int = 0,
        tls: Tls | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        self.tls = tls
        self.password = password
        self.user = user
        self.port = 0
        self._options = _options(password, user, maxmemory, extra)
        self._keeping = _APPENDS if appendonly else _FORGETS
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))

    def __enter__(self) -> RedisServer:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """By TCP, database 0."""
        if self.tls is not None:
            return f"rediss://{self._login}localhost:{self.port}/0?ssl_ca_certs={self.tls.ca}"
        return f"redis://{self._login}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """By unix socket, database 0."""
        return f"unix://{self._login}{self.socket_path}?db=0"

    @property
    def socket_path(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def _login(self) -> str:
        return f"{self.user or ''}:{self.password}@" if self.password else ""

    def client(self, db: int = 0) -> Redis:
        """A client of the redis library, for looking behind the scenes; close it."""
        return Redis(
            unix_socket_path=str(self.socket_path),
            db=db,
            username=self.user,
            password=self.password,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def start(self) -> None:
        """Start it, or start it again on the same port with the data that it kept. Raises
        RuntimeError where it runs: a second one would take its place, and nobody would end it."""
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"{PROGRAM} runs already, with the pid {self.pid}")
        if shutil.which(PROGRAM) is None:
            raise FileNotFoundError(f"no {PROGRAM} on this machine: install it, or run `make test`")
        for _ in range(1 if self.port else _ATTEMPTS):
            port = self.port or self._new_port()
            self._process = self._spawn(port)
            if self._answers():
                self.port = port
                return
        raise RuntimeError(f"{PROGRAM} does not start:\n{self.log()}")

    def stop(self) -> None:
        """Let it end in good order; it saves what it keeps."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it if it runs, and start it with the data that it kept."""
        self.stop()
        self.start()

    # -- what it keeps

    def keep(self, *, fsync: Literal["always", "everysec", "no"] | None) -> None:
        """Keep an append-only file from now on, synced so often; None: keep nothing any more. It
        must run. What is in the store stays there."""
        if fsync is None:
            self._keeping = _FORGETS
            self._configure("appendonly", "no")
            return
        self._keeping = ("--appendonly", "yes", "--appendfsync", fsync)
        self._configure("appendfsync", fsync)
        self._configure("appendonly", "yes")
        self.wait_for(lambda client: not client.info("persistence")["aof_rewrite_in_progress"])

    def snapshot(self) -> Path:
        """Copy what is in the store now, for `restore`."""
        copy = Path(tempfile.mkdtemp(prefix="snapshot-", dir=self.folder))
        with contextlib.closing(self.client()) as client:
            client.save()
        # Moved, not copied: a server that keeps nothing must not find it when it starts again.
        shutil.move(self.folder / _DUMP, copy)
        with self.paused():
            for found in self.folder.glob(_APPENDED):
                (shutil.copytree if found.is_dir() else shutil.copy)(found, copy / found.name)
        return copy

    def restore(self, snapshot: Path) -> None:
        """Kill it and start it with what was in the store then: an older file."""
        self.kill()
        for found in self.folder.glob(_APPENDED):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        shutil.copytree(snapshot, self.folder, dirs_exist_ok=True)
        self.start()
        (self.folder / _DUMP).unlink()

    def _configure(self, name: str, value: str) -> None:
        with contextlib.closing(self.client()) as client:
            client.config_set(name, value)

    # -- standing still

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        pause(self.pid)

    def resume(self) -> None:
        resume(self.pid)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It stands still as long as the block runs."""
        with paused(self.pid):
            yield

    # -- the end

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, condition: Callable[[Redis], object]) -> None:
        """Wait until a condition on the server is true."""
        with contextlib.closing(self.client()) as client:
            eventually(lambda: condition(client))

    def _new_port(self) -> int:
        return _free_port()

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        # The socket's path has about 100 bytes at most, so it is given from the folder.
        ports = ["--port", str(port)]
        if self.tls is not None:
            ports = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
            ports += ["--tls-cert-file", str(self.tls.cert), "--tls-key-file", str(self.tls.key)]
            ports += ["--tls-ca-cert-file", str(self.tls.ca)]
        place = ["--bind", "127.0.0.1", "--unixsocket", "redis.sock", "--logfile", "redis.log"]
        return self._run(
            ["--dir", str(self.folder), *place, *ports, *self._keeping, *self._options]
        )

    def _run(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Not in our session: a Ctrl-C of ours is not meant for it.
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )

    def _answers(self) -> bool:
        """Whether it has come up; False if it ended, as for a port that somebody else took."""
        process = self._process
        assert process is not None

        def is_decided() -> bool:
            return process.poll() is not None or self._pings()

        eventually(is_decided, timeout=_START_S, message=f"{PROGRAM} starts")
        return process.poll() is None

    def _pings(self) -> bool:
        with contextlib.closing(self.client()) as client:
            try:
                return bool(client.ping())
            except (RedisError, OSError):
                return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
            process.wait(timeout=_START_S)


def _options(
    password: str | None,
    user: str | None,
    maxmemory: int,
    extra: Sequence[str],
) -> list[str]:
    options = ["--save", ""]
    if password and user:
        options += ["--user", user, "on", f">{password}", "~*", "&*", "+@all"]
        options += ["--user", "default", "off"]
    elif password:
        options += ["--requirepass", password]
    if maxmemory:
        options += ["--maxmemory", str(maxmemory), "--maxmemory-policy", "noeviction"]
    return [*options, *extra]


def _free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
