"""A server does with its data what a test asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from redis.exceptions import RedisError

from taskrunner.testing.processes import nothing_left_over
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with nothing_left_over(), RedisServer() as server:
        yield server


def put(server: RedisServer, **values: int) -> None:
    with server.client() as client:
        client.mset(values)


def kept(server: RedisServer) -> set[str]:
    with server.client() as client:
        keys: Any = client.keys()
        return {key.decode() for key in keys}


def test_it_forgets_unless_told_otherwise(server: RedisServer) -> None:
    put(server, a=1)
    server.kill()
    server.start()
    assert kept(server) == set()


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_it_keeps_what_it_has_from_when_it_is_told(
    server: RedisServer, fsync: Literal["always", "everysec", "no"]
) -> None:
    put(server, before=1)
    server.keep(fsync=fsync)
    put(server, after=1)
    server.restart()
    assert kept(server) == {"before", "after"}
    with server.client() as client:
        assert client.config_get("appendfsync") == {"appendfsync": fsync}
    server.keep(fsync=None)
    assert kept(server) == {"before", "after"}
    server.restart()
    assert kept(server) == set()


@pytest.mark.parametrize("appendonly", [True, False])
def test_it_starts_again_with_an_older_file(appendonly: bool) -> None:
    with RedisServer(appendonly=appendonly) as server:
        put(server, old=1)
        older = server.snapshot()
        put(server, new=1)
        for _ in range(2):
            server.restore(older)
            assert kept(server) == {"old"}
            put(server, newer=1)
        server.kill()
        server.start()
        assert kept(server) == ({"old", "newer"} if appendonly else set())


def test_it_is_not_started_twice(server: RedisServer) -> None:
    pid = server.pid
    with pytest.raises(RuntimeError, match=f"runs already, with the pid {pid}"):
        server.start()
    assert server.pid == pid
    server.kill()
    server.start()
    assert server.pid != pid


def test_it_stands_still(server: RedisServer) -> None:
    with server.client() as client:
        client.ping()
    with server.paused():
        silent = server.client()
        silent.connection_pool.connection_kwargs["socket_timeout"] = 0.1
        with pytest.raises(RedisError):
            silent.ping()
        silent.close()
    put(server, a=1)
    assert kept(server) == {"a"}


def test_one_that_stands_still_can_be_stopped(server: RedisServer) -> None:
    server.pause()
    server.stop()
    server.start()
    eventually(lambda: kept(server) == set())
