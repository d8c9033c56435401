"""A proxy in front of a Redis, or of anything that speaks over a stream, that breaks things.

    with RedisServer() as server, Proxy(server.url) as proxy:
        app = App(proxy.url)                              # or proxy.unix_url
        proxy.cut()                                       # every connection is reset, now
        lost = proxy.drop_reply(after=script("settle"))   # executed, but nobody hears of it
        lost.wait()
        proxy.silence()                                   # nothing arrives, nothing is closed
        proxy.heal()

    client ──TCP or unix──▶ Proxy, one thread ──TCP or unix──▶ server

Each method has taken effect when it returns. What is told of replies goes by the protocol of Redis:
the proxy knows when all that was sent in one write has been answered.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from taskrunner.testing._proxy_link import Fault, Flow, Link, Tally, Weather

__all__ = ["Fault", "Proxy", "Tally"]

HOST: Final = "127.0.0.1"
_PATIENCE_S: Final = 10.0
_CONNECT_S: Final = 2.0
_BACKLOG: Final = 128

Marks = bytes | str | Iterable[bytes | str]
"""Text or bytes that a request contains, or several of which it contains one."""


class Proxy:
    """Listens on a free TCP port and on a unix socket, and passes on to `target`: a broker URL
    (`redis://`, `rediss://`, `unix://`) or `host:port`."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target if "://" in target else f"tcp://{target}")
        self._folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self._weather = Weather()
        self._tally = Tally()
        self._faults: list[Fault] = []
        self._links: list[Link] = []
        self._listeners: list[socket.socket] = []
        self._asked: deque[tuple[Callable[[], object], threading.Event]] = deque()
        self._ending = False
        # Holds the port while nobody listens, so that connecting is refused and not somebody's.
        self._place = _tcp(0)
        self.port: int = self._place.getsockname()[1]
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="taskrunner proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        self._listen()
        self._thread.start()

    def close(self) -> None:
        """End every connection and the thread."""
        if self._thread.is_alive():
            self._ending = True
            os.write(self._wake, b"\0")
            self._thread.join()
        for link in self._links:
            link.close()
        self._refuse()
        self._place.close()
        with contextlib.suppress(OSError):
            os.close(self._woken)
            os.close(self._wake)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- where it is

    @property
    def url(self) -> str:
        """The target's URL, by way of the proxy, over TCP."""
        parts = self._target
        scheme, path, query = parts.scheme, parts.path, parts.query
        if scheme == "unix":
            database = query.removeprefix("db=") if query.startswith("db=") else "0"
            scheme, path, query = "redis", f"/{database}", ""
        host = parts.hostname if parts.hostname == "localhost" else HOST
        return urlunsplit((scheme, f"{_login(parts)}{host}:{self.port}", path, query, ""))

    @property
    def unix_url(self) -> str:
        """The same over a unix socket. There is none for `rediss://`."""
        if self._target.scheme == "rediss":
            raise ValueError("TLS goes over TCP: there is no unix:// URL for rediss://")
        database = self._target.path.strip("/") if self._target.scheme != "unix" else ""
        query = f"db={database}" if database else self._target.query
        return f"unix://{_login(self._target)}{self.socket_path}{query and '?'}{query}"

    @property
    def socket_path(self) -> Path:
        return self._folder / "proxy.sock"

    @property
    def tally(self) -> Tally:
        """Counters of what went through."""
        return self._tally

    @property
    def connections(self) -> int:
        """Connections that are open now, forgotten ones too."""
        return len(self._links)

    # -- faults of all connections

    def cut(self) -> None:
        """Reset every connection. New ones are let through."""

        def cut() -> None:
            for link in self._links:
                link.cut()

        self._do(cut)

    def refuse(self) -> None:
        """Refuse new connections, until healed. Those there are go on."""
        self._do(self._refuse)

    def silence(self) -> None:
        """Pass nothing on, either way and on new connections too, and close nothing: as where a
        cable was pulled. Healed, what was sent meanwhile arrives."""
        self._do(lambda: setattr(self._weather, "silent", True))

    def forget(self) -> None:
        """Never pass anything on again on the connections there are, not even their end; new ones
        work. As where a firewall forgot them: neither side is told."""

        def forget() -> None:
            for link in self._links:
                link.is_forgotten = True

        self._do(forget)

    def delay(self, seconds: float) -> None:
        """Pass on everything that much later, each way, until healed."""
        self._do(lambda: setattr(self._weather, "delay_s", seconds))

    def throttle(self, bytes_per_s: float) -> None:
        """Pass on no faster than that, each way on each connection, until healed."""
        self._do(lambda: setattr(self._weather, "bytes_per_s", bytes_per_s))

    def heal(self) -> None:
        """End all that lasts, pass on what was held back, forget faults that have not happened."""
        self._do(self._heal)

    # -- faults of one request

    def drop_reply(self, *, after: Marks, times: int = 1) -> Fault:
        """Let the next request that contains these bytes through, swallow its reply, and then reset
        the connection: it was executed, and whoever asked cannot know."""
        return self._fault(after, on_reply=True, keep=0, cut=True, times=times)

    def half_reply(self, *, after: Marks, keep: int, cut: bool = False, times: int = 1) -> Fault:
        """Pass on only the first `keep` bytes of the reply to such a request. The rest is held
        until healed, and the connection stays; with `cut` it is reset."""
        return self._fault(after, on_reply=True, keep=keep, cut=cut, times=times)

    def drop_request(self, *, containing: Marks, keep: int = 0, times: int = 1) -> Fault:
        """Reset the connection on which such a request arrives, and pass on no more than its first
        `keep` bytes: it is not executed."""
        return self._fault(containing, on_reply=False, keep=keep, cut=True, times=times)

    def hold_request(self, *, containing: Marks, keep: int = 0, times: int = 1) -> Fault:
        """Pass on no more than the first `keep` bytes of such a request. The rest is held until
        healed, and the connection stays: whoever asked waits for an answer."""
        return self._fault(containing, on_reply=False, keep=keep, cut=False, times=times)

    def _fault(self, marks: Marks, *, on_reply: bool, keep: int, cut: bool, times: int) -> Fault:
        several = [marks] if isinstance(marks, bytes | str) else marks
        packed = tuple(m.encode() if isinstance(m, str) else m for m in several)
        fault = Fault(packed, on_reply=on_reply, keep=keep, cut=cut, times=times)
        self._do(lambda: self._faults.append(fault))
        return fault

    # -- the thread

    def _do(self, what: Callable[[], object]) -> None:
        """Have the thread do something, and wait until it has."""
        assert self._thread.is_alive(), "the proxy does not run"
        done = threading.Event()
        self._asked.append((what, done))
        os.write(self._wake, b"\0")
        assert done.wait(_PATIENCE_S), "the proxy is stuck"

    def _run(self) -> None:
        while not self._ending:
            self._turn()
            told = []
            while self._asked:
                what, done = self._asked.popleft()
                what()
                told.append(done)
            self._links = [link for link in self._links if not link.is_closed]
            for done in told:
                done.set()

    def _turn(self) -> None:
        """Wait until something can be done, and do it."""
        flows, timeout = self._interests(monotonic())
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        for fd, events in flows.items():
            poller.register(fd, sum(event for event, _ in events))
        for listener in () if self._weather.silent else self._listeners:
            poller.register(listener, select.POLLIN)
        ready = dict(poller.poll(timeout))
        if ready.pop(self._woken, 0):
            os.read(self._woken, 4096)
        now = monotonic()
        for listener in [ln for ln in self._listeners if ln.fileno() in ready]:
            self._accept(listener)
        for fd, events in flows.items():
            for event, act in events:
                # An error or a hang-up is found out by reading or writing.
                if ready.get(fd, 0) & (event | select.POLLERR | select.POLLHUP):
                    act(now)

    def _interests(
        self, now: float
    ) -> tuple[dict[int, list[tuple[int, Callable[[float], None]]]], float | None]:
        """By descriptor what is waited for and what to do then; and milliseconds until something
        that waits falls due."""
        wanted: dict[int, list[tuple[int, Callable[[float], None]]]] = {}
        soonest: float | None = None
        if self._weather.silent:
            return wanted, soonest
        for link in self._links:
            if link.is_forgotten:
                continue
            for flow in (link.up, link.down):
                if flow.wants_read:
                    act = _reading(link, flow)
                    wanted.setdefault(flow.source.fileno(), []).append((select.POLLIN, act))
                due = flow.due()
                if due is not None and due <= now:
                    act = _writing(link, flow)
                    wanted.setdefault(flow.sink.fileno(), []).append((select.POLLOUT, act))
                elif due is not None:
                    soonest = min(soonest or due, due)
        # Rounded up: a poll that ends too early would only be made again.
        return wanted, None if soonest is None else 1000 * max(0.0, soonest - now) + 1

    # -- connections

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            server = self._connect()
        except OSError:
            client.close()
            return
        self._tally.connections += 1
        link = Link(
            client,
            server,
            faults=lambda: self._faults,
            weather=self._weather,
            tally=self._tally,
        )
        self._links.append(link)

    def _connect(self) -> socket.socket:
        parts = self._target
        if parts.scheme == "unix":
            server = socket.socket(socket.AF_UNIX)
            server.settimeout(_CONNECT_S)
            try:
                server.connect(unquote(parts.path))
            except OSError:
                server.close()
                raise
            return server
        where = (parts.hostname or HOST, parts.port or 6379)
        server = socket.create_connection(where, timeout=_CONNECT_S)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _listen(self) -> None:
        tcp = _tcp(self.port)
        unix = socket.socket(socket.AF_UNIX)
        self.socket_path.unlink(missing_ok=True)
        unix.bind(str(self.socket_path))
        self._listeners = [tcp, unix]
        for listener in self._listeners:
            listener.listen(_BACKLOG)
            listener.setblocking(False)

    def _refuse(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _heal(self) -> None:
        self._weather.silent = False
        self._weather.delay_s = self._weather.bytes_per_s = 0.0
        self._faults.clear()
        for link in self._links:
            link.heal()
        if not self._listeners:
            self._listen()


def _reading(link: Link, flow: Flow) -> Callable[[float], None]:
    return lambda now: None if link.is_closed else link.read(flow, now)


def _writing(link: Link, flow: Flow) -> Callable[[float], None]:
    return lambda now: None if link.is_closed or flow.is_empty else link.write(flow, now)


def _tcp(port: int) -> socket.socket:
    """Bound to a port that others of ours may be bound to as well."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((HOST, port))
    return made


def _login(parts: SplitResult) -> str:
    user, at, _ = parts.netloc.rpartition("@")
    return user + at
