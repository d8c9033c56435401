"""Connections to a Redis Cluster: a pool for each server, and a `Router` that says who has what.

One exchange is one round trip to each server concerned: everything is sent before anything is
read, so they work side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from taskrunner.brokers.redis import aio, connection
from taskrunner.brokers.redis.address import Address, Server
from taskrunner.brokers.redis.aio import AsyncConnections, AsyncPool
from taskrunner.brokers.redis.connection import Connections, Exchange, Pool
from taskrunner.brokers.redis.failures import FAILURES, translate
from taskrunner.brokers.redis.line import Line, Reply, Request
from taskrunner.brokers.redis.routing import Answers, Batches, Router
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable


class Cluster(Connections):
    """Connections to all masters of a cluster. Thread-safe."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._router = Router(address.servers)
        self._pools: dict[Server, Pool] = {}

    def exchange(self, requests: Sequence[Request], timeout: float | None = None) -> list[Reply]:
        if not requests:
            return []
        trip = self._router.trip(requests)
        try:
            batches = next(trip)
            while True:
                batches = trip.send(self._carry(batches, timeout))
        except StopIteration as end:
            replies: list[Reply] = end.value
            return replies

    def each_server(self) -> Iterator[Exchange]:
        """The exchange of every master that has slots."""
        self.exchange([("PING",)])  # after which the slots are known, if they can be
        for server in self._router.servers:
            yield partial(self._exchange_with, server)

    def _exchange_with(self, server: Server, requests: Sequence[Request]) -> list[Reply]:
        try:
            return self._pool(server).exchange(requests) if requests else []
        except FAILURES as error:
            raise translate(error, self.address.at(server).shown) from error

    def connect(self) -> Line:
        """To any server: what is published at one is heard at all."""
        error: Exception = RedisConnectionError("no server of the cluster is known")
        for server in self._router.candidates():
            try:
                return connection.connect(self.address.at(server))
            except FAILURES as failure:
                self._router.failed(server, failure)
                error = failure
        raise error

    def lost(self, error: Exception) -> BrokerUnavailable:
        """Its server, perhaps; the next one may be there."""
        return PartlyUnavailable(str(super().lost(error)), queues=frozenset(), answer=[])

    def close(self) -> None:
        for pool in list(self._pools.values()):
            pool.close()

    def _carry(self, batches: Batches, timeout: float | None) -> Answers:
        """Send all, then read all. An error stands in its server's place."""
        answers: dict[Server, list[Reply] | Exception] = {}
        sent: dict[Server, tuple[Line, bool]] = {}
        try:
            for server, requests in batches.items():
                try:
                    sent[server] = self._pool(server).send(requests, timeout)
                except FAILURES as error:
                    answers[server] = error
            for server in list(sent):
                link, is_fresh = sent.pop(server)
                try:
                    answers[server] = self._pool(server).receive(
                        link, batches[server], timeout, is_fresh=is_fresh
                    )
                except FAILURES as error:
                    answers[server] = error
        finally:
            for link, _ in sent.values():  # interrupted: its replies are still on their way
                link.disconnect()
        return answers

    def _pool(self, server: Server) -> Pool:
        pool = self._pools.get(server)
        if pool is None:
            address = self.address.at(server)
            pool = self._pools.setdefault(server, Pool(lambda: connection.connect(address)))
        return pool


class AsyncCluster(AsyncConnections):
    """The same for asyncio; one server after the other."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._router = Router(address.servers)

    async def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        if not requests:
            return []
        trip = self._router.trip(requests)
        try:
            batches = next(trip)
            while True:
                batches = trip.send(await self._carry(batches))
        except StopIteration as end:
            replies: list[Reply] = end.value
            return replies

    async def _carry(self, batches: Batches) -> Answers:
        answers: dict[Server, list[Reply] | Exception] = {}
        for server, requests in batches.items():
            try:
                answers[server] = await (await self._pool(server)).exchange(requests)
            except FAILURES as error:
                answers[server] = error
        return answers

    async def _pool(self, server: Server) -> AsyncPool:
        pools = (await self._home()).pools
        pool = pools.get(server)
        if pool is None:
            address = self.address.at(server)

            async def connect() -> Any:
                return await aio.connect(address)

            pool = pools.setdefault(server, AsyncPool(connect))
        return pool
