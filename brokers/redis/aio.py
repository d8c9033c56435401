"""Connections for asyncio: pools for each running loop, one for each server.

A loop's connections are closed when it shuts down: an async generator of ours is left suspended in
it, and a loop closes those as the last thing it runs (`asyncio.run` does, and so does every runner).
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from taskrunner.brokers.redis.address import Address, Server
from taskrunner.brokers.redis.connection import Talk, connection_options, was_closed
from taskrunner.brokers.redis.failures import FAILURES, translate
from taskrunner.brokers.redis.line import Reply, Request, packed

T = TypeVar("T")

_KINDS: Final[Mapping[str, Callable[..., Any]]] = {
    "redis": Connection,
    "rediss": SSLConnection,
    "unix": UnixDomainSocketConnection,
}


class AsyncPool:
    """Connections of one loop to one server. Raises what redis-py raises."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._idle: deque[Any] = deque()

    async def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        """One round trip, like Pool.exchange."""
        try:
            if self._idle:
                try:
                    return await self._exchange(self._idle.pop(), requests)
                except RedisConnectionError as error:
                    if not was_closed(error):
                        raise
                    await self.close()
            return await self._exchange(await self._connect(), requests)
        except FAILURES:
            # Whatever happened to this one may have happened to all: also where it was silence.
            await self.close()
            raise

    async def _exchange(self, connection: Any, requests: Sequence[Request]) -> list[Reply]:
        replies = await converse(connection, requests)
        self._idle.append(connection)
        return replies

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect()


class _Home:
    """The pools of one loop."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.pools: dict[Server | None, AsyncPool] = {}
        self.keeper: AsyncGenerator[None, None] = self._keep()

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        for pool in list(self.pools.values()):
            await pool.close()


class AsyncConnections(ABC):
    """A store of one server or of many, as its address says, from any loop."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._homes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Home] = WeakKeyDictionary()
        self._of_parent: list[_Home] = []

    async def talk(self, talk: Talk[T]) -> T:
        """Carry on a conversation to its end. Raises BrokerUnavailable."""
        try:
            requests = next(talk)
            while True:
                requests = talk.send(await self.exchange(requests))
        except StopIteration as end:
            result: T = end.value
            return result

    @abstractmethod
    async def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        """One round trip; like Connections.exchange. Raises BrokerUnavailable."""

    def close(self) -> None:
        """Have each loop close what idles in it. One that is not running did so when it ended."""
        for loop, home in list(self._homes.items()):
            if loop.is_running() and home.pid == os.getpid():
                asyncio.run_coroutine_threadsafe(home.close(), loop)

    async def _home(self) -> _Home:
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is not None and home.pid == os.getpid():
            return home
        if home is not None:
            # Kept for ever: letting go of them would write to sockets that are the parent's.
            self._of_parent.append(home)
        home = self._homes[loop] = _Home()
        await anext(home.keeper)
        return home


class AsyncOneServer(AsyncConnections):
    """The pools of the one server that the address names."""

    async def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        if not requests:
            return []
        pools = (await self._home()).pools
        pool = pools.get(None) or pools.setdefault(None, AsyncPool(self.connect))
        try:
            return await pool.exchange(requests)
        except FAILURES as error:
            raise translate(error, self.address.shown) from error

    async def connect(self) -> Any:
        """A new connection that does not belong to a pool. Raises what redis-py raises."""
        return await connect(self.address)


async def connect(address: Address) -> Any:
    """A new connection to one server. Raises what redis-py raises."""
    connection = _KINDS[address.scheme](**connection_options(address))
    await connection.connect()
    return connection


async def converse(connection: Any, requests: Sequence[Request]) -> list[Reply]:
    """One round trip on a connection, which is ended where that fails."""
    try:
        await connection.send_packed_command(packed(requests))
        return [await _read(connection) for _ in requests]
    except BaseException:
        # Also for a cancelled task: replies may still be on their way.
        await connection.disconnect(nowait=True)
        raise


async def _read(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
