"""A pytest plugin: fixtures for tests that want a real Redis.

    redis_server   one private redis-server for the whole session
    redis_url      its URL, with a store that is empty when the test begins
    redis_cluster  one private cluster of three servers for the whole session

pytest finds it where taskrunner is installed; in a clone tests/conftest.py names it. Without a
redis-server program these fixtures fail with a line that says so: a suite that skipped them would
look well and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from taskrunner.testing.redis_cluster import RedisCluster
    from taskrunner.testing.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One private server for the session; tests that stop or fill a server start their own."""
    # Here, because pytest loads this module in every project where taskrunner is installed.
    from taskrunner.testing.redis_server import RedisServer

    try:
        server = RedisServer()
        server.start()
    except FileNotFoundError as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The server's URL; everything in it was removed."""
    client = redis_server.client()
    try:
        client.flushall()
    finally:
        client.close()
    return redis_server.url


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """One private cluster for the session, never emptied: give each test a namespace of its own.
    Tests that stop servers of it start their own."""
    from taskrunner.testing.redis_cluster import RedisCluster

    try:
        cluster = RedisCluster().__enter__()
    except FileNotFoundError as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield cluster
    finally:
        cluster.__exit__(None, None, None)
