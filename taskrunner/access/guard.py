"""What stands in front of the HTTP service, as ASGI middleware: nobody gets past it unknown, too
often, with too much, or for too long; and no change without a line in the audit.

    host ─▶ who is it? ─▶ how often? ─▶ read the body ─▶ the service ─▶ headers ─▶ audit ─▶ answer
     403     401 429       429 503       413 408         500 504

The service finds who asks in `scope["state"]`: `identity`, `request_id`, and `audit`, a `Note` in which
it writes what a request was about. What it may do is asked of the identity there, where it is known which
queue and which task are concerned.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from taskrunner.access.audit import Auditor
from taskrunner.access.buckets import Buckets
from taskrunner.access.certificates import Certificate
from taskrunner.access.door import Credentials, Door
from taskrunner.access.identity import ANYBODY, Identity
from taskrunner.access.keyring import FRESH_S
from taskrunner.access.problems import Refusal
from taskrunner.access.rules import Rules
from taskrunner.access.visit import Gone, Message, Receive, Scope, Send, Visit
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.errors import AccessError, BrokerError, NotAllowed, TooManyRequests

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("taskrunner.access")
_POLICY_VIOLATION: Final = 1008


class Guard:
    """In front of `service`. Without a `door` it asks nobody who they are, and takes requests for
    this very machine only: for a service on a loopback address."""

    def __init__(
        self,
        service: Application,
        *,
        door: Door | None,
        auditor: Auditor,
        rules: Rules,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._service = service
        self._door = door
        self._auditor = auditor
        self._rules = rules
        self._clock = clock
        self._rates = Buckets(rules.request_rate, max(1.0, rules.request_rate), clock=clock)
        self._waits: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._service(scope, receive, self._ending(send))
        elif scope["type"] == "http":
            await self._serve(Visit(scope, receive, send, self._auditor, self._clock))
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    def _ending(self, send: Send) -> Send:
        """Lets a service end when what the audit has to say is stored."""

        async def ending(message: Message) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                await asyncio.to_thread(self._auditor.stop)
            await send(message)

        return ending

    async def _serve(self, visit: Visit) -> None:
        try:
            await self._pass(visit)
        except (AccessError, BrokerError) as error:
            await visit.refuse(Refusal.of(error))
        except TimeoutError:
            await visit.refuse(Refusal(504, "the request took too long, and may have been done"))
        except Gone:
            return
        except Exception as error:  # noqa: BLE001  whoever asks learns nothing of what happened
            _log.exception("request %s failed", visit.id)
            await visit.refuse(Refusal.of(error))

    async def _pass(self, visit: Visit) -> None:
        if visit.path in self._rules.public:
            await self._within(visit, visit.receive)
            return
        await self._recognise(visit)
        self._count(visit.identity)
        body = await self._body(visit)
        if body is None:
            return
        if self._rules.is_wait(visit.scope):
            await self._wait(visit, body)
        else:
            await self._within(visit, body)

    # -- who

    async def _recognise(self, visit: Visit) -> None:
        if self._door is None:
            _check_neighbour(visit, self._rules.origins)
            visit.identity = ANYBODY
        else:
            visit.identity = await self._identify(self._door, visit)

    async def _identify(self, door: Door, visit: Visit) -> Identity:
        certificate = Certificate.of(visit.certificate)
        try:
            shown = Credentials.of(
                visit.scope["headers"], certificate=certificate, address=visit.address
            )
            known = door.quick(shown)
            return known if known is not None else await asyncio.to_thread(door.look, shown)
        except AccessError as error:
            if not isinstance(error, TooManyRequests):
                _log.info("refused %s: %s", visit.address, error)
            raise

    def _count(self, identity: Identity) -> None:
        wait = self._rates.take(str(identity))
        if wait > 0:
            raise TooManyRequests(
                f"more than {self._rules.request_rate:g} requests a second", retry_after=wait
            )

    # -- with what

    async def _body(self, visit: Visit) -> Receive | None:
        """The request with its body read, all of it; None: it was refused."""
        if visit.method in ("GET", "HEAD"):
            return visit.receive
        limit = self._rules.request_limit_bytes
        if visit.announced > limit:
            await visit.refuse(_too_large(limit), close=True)
            return None
        try:
            async with asyncio.timeout(self._rules.body_timeout_s):
                content = await visit.read(limit)
        except TimeoutError:
            refusal = Refusal(408, f"the body did not come in {self._rules.body_timeout_s:g} s")
            await visit.refuse(refusal, close=True)
            return None
        if content is None:
            await visit.refuse(_too_large(limit), close=True)
            return None
        return visit.again(content)

    # -- for how long

    async def _within(self, visit: Visit, receive: Receive) -> None:
        async with asyncio.timeout(self._rules.request_timeout_s):
            await self._service(visit.scope, receive, visit.send)

    async def _wait(self, visit: Visit, receive: Receive) -> None:
        """A request that waits on purpose: so many at a time, and only while who asked may."""
        who = str(visit.identity)
        if self._waits.total() >= self._rules.waits:
            raise TooManyRequests("too many requests wait here already", retry_after=5)
        if self._waits[who] >= self._rules.waits_each:
            raise TooManyRequests(
                f"{self._waits[who]} of your requests wait already", retry_after=5
            )
        self._waits[who] += 1
        task = asyncio.ensure_future(self._service(visit.scope, receive, visit.send))
        try:
            await self._watch(visit, task)
        finally:
            self._waits[who] -= 1
            if not self._waits[who]:
                del self._waits[who]
            await _ended(task)

    async def _watch(self, visit: Visit, task: asyncio.Future[None]) -> None:
        while not (await asyncio.wait({task}, timeout=FRESH_S))[0]:
            if self._door is not None and not await self._is_still(self._door, visit):
                _log.info("ended request %s: %s may no longer", visit.id, visit.identity)
                await _ended(task)
                await visit.finish()
                return
        await task

    async def _is_still(self, door: Door, visit: Visit) -> bool:
        with suppress(BrokerError):  # nobody can say now, and it was let in before
            try:
                return await self._identify(door, visit) == visit.identity
            except TooManyRequests:
                return True
            except AccessError:
                return False
        return True


async def _ended(task: asyncio.Future[None]) -> None:
    """Have a task end, whatever it is doing."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than {limit} bytes")


_LOOPBACK: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?")


def _check_neighbour(visit: Visit, origins: tuple[str, ...]) -> None:
    """Nobody has to say who they are here, but a page that is open in somebody's browser may not
    ask either: neither under a name that leads here, nor from another site. Raises NotAllowed."""
    host, origin = visit.header("host"), visit.header("origin")
    if not _LOOPBACK.fullmatch(host):
        raise NotAllowed("expected a request for localhost: nobody is asked who they are here")
    if origin and origin not in origins and origin.partition("://")[2] != host:
        raise NotAllowed("requests from pages of other sites are not allowed here")
