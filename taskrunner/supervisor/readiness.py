"""What a node knows of its own health: whether it is alive, and whether it is ready for work.

    alive   its loop turns, and its threads are there
    ready   besides, a probe that it sent to itself through the broker has come home lately

A probe is sent when somebody asks and the last one is a few seconds old, so a node that nobody asks
sends none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from taskrunner.brokers.base import Broker, Command
from taskrunner.clock import Clock
from taskrunner.errors import BrokerError
from taskrunner.probes import (
    PROBE,
    RECORDS,
    Fault,
    Hop,
    NodeAnswer,
    diagnose_dead,
    diagnose_inside,
)
from taskrunner.service import Mishaps, ServiceThread
from taskrunner.supervisor.outage import Outage
from taskrunner.supervisor.probing import Probes

AGAIN_S: Final = 2.0
"""How old a probe is when whoever asks has a new one sent."""
FRESH_S: Final = 5.0
"""How long a probe that came home speaks for the node."""
PATIENCE_S: Final = 3.0
LOST_S: Final = 10.0
"""When a probe of which nothing is heard any more is given up."""
ANSWER_S: Final = 0.7
"""How long whoever asks waits for a new one: Kubernetes hangs up after a second."""

TO: Final = f"{RECORDS}self"
"""The kind of the record that such a probe leaves, one for each node."""
_WHERE: Final = {
    Hop.BROKER: "the broker has not taken a probe",
    Hop.FETCH: "a probe waits at the broker for the fetch thread to take it",
    Hop.MAIN: "the fetch thread took a probe, and the main thread does nothing about it",
    Hop.CHILD: "a probe waits for the children",
    Hop.SETTLE: "the children answered a probe, and the settle thread does not bring it to the broker",
}


class SelfProbe:
    """One thread, which sends a probe of its own when it is wanted. Any thread may ask."""

    def __init__(
        self,
        *,
        broker: Broker,
        node: Callable[[], str],
        probes: Probes,
        clock: Clock,
        mishaps: Mishaps,
    ) -> None:
        self._broker = broker
        self._node = node
        self._clock = clock
        self._condition = threading.Condition()
        self._is_wanted = False
        self._hop: Hop | None = None
        """where the probe that is under way is now; None: none is"""
        self._sent_at = self._home_at = float("-inf")
        self._fault: Fault | None = Fault(Hop.BROKER, "no probe has been sent yet")
        """what the last one that came home, or could not be sent, says"""
        self.thread = ServiceThread("health", self.run_once, mishaps)
        probes.watch(TO, self._reached)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.thread.stopping.set()
        with self._condition:
            self._condition.notify_all()
        self.thread.join()

    def verdict(self, patience: float = ANSWER_S) -> Fault | None:
        """What is wrong, by a probe not older than FRESH_S; waits `patience` seconds for a new one
        where the last one is older than AGAIN_S."""
        with self._condition:
            now = self._clock.monotonic()
            if now - self._sent_at > AGAIN_S:
                self._is_wanted = True
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._home_at >= now, patience)
            return self._judge(self._clock.monotonic())

    def _judge(self, now: float) -> Fault | None:
        if self._hop is None or now - self._home_at <= FRESH_S:
            return self._fault
        return Fault(self._hop, f"{_WHERE[self._hop]} (sent {now - self._sent_at:.1f} s ago)")

    # -- the thread

    def run_once(self) -> None:
        """Wait until a probe is wanted, and send it."""
        with self._condition:
            self._condition.wait_for(self._has_news, AGAIN_S)
            if self.thread.stopping.is_set() or not self._may_send():
                return
            self._is_wanted = False
            self._sent_at = self._clock.monotonic()
            self._hop = Hop.BROKER
        self._send()

    def _has_news(self) -> bool:
        return self.thread.stopping.is_set() or self._may_send()

    def _may_send(self) -> bool:
        is_lost = self._clock.monotonic() - self._sent_at > LOST_S
        return self._is_wanted and (self._hop is None or is_lost)

    def _send(self) -> None:
        try:
            known = self._broker.send(self._node(), Command.new(PROBE, to=TO, patience=PATIENCE_S))
        except BrokerError as error:
            self._ended(Fault(Hop.BROKER, str(error)))
            return
        if not known:
            self._ended(Fault(Hop.LEASE, "the broker does not know this node"))
            return
        with self._condition:
            if self._hop is Hop.BROKER:  # the fetch thread may have been faster
                self._hop = Hop.FETCH

    def _reached(self, hop: Hop | None, answer: NodeAnswer | None) -> None:
        if hop is None and answer is not None:
            self._ended(diagnose_inside(answer))
            return
        with self._condition:
            self._hop = hop

    def _ended(self, fault: Fault | None) -> None:
        with self._condition:
            self._hop, self._fault = None, fault
            self._home_at = self._clock.monotonic()
            self._condition.notify_all()


class Stage(Enum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Readiness:
    """Asked by any thread."""

    def __init__(
        self,
        *,
        probe: SelfProbe,
        outage: Outage,
        threads: Callable[[], Sequence[ServiceThread]],
        on_loop: Callable[..., None],
    ) -> None:
        self.stage = Stage.STARTING
        self._probe = probe
        self._outage = outage
        self._threads = threads
        self._on_loop = on_loop

    def not_alive(self) -> Fault | None:
        """Why this node is beyond help; None: it is alive."""
        if not self._loop_turns():
            return Fault(Hop.MAIN, f"its loop has not turned for {ANSWER_S:g} s")
        return diagnose_dead([thread.name for thread in self._threads() if thread.has_died])

    def not_ready(self) -> Fault | None:
        """Why this node does no work now; None: it would."""
        if self.stage is not Stage.RUNNING:
            return _NOT_RUNNING[self.stage]
        if fault := self.not_alive():
            return fault
        if self._outage.is_on:
            return Fault(Hop.BROKER, "the broker is away")
        return self._probe.verdict()

    def _loop_turns(self) -> bool:
        turned = threading.Event()
        try:
            self._on_loop(turned.set)
        except RuntimeError:  # it is closed
            return False
        return turned.wait(ANSWER_S)


_NOT_RUNNING: Final = {
    Stage.STARTING: Fault(Hop.START, "the node has not started yet"),
    Stage.STOPPING: Fault(Hop.STOP, "the node is stopping"),
}
