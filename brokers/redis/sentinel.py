"""The master that sentinels name, asked for anew with each connection.

    new connection ─▶ sentinel: where is NAME? ─▶ server: what is your ROLE? ─▶ master: used
                           │ no answer, or unknown          │ replica
                           ▼                                ▼
                       the next sentinel             away: a failover goes on

Replication is asynchronous: a new master may have missed the last writes of the old one. So a
change of masters is answered once as an outage, even where the new one is there already: whoever
holds deliveries compares them with what the store believes after every outage.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, TypeAlias

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

from taskrunner.brokers.redis import aio, connection
from taskrunner.brokers.redis.address import Address, Server
from taskrunner.brokers.redis.aio import AsyncOneServer
from taskrunner.brokers.redis.connection import OneServer
from taskrunner.brokers.redis.failures import FAILURES
from taskrunner.brokers.redis.line import Line, Reply, Request

ROLE: Final = [("ROLE",)]
_NOT_MASTER: Final = (ReadOnlyError, MasterDownError)

Search: TypeAlias = Generator[Server, Reply, Server]
"""Yields sentinels, is sent what each answered or the error; returns where the master is."""


class Watch:
    """What one process knows of the master: which one it was, and who is asked first."""

    def __init__(self, address: Address) -> None:
        self._service = address.service
        self._sentinels = list(address.servers)
        self._master: Server | None = None

    @property
    def question(self) -> Sequence[Request]:
        return [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)]

    def search(self) -> Search:
        """Ask one sentinel after the other. Raises ConnectionError where none knows."""
        problems: list[str] = []
        for sentinel in list(self._sentinels):
            answer = yield sentinel
            if isinstance(answer, list):
                # Asked first from now on, like whoever answers at once.
                self._sentinels = [sentinel, *(s for s in self._sentinels if s != sentinel)]
                return Server(answer[0].decode(), int(answer[1]))
            said = f"knows no master {self._service!r}" if answer is None else answer
            problems.append(f"sentinel {sentinel} {said}")
        raise RedisConnectionError("; ".join(problems))

    def judge(self, master: Server, role: Sequence[Any]) -> None:
        """Raises ConnectionError unless the server at hand may be used as the master."""
        if role[0] != b"master":
            said = role[0].decode(errors="replace")
            raise RedisConnectionError(f"{master} is no master but a {said}: a failover goes on")
        known, self._master = self._master, master
        if known not in (None, master):
            raise RedisConnectionError(f"the master is no longer {known} but {master}")


class Sentinels(OneServer):
    """Connections to whichever server is the master. Thread-safe."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._watch = Watch(address)

    def exchange(self, requests: Sequence[Request], timeout: float | None = None) -> list[Reply]:
        replies = super().exchange(requests, timeout)
        if _is_not_master(replies):
            self.close()
        return replies

    def connect(self) -> Line:
        master = self._find()
        link = connection.connect(self.address.at(master))
        try:
            (role,) = link.ask(ROLE)
            self._watch.judge(master, _checked(role))
        except BaseException:
            link.disconnect()
            raise
        return link

    def _find(self) -> Server:
        search = self._watch.search()
        try:
            sentinel = next(search)
            while True:
                sentinel = search.send(self._ask(sentinel))
        except StopIteration as end:
            found: Server = end.value
            return found

    def _ask(self, sentinel: Server) -> Reply:
        try:
            link = connection.connect(self.address.sentinel(sentinel))
            (answer,) = link.ask(self._watch.question)
            link.disconnect()
        except FAILURES as error:
            return error
        return answer


class AsyncSentinels(AsyncOneServer):
    """The same for asyncio."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._watch = Watch(address)

    async def exchange(self, requests: Sequence[Request]) -> list[Reply]:
        replies = await super().exchange(requests)
        if _is_not_master(replies):
            await (await self._home()).close()
        return replies

    async def connect(self) -> Any:
        master = await self._find()
        link = await aio.connect(self.address.at(master))
        try:
            (role,) = await aio.converse(link, ROLE)
            self._watch.judge(master, _checked(role))
        except BaseException:
            await link.disconnect(nowait=True)
            raise
        return link

    async def _find(self) -> Server:
        search = self._watch.search()
        try:
            sentinel = next(search)
            while True:
                sentinel = search.send(await self._ask(sentinel))
        except StopIteration as end:
            found: Server = end.value
            return found

    async def _ask(self, sentinel: Server) -> Reply:
        try:
            link = await aio.connect(self.address.sentinel(sentinel))
            (answer,) = await aio.converse(link, self._watch.question)
            await link.disconnect()
        except FAILURES as error:
            return error
        return answer


def _checked(reply: Reply) -> Sequence[Any]:
    """A reply that must not be an error. Raises it."""
    if isinstance(reply, ResponseError):
        raise reply
    answer: Sequence[Any] = reply
    return answer


def _is_not_master(replies: Sequence[Reply]) -> bool:
    return any(isinstance(reply, _NOT_MASTER) for reply in replies)
