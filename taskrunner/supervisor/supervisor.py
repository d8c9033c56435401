"""One node: fetches, dispatches, settles, and looks after its children.

    broker ──▶ fetch thread ──▶ dispatcher ──▶ pipe ──▶ child 1..N     (prefork: see forkserver)
      ▲                            │  ▲                    │
      └── settle thread ◀──────────┘  └── main thread ◀────┘ pipe
      ▲
      └── lease thread: beats, start notes · scheduler thread: due jobs, lost nodes, housekeeping

The main thread runs this file's loop: signals, children's pipes, time limits, replacements. It
never waits for the broker or for a child. What it asks of the broker goes through a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from taskrunner import crashpoints
from taskrunner.backends.base import ResultBackend
from taskrunner.brokers.base import Bell, BellKind, Broker, JobKey
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.config import Config
from taskrunner.errors import BrokerUnavailable, NodeFailed, StartError
from taskrunner.events import (
    Dump,
    Events,
    HealthPortOpened,
    NodeStarted,
    NodeStopped,
)
from taskrunner.probes import Fault
from taskrunner.supervisor.child import Phase
from taskrunner.supervisor.farewell import Farewell
from taskrunner.supervisor.generation import (
    Exit,
    Generation,
    Hears,
)
from taskrunner.supervisor.parts import Parts, Surroundings
from taskrunner.supervisor.readiness import Stage
from taskrunner.supervisor.waits import apart, unless, until

BUSY_LOOK_S = 0.02
IDLE_LOOK_S = 0.1
MAIN = "main"
"""What the loop's thread is called where something in it fails."""

MakeGeneration = Callable[[Hears], Generation]


class Supervisor:
    """A node from start to stop. Everything but `request_stop` belongs to its loop's thread."""

    def __init__(
        self,
        *,
        broker: Broker,
        backend: ResultBackend | None,
        config: Config,
        make_generation: MakeGeneration,
        events: Events,
        clock: Clock = SYSTEM_CLOCK,
        embedded: bool = False,
    ) -> None:
        self._broker = broker
        self._config = config
        self._events = events
        self._stop_asked = asyncio.Event()
        self._hurried = asyncio.Event()
        self._failure: StartError | NodeFailed | None = None
        self._loop = asyncio.get_running_loop()
        around = Surroundings(broker, backend, config, clock, events)
        parts = Parts(
            around,
            node=self,
            make_generation=lambda: make_generation(self),
            embedded=embedded,
        )
        self._mishaps, self._outage, self._membership = (
            parts.mishaps,
            parts.outage,
            parts.membership,
        )
        self._settle, self._fetch, self._lease = parts.settle, parts.fetch, parts.lease
        self._scheduler, self._chores, self._upcalls = parts.scheduler, parts.chores, parts.upcalls
        self._dispatcher, self._pool, self._limits = parts.dispatcher, parts.pool, parts.limits
        self._checkup, self._renewal = parts.checkup, parts.renewal
        self._readiness, self._self_probe = parts.readiness, parts.self_probe
        self._health_port = parts.health_port
        self.control = parts.control
        self._rollover, self._sizing = parts.rollover, parts.sizing
        self._farewell = Farewell(parts, around, hurried=self._hurried)

    def watch_itself(self) -> Callable[[], Fault | None]:
        """Send probes to itself from now on; what says why this node would not run a job now."""
        if not self._self_probe.thread.is_alive:
            self._self_probe.start()
        return self._readiness.not_ready

    # -- the story

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Start, work until a stop is asked for, stop. Raises what kept it from starting, or what
        kept failing."""
        self._loop.set_exception_handler(self._callback_failed)
        try:
            self._open_health_port()
            if await unless(self._stop_asked, self._start()):
                self._readiness.stage = Stage.RUNNING
                if crashpoints.ARMED:
                    crashpoints.reach("supervisor.started")
                started()
                self._events.emit(
                    NodeStarted(
                        node=self._membership.id,
                        processes=self._pool.target,
                        queues=tuple(self._membership.queues()),
                    )
                )
                await self._stop_asked.wait()
        finally:
            await self._stop()
        if self._failure is not None:
            raise self._failure

    def _open_health_port(self) -> None:
        """Before all else: whoever asks how far the start is gets an answer."""
        self._health_port.start()
        if (address := self._health_port.address) is not None:
            self.watch_itself()
            self._events.emit(HealthPortOpened(*address))

    async def _start(self) -> None:
        """Broker first, so that a wrong URL costs no import; children last, since they need all."""
        if crashpoints.ARMED:
            crashpoints.reach("supervisor.starting")
        await apart(self._broker.ping)
        await self._rollover.begin()
        await apart(self._membership.join)
        self._settle.start()
        self._lease.start()
        self._scheduler.start()
        self._pool.fill()
        self._fetch.start()
        if crashpoints.ARMED:
            crashpoints.reach("supervisor.filled")
        self._look()
        await until(self._is_ready, self._pool.changed)

    def _is_ready(self) -> bool:
        crew = self._pool.crew
        is_full = len(crew) >= self._pool.target
        return is_full and all(child.phase is Phase.READY for child in crew)

    async def _stop(self) -> None:
        """Take no more, give back what is unstarted, wait, kill, and only then release."""
        if crashpoints.ARMED:
            crashpoints.reach("supervisor.stopping")
        self._stop_asked.set()
        self._readiness.stage = Stage.STOPPING
        await self._farewell.say()
        self._events.emit(NodeStopped())

    # -- asked from outside

    def request_stop(self, *, hurry: bool = False) -> None:
        """Stop in good order; `hurry` does not wait for running jobs. Any thread."""
        self._loop.call_soon_threadsafe(self._ask_stop, hurry)

    def _ask_stop(self, hurry: bool) -> None:
        if hurry or self._stop_asked.is_set():
            self._hurried.set()
            self._pool.changed.set()
        self._stop_asked.set()

    # -- asked by signals and commands (`Does`)

    def stop(self) -> None:
        self._ask_stop(False)

    def reload(self) -> None:
        self._rollover.reload()

    def grow(self) -> None:
        self._sizing.more()

    def shrink(self) -> None:
        self._sizing.fewer()

    def dump(self) -> None:
        held, unsettled = self._dispatcher.count, self._settle.pending
        lines = [f"node {self._membership.id} holds {held} jobs, {unsettled} to settle"]
        self._events.emit(Dump(text="\n".join([*lines, *self._pool.describe()])))

    # -- told by children's generations (`Hears`)

    def child_forked(self, number: int, pid: int) -> None:
        self._pool.child_forked(number, pid)

    def child_exited(self, exit_: Exit) -> None:
        self._pool.child_exited(exit_)
        self._rollover.tidy()

    def fork_failed(self, number: int, why: str) -> None:
        self._pool.fork_failed(number, why)

    def fork_server_died(self, generation: Generation) -> None:
        self._rollover.server_died(generation)

    def give_up(self, error: StartError | NodeFailed) -> None:
        """End, in good order, with this error. Any thread."""
        self.on_loop(self._fail, error)

    def _fail(self, error: StartError | NodeFailed) -> None:
        if self._failure is None:
            self._failure = error
            self._ask_stop(False)

    # -- told by threads (`Node`)

    def may_not_fetch(self) -> bool:
        return self._settle.is_full()

    def rung(self, bell: Bell) -> None:
        if bell.kind is BellKind.DUE:
            if bell.queue in self._membership.kept():  # else it is nobody's bell
                self._scheduler.poke(bell.queue)
        elif bell.kind is BellKind.SCHEDULE:
            self._scheduler.schedules_changed()
        elif bell.kind is BellKind.QUEUE:
            self._scheduler.hurry()
        elif bell.kind is BellKind.PARKED:
            self._chores.parked(bell.queue, bell.id)
        elif bell.kind is BellKind.COMMAND:
            self.control.take()
        elif bell.kind is BellKind.CANCEL:
            self.on_loop(self._cancel, JobKey(bell.queue, bell.id), None)

    def hears_again(self) -> None:
        self._scheduler.hurry()

    def cancels(self, marked: list[tuple[JobKey, int]]) -> None:
        for key, number in marked:
            self.on_loop(self._cancel, key, number)

    def _cancel(self, key: JobKey, number: int | None) -> None:
        self._limits.cancel(self._pool.children, key, number)

    def node_lost(self, node: str) -> None:
        try:
            self._membership.lost(node, self._dispatcher.disown)
        except BrokerUnavailable as error:
            self._outage.failed(error)

    def lease_ran_out(self) -> None:
        self._dispatcher.hold()

    def queues_ran_out(self, queues: frozenset[str]) -> None:
        self._dispatcher.keep_out(queues)

    def lease_renewed(self, until: float) -> None:
        self.on_loop(self._pool.lease_until, until)
        self._dispatcher.resume()

    # -- the loop's own

    def _look(self) -> None:
        """Some dozens of times a second while there is work, else seldom."""
        if self._stop_asked.is_set() and not self._pool.children:
            return
        try:
            again = self._look_once()
            self._mishaps.went_well(MAIN)
        except Exception as error:  # noqa: BLE001  else no time limit would hold from here on
            again = self._mishaps.failed(MAIN, error)
        self._loop.call_later(again, self._look)

    def _look_once(self) -> float:
        """Seconds to the next look."""
        busy = self._dispatcher.count > 0
        if busy:
            self._dispatcher.rebalance()
            self._limits.check(self._pool.children)
        self._pool.relieve()
        self._checkup.look(self._pool.children)
        self._renewal.look()
        self._sizing.look()
        return BUSY_LOOK_S if busy else IDLE_LOOK_S

    def _callback_failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something that the loop called raised: a mistake of ours that nobody else would see."""
        error = context.get("exception") or RuntimeError(context.get("message", "unknown"))
        self._mishaps.noticed(MAIN, error)

    def on_loop(self, do: Callable[..., None], *values: Any) -> None:
        self._loop.call_soon_threadsafe(do, *values)
