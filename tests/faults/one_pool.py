"""The children of a node, played by the test: a real pool, real pipes, and nobody behind them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from taskrunner import frames
from taskrunner.brokers.base import Delivery, Outcome
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.config import Config
from taskrunner.events import Events
from taskrunner.frames import Kind
from taskrunner.message import Header, Message
from taskrunner.retry import Policy
from taskrunner.service import Mishaps
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.generation import Exit, Manifest
from taskrunner.supervisor.pool import Pool
from taskrunner.supervisor.upcalls import UpcallService
from taskrunner.worker.main import ChildSettings
from taskrunner.worker.startpage import StartPage

TASK = "t"
DEAD_PID = 2**22 + 1
"""No process has it."""


class Actor:
    """One child's end of its pipe, and its page."""

    def __init__(self, number: int, pipe_fd: int, page_fd: int) -> None:
        self.number = number
        self.line = socket.socket(fileno=os.dup(pipe_fd))
        self.page = StartPage.attach(os.dup(page_fd), 1)
        self._decoder = frames.Decoder()

    def say(self, kind: Kind, *values: Any) -> None:
        self.line.sendall(frames.encode(kind, *values))

    def heard(self) -> list[list[Any]]:
        """Frames that have arrived and were not looked at before."""
        self.line.setblocking(False)
        try:
            data = self.line.recv(1 << 24)
        except BlockingIOError:
            data = b""
        finally:
            self.line.setblocking(True)
        return list(self._decoder.feed(data))

    def close(self) -> None:
        self.line.close()
        self.page.close_fd()
        self.page.close()


class OnePool:
    """A pool of one child at a time; plays its generation, and takes what it settles."""

    def __init__(self, **config: Any) -> None:
        self.manifest = Manifest({TASK: Policy()})
        self.actors: list[Actor] = []
        self.settled: list[Outcome] = []
        self.gave_up: list[Exception] = []
        self.unhandled: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.unhandled.append(context))
        settings = Config(processes=1, **config)
        common: dict[str, Any] = {"config": settings, "clock": SYSTEM_CLOCK, "events": Events()}
        self.broker = MemoryBroker()
        mishaps = Mishaps(clock=SYSTEM_CLOCK, events=common["events"], gave_up=self.gave_up.append)
        self.upcalls = UpcallService(broker=self.broker, mishaps=mishaps)
        self.dispatcher = Dispatcher(
            **common,
            settle=self._settle,
            room_opened=lambda: None,
            confirm=lambda _node, _note, told: told(True),
        )
        self.dispatcher.knows(self.manifest.tasks)
        self.pool = Pool(
            **common,
            dispatcher=self.dispatcher,
            upcalls=self.upcalls,
            note=lambda node, note: None,
            gave_up=self.gave_up.append,
            embedded=False,
        )
        self.pool.current = self
        self.pool.fill()
        self._number = 0

    def _settle(self, node: str, outcomes: Sequence[Any], *, can_wait: bool = False) -> None:
        self.settled += [Outcome._make(row) for row in outcomes]

    # -- a generation

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    def fork(self, settings: ChildSettings, pipe_fd: int, page_fd: int) -> None:
        self.actors.append(Actor(settings.number, pipe_fd, page_fd))
        self.pool.child_forked(settings.number, DEAD_PID)

    server_pid = 0
    is_alive = can_reload = True

    def kill_server(self) -> None: ...

    def dump(self, number: int) -> bool:
        return False

    def kill(self, number: int) -> None:
        actor = next(a for a in reversed(self.actors) if a.number == number)
        actor.line.close()
        end = Exit(number, DEAD_PID, -int(signal.SIGKILL))
        asyncio.get_running_loop().call_soon(self.pool.child_exited, end)

    # -- the test's

    @property
    def child(self) -> Actor:
        return self.actors[-1]

    async def ready(self) -> Actor:
        """The child that lives now, ready for work."""
        self.child.say(Kind.READY)
        await self.until(lambda: bool(self.dispatcher._children))
        return self.child

    def give(self, count: int = 1, body: bytes = b"") -> list[Delivery]:
        """Fetched jobs; they go to the child as far as it has use for them."""
        wire = Message("", "q", Header(task=TASK), body).wire
        first = self._number + 1
        self._number += count
        given = [
            Delivery("q", f"job-{n}", "node", n, wire, 0, 0, 0, 0, None, None)
            for n in range(first, first + count)
        ]
        self.dispatcher.accept(given)
        return given

    async def hear(self, child: Actor, count: int = 1) -> list[list[Any]]:
        """The next frames that a child is sent."""
        heard: list[list[Any]] = []
        async with asyncio.timeout(20):
            while len(heard) < count:
                await asyncio.sleep(0)
                heard += child.heard()
        return heard

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0)

    def close(self) -> None:
        self.upcalls.stop()
        for child in self.pool.children:
            child.channel.close("the process ended")
            child.page.close()
        for actor in self.actors:
            actor.close()
