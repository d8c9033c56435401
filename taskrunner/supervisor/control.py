"""What others may ask of a running node: by a signal, or by a command in the store.

    kill -USR1 ──▶ signals ────────────────────────────────────────┐
                                                                   ├─▶ one method of `Does`
    anybody ─ send ─▶ store ─ COMMAND bell ─▶ fetch thread: take ──┘   on the main thread

A command waits in the store until it is taken, and a beat rings again while one does, so a lost bell
costs seconds. It is taken with the names of those that were taken before: what an answer that was
lost told is told again, and what was told twice is done once.
"""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from taskrunner.brokers.base import COMMANDS_KEPT, Broker, Command
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import CommandHeard, Events
from taskrunner.probes import PROBE
from taskrunner.supervisor.outage import Outage
from taskrunner.supervisor.probing import Probes
from taskrunner.supervisor.signals import Signals

Details: TypeAlias = Mapping[str, Any]

logger = logging.getLogger("taskrunner.supervisor")


class Does(Protocol):
    """What a node does when it is asked. Main thread."""

    def stop(self) -> None: ...
    def reload(self) -> None: ...
    def grow(self) -> None: ...
    def shrink(self) -> None: ...
    def dump(self) -> None: ...


class Control:
    """The words that others may use, and what they mean here."""

    def __init__(
        self,
        *,
        broker: Broker,
        node: Callable[[], str],
        outage: Outage,
        events: Events,
        on_loop: Callable[..., None],
        does: Does,
        probes: Probes,
    ) -> None:
        self._broker = broker
        self._node = node
        self._outage = outage
        self._events = events
        self._on_loop = on_loop
        self._does = does
        self._probes = probes
        self._commands: dict[str, Callable[[Details], None]] = {
            "stop": lambda _: does.stop(),
            "reload": lambda _: does.reload(),
            "grow": lambda _: does.grow(),
            "shrink": lambda _: does.shrink(),
            "dump": lambda _: does.dump(),
            PROBE: probes.begin,
        }
        self._taken: deque[str] = deque(maxlen=COMMANDS_KEPT)
        self._untold: list[str] = []

    # -- signals

    async def obey(self, signals: Signals) -> None:
        """Do what signals say, for ever."""
        while True:
            match await signals.next():
                case signal.SIGINT | signal.SIGTERM:
                    self._does.stop()
                case signal.SIGHUP:
                    self._does.reload()
                case signal.SIGTTIN:
                    self._does.grow()
                case signal.SIGTTOU:
                    self._does.shrink()
                case signal.SIGUSR1:
                    self._does.dump()
                case other:
                    raise AssertionError(f"nobody asked for {other}")

    # -- commands

    def take(self) -> None:
        """Have done what was sent. Fetch thread."""
        try:
            while commands := self._broker.commands(self._node(), self._untold):
                for command in commands:
                    if command.id not in self._taken:
                        self._pass_on(command)
                        self._taken.append(command.id)
                self._untold = [command.id for command in commands]
            self._untold = []
        except BrokerUnavailable as error:
            self._outage.failed(error)

    def _pass_on(self, command: Command) -> None:
        if command.do == PROBE:
            self._probes.taken(command.details)
        self._on_loop(self._do, command)

    def _do(self, command: Command) -> None:
        known = self._commands.get(command.do)
        self._events.emit(CommandHeard(do=command.do, known=known is not None))
        if known is None:
            return
        try:
            known(command.details)
        except Exception:
            # Its details are of another version, or it is nobody's: the node goes on.
            logger.exception("the command %r could not be done", command.do)
