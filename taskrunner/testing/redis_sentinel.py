"""A private Redis with a replica, and sentinels that put the one in the other's place.

    with RedisSentinel() as store:
        App(store.url)               # redis+sentinel://127.0.0.1:PORT/mymaster/0
        store.master.kill()          # half a second later its replica is the master
        store.wait_for_master(store.replica)

All of them live on free ports and in temporary folders, and end with the block.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from taskrunner.testing.redis_server import RedisServer, Tls
from taskrunner.testing.waiting import eventually

NAME: Final = "mymaster"
DOWN_AFTER_MS: Final = 500
_FAILOVER_TIMEOUT_MS: Final = 1000
_PATIENCE_S: Final = 30.0


class RedisSentinel:
    """A master, one replica of it and `sentinels` processes that watch them.

    `password` is that of both servers, `sentinel_password` that of the sentinels. With `appendonly`
    each server keeps every write. With `tls`, whose certificate must name 127.0.0.1, everybody speaks
    only that. Raises FileNotFoundError where no redis-server is installed.
    """

    def __init__(
        self,
        *,
        sentinels: int = 1,
        appendonly: bool = False,
        password: str | None = None,
        sentinel_password: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "appendonly": appendonly,
            "password": password,
            "tls": tls,
        }
        self._tls = tls
        self._password = password
        self._sentinel_password = sentinel_password
        self._count = sentinels
        self._ends = contextlib.ExitStack()
        self.sentinels: list[SentinelServer] = []

    def __enter__(self) -> RedisSentinel:
        with contextlib.ExitStack() as ends:
            extra = ["--masterauth", self._password] if self._password else []
            extra += ["--repl-diskless-sync-delay", "0"]
            extra += ["--tls-replication", "yes"] if self._tls else []
            self.master = ends.enter_context(RedisServer(**self._options, extra=extra))
            of = ["--replicaof", "127.0.0.1", str(self.master.port)]
            self.replica = ends.enter_context(RedisServer(**self._options, extra=[*extra, *of]))
            self.replica.wait_for(_is_in_step)
            for _ in range(self._count):
                server = SentinelServer(
                    self.master.port,
                    quorum=self._count // 2 + 1,
                    master_password=self._password,
                    password=self._sentinel_password,
                    tls=self._tls,
                )
                ends.enter_context(server)
                self.sentinels.append(server)
            for server in self.sentinels:
                server.wait_for(self._sees_all)
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._ends.close()

    @property
    def url(self) -> str:
        """By way of the sentinels, database 0."""
        login = f":{self._password}@" if self._password else ""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.sentinels)
        options = [f"sentinel_password={self._sentinel_password}"] * bool(self._sentinel_password)
        options += [f"ssl_ca_certs={self._tls.ca}"] if self._tls else []
        scheme = "rediss+sentinel" if self._tls else "redis+sentinel"
        query = f"?{'&'.join(options)}" if options else ""
        return f"{scheme}://{login}{hosts}/{NAME}/0{query}"

    def wait_for_master(self, server: RedisServer) -> None:
        """Wait until every sentinel names this server, and it says so itself."""

        def is_named() -> bool:
            return all(sentinel.master_port() == server.port for sentinel in self.sentinels)

        eventually(is_named, timeout=_PATIENCE_S, message="the sentinels agree on a new master")
        server.wait_for(lambda client: client.info("replication")["role"] == "master")

    def _sees_all(self, sentinel: Redis) -> bool:
        found: Any = sentinel.sentinel_master(NAME)
        known: bool = found["num-slaves"] == 1 and found["num-other-sentinels"] == self._count - 1
        return known


class SentinelServer(RedisServer):
    """One sentinel, which watches the master at a port of this machine."""

    def __init__(
        self,
        master_port: int,
        *,
        quorum: int,
        master_password: str | None,
        password: str | None,
        tls: Tls | None,
    ) -> None:
        super().__init__(password=password, tls=tls)
        self._lines = [
            f"sentinel monitor {NAME} 127.0.0.1 {master_port} {quorum}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} {_FAILOVER_TIMEOUT_MS}",
            *[f"sentinel auth-pass {NAME} {master_password}"] * bool(master_password),
            *[f"requirepass {password}"] * bool(password),
            *[f"sentinel sentinel-pass {password}"] * bool(password),
        ]

    def master_port(self) -> int | None:
        """Of whom it calls the master."""
        with contextlib.closing(self.client()) as client:
            try:
                found: Any = client.sentinel_get_master_addr_by_name(NAME)
            except (RedisError, OSError):
                return None
        return found and int(found[1])

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        place = [*self._ports(port), "bind 127.0.0.1", f"dir {self.folder}", "logfile redis.log"]
        lines = [*place, f"unixsocket {self.socket_path}", *self._lines]
        # It writes into this file what it has learnt.
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        return self._run(["sentinel.conf", "--sentinel"])

    def _ports(self, port: int) -> list[str]:
        if self.tls is None:
            return [f"port {port}"]
        return [
            *("port 0", f"tls-port {port}", "tls-replication yes", "tls-auth-clients no"),
            *(f"tls-cert-file {self.tls.cert}", f"tls-key-file {self.tls.key}"),
            f"tls-ca-cert-file {self.tls.ca}",
        ]


def _is_in_step(replica: Redis) -> bool:
    return bool(replica.info("replication")["master_link_status"] == "up")


__all__: Sequence[str] = ("NAME", "RedisSentinel", "SentinelServer")
