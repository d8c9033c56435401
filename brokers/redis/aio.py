"""Connections for asyncio: a pool for each running loop.

A loop's connections are closed when it shuts down: an async generator of ours is left suspended in
it, and a loop closes those as the last thing it runs (`asyncio.run` does, and so does every runner).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from taskrunner.brokers.redis.address import Address
from taskrunner.brokers.redis.connection import Reply, Request, Talk, connection_options, pack
from taskrunner.brokers.redis.failures import FAILURES, translate

T = TypeVar("T")

_KINDS: Final[Mapping[str, Callable[..., Any]]] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}


class _Pool:
    """The connections of one loop that idle."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.idle: deque[Any] = deque()
        self.keeper: AsyncGenerator[None, None] = self._keep()

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        while self.idle:
            await self.idle.pop().disconnect()


class AsyncConnections:
    """Pools of connections to one address, by loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()
        self._of_parent: list[_Pool] = []

    async def talk(self, talk: Talk[T]) -> T:
        """Carry on a conversation to its end. Raises BrokerUnavailable."""
        try:
            requests = next(talk)
            while True:
                requests = talk.send(await self.exchange(requests))
        except StopIteration as end:
            result: T = end.value
            return result

    async def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        """One round trip; like Connections.exchange. Raises BrokerUnavailable."""
        if not requests:
            return []
        pool = await self._pool()
        try:
            if pool.idle:
                try:
                    return await _exchange(pool, pool.idle.pop(), requests)
                except RedisConnectionError as error:
                    if isinstance(error, AuthenticationError):
                        raise
                    await pool.close()
            connection = _KINDS[self._address.scheme](**connection_options(self._address))
            return await _exchange(pool, connection, requests)
        except FAILURES as error:
            await pool.close()
            raise translate(error, self._address.shown) from error

    def close(self) -> None:
        """Have each loop close what idles in it. One that is not running did so when it ended."""
        for loop, pool in list(self._pools.items()):
            if loop.is_running() and pool.pid == os.getpid():
                asyncio.run_coroutine_threadsafe(pool.close(), loop)

    async def _pool(self) -> _Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is not None and pool.pid == os.getpid():
            return pool
        if pool is not None:
            # Kept for ever: letting go of them would write to sockets that are the parent's.
            self._of_parent.append(pool)
        pool = self._pools[loop] = _Pool()
        await anext(pool.keeper)
        return pool


async def _exchange(pool: _Pool, connection: Any, requests: Sequence[Request]) -> list[Reply]:
    try:
        await connection.connect()
        await connection.send_packed_command(pack(connection, requests))
        replies = [await _read(connection) for _ in requests]
    except BaseException:
        # Also for a cancelled task: replies may still be on their way.
        await connection.disconnect(nowait=True)
        raise
    pool.idle.append(connection)
    return replies


async def _read(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
