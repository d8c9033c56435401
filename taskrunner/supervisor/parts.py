"""What a node is made of, put together in one place.

A part is given what it works with and knows no other; who tells whom what can be read here. Nothing
has started yet: the order of that is the supervisor's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from taskrunner.backends.base import ResultBackend
from taskrunner.brokers.base import Broker
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.errors import NodeFailed, PartlyUnavailable, StartError
from taskrunner.events import Events
from taskrunner.scheduler.scheduler import SchedulerService
from taskrunner.service import Mishaps, ServiceThread
from taskrunner.supervisor import identity
from taskrunner.supervisor.checkup import Checkup
from taskrunner.supervisor.chores import Chores
from taskrunner.supervisor.control import Control, Does
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.fetch import FetchService, HearsBells
from taskrunner.supervisor.generation import Generation, Manifest
from taskrunner.supervisor.healthport import HealthPort
from taskrunner.supervisor.lease import HearsLease, LeaseService
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.outage import Outage
from taskrunner.supervisor.plan import Planner
from taskrunner.supervisor.pool import Pool
from taskrunner.supervisor.probing import Probes
from taskrunner.supervisor.reachable import reachable
from taskrunner.supervisor.readiness import Readiness, SelfProbe
from taskrunner.supervisor.renewal import Renewal
from taskrunner.supervisor.rollover import Rollover
from taskrunner.supervisor.runs import teller
from taskrunner.supervisor.settle import SettleService
from taskrunner.supervisor.sizing import Sizing
from taskrunner.supervisor.timelimits import TimeLimits
from taskrunner.supervisor.upcalls import UpcallService


class Node(HearsBells, HearsLease, Does, Protocol):
    """Who hears of everything, and decides."""

    def on_loop(self, do: Callable[..., None], *values: Any) -> None:
        """Have something done on the main thread. Any thread."""
        ...

    def give_up(self, error: StartError | NodeFailed) -> None:
        """End, in good order, with this error. Any thread."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all parts share."""

    broker: Broker
    backend: ResultBackend | None
    config: Config
    clock: Clock
    events: Events


class Parts:
    """All of them. Made on the loop's thread."""

    def __init__(
        self,
        around: Surroundings,
        *,
        node: Node,
        make_generation: Callable[[], Generation],
        embedded: bool,
    ) -> None:
        self._around = around
        config, clock, events = around.config, around.clock, around.events
        self.mishaps = Mishaps(clock=clock, events=events, gave_up=node.give_up)
        self.outage = Outage(url=config.broker, clock=clock, events=events)
        self._planner = Planner(config.queues or (), strict=config.strict)
        self._reachable = reachable(around.broker, self._part_is_away)
        self.membership = Membership(
            broker=self._reachable, config=config, planner=self._planner, clock=clock, events=events
        )
        self.settle = SettleService(
            broker=around.broker,
            backend=around.backend,
            outage=self.outage,
            events=events,
            limit=config.outcomes_limit,
            room_opened=self._room_opened,
            clock=clock,
            mishaps=self.mishaps,
        )
        self.dispatcher = Dispatcher(
            config=config,
            clock=clock,
            events=events,
            settle=self.settle.put,
            room_opened=self._room_opened,
            confirm=lambda node, note, told: self.lease.confirm(node, note, told),
            used_up=lambda: node.on_loop(self.renewal.look),
        )
        self._make_threads(node)
        self._make_pool(node, embedded=embedded)
        self._make_rollover(node, make_generation)

    def _room_opened(self) -> None:
        self.fetch.wake()

    def _part_is_away(self, error: PartlyUnavailable) -> None:
        self.outage.partly(error.queues.intersection(self._planner.queues), error)

    def _came_back(self) -> None:
        """The broker did, or a part of it."""
        self._planner.believe()
        self.settle.retry()
        self.scheduler.hurry()
        self.fetch.wake()

    def _make_threads(self, node: Node) -> None:
        broker, clock = self._reachable, self._around.clock
        self.fetch = FetchService(
            broker=broker,
            membership=self.membership,
            dispatcher=self.dispatcher,
            outage=self.outage,
            clock=clock,
            idle_look_s=self._around.config.idle_look_s,
            hears=node,
            mishaps=self.mishaps,
        )
        self.lease = LeaseService(
            broker=self._around.broker,
            membership=self.membership,
            outage=self.outage,
            clock=clock,
            hears=node,
            mishaps=self.mishaps,
        )
        self.chores = self._make_chores()
        self.scheduler = SchedulerService(
            broker=broker,
            member=self.membership,
            proven_dead=identity.proven_dead,
            failed=self.outage.failed,
            chores=self.chores.all(),
            clock=clock,
            events=self._around.events,
            mishaps=self.mishaps,
        )
        self.outage.on_return = self._came_back
        self.outage.on_part = self.lease.hurry
        self.upcalls = UpcallService(broker=self._around.broker, mishaps=self.mishaps)
        self._make_probes(node)
        self.control = self._make_control(node)

    def _make_chores(self) -> Chores:
        return Chores(
            broker=self._reachable,
            membership=self.membership,
            planner=self._planner,
            dispatcher=self.dispatcher,
            fetch=self.fetch,
            settle=self.settle,
            outage=self.outage,
        )

    def _threads(self) -> list[ServiceThread]:
        """Those without which the node does no work."""
        services = (self.fetch, self.settle, self.lease, self.scheduler)
        return [service.thread for service in services]

    def _make_probes(self, node: Node) -> None:
        broker, config, clock = self._around.broker, self._around.config, self._around.clock
        self.probes = Probes(
            broker=broker,
            node=self._id,
            dispatcher=self.dispatcher,
            settle=self.settle,
            children=lambda: self.pool.children,
            threads=self._threads,
            clock=clock,
            mishaps=self.mishaps,
        )
        self.self_probe = SelfProbe(
            broker=broker, node=self._id, probes=self.probes, clock=clock, mishaps=self.mishaps
        )
        self.readiness = Readiness(
            probe=self.self_probe,
            outage=self.outage,
            threads=self._threads,
            on_loop=node.on_loop,
        )
        self.health_port = HealthPort(config.health_host, config.health_port, self.readiness)

    def _id(self) -> str:
        return self.membership.id

    def _make_control(self, node: Node) -> Control:
        return Control(
            broker=self._reachable,
            node=self._id,
            outage=self.outage,
            events=self._around.events,
            on_loop=node.on_loop,
            does=node,
            probes=self.probes,
        )

    def _make_pool(self, node: Node, *, embedded: bool) -> None:
        config, clock = self._around.config, self._around.clock
        self.pool = Pool(
            config=config,
            clock=clock,
            events=self._around.events,
            dispatcher=self.dispatcher,
            upcalls=self.upcalls,
            note=self.lease.note,
            gave_up=node.give_up,
            embedded=embedded,
        )
        self.pool.hearing.probes = self.probes
        self.pool.hearing.tell_runs = teller(self._around.events)
        self.limits = TimeLimits(
            grace_s=config.grace_s,
            clock=clock,
            kill=self.pool.kill,
            note=self.lease.note,
        )
        self.checkup = Checkup(config=config, clock=clock, kill=self.pool.kill)
        self.renewal = Renewal(
            config=config,
            clock=clock,
            events=self._around.events,
            dispatcher=self.dispatcher,
            pool=self.pool,
        )

    def _make_rollover(self, node: Node, make: Callable[[], Generation]) -> None:
        self.rollover = Rollover(
            make=make,
            pool=self.pool,
            dispatcher=self.dispatcher,
            events=self._around.events,
            start_timeout_s=self._around.config.start_timeout_s,
            learnt=self._learnt,
            gave_up=node.give_up,
        )
        self.sizing = Sizing(
            config=self._around.config,
            clock=self._around.clock,
            events=self._around.events,
            broker=self._reachable,
            membership=self.membership,
            dispatcher=self.dispatcher,
            pool=self.pool,
            rolls=self.rollover,
        )

    def _learnt(self, manifest: Manifest) -> None:
        self.membership.declares({task: p.limit for task, p in manifest.tasks.items()})
        self.scheduler.hurry()
        self.scheduler.declare(manifest.owner, manifest.schedules)
