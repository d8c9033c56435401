"""The scheduler thread: sleeps until the first due time, does what is due, keeps house.

    bells ─▶ poke, hurry ─┐             ┌─▶ promoter: delayed jobs and retries become ready
                          ├─▶ one pass ─┼─▶ ticker: schedules submit their jobs
    the first due time ───┘             └─▶ house: lost nodes, old records, chores

Any number of nodes do this at once: each step is atomic in the store, and `turns` spreads who does
what. Times are asked of the store as waits, so this machine's clock may be wrong. What is further away
than a few seconds stays in the store and costs nothing here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Protocol, TypeVar

from taskrunner.brokers.base import Broker, NodeInfo
from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable
from taskrunner.events import Events
from taskrunner.scheduler.deployment import Deployment
from taskrunner.scheduler.house import House
from taskrunner.scheduler.promoter import Promoter
from taskrunner.scheduler.ticker import Ticker
from taskrunner.scheduler.turns import Turns
from taskrunner.schedules import Schedule
from taskrunner.service import Mishaps, ServiceThread, apart

LOOK_S = 2.5
"""How often the store is asked what falls due."""
BELLS_S = 0.05
"""How long bells of schedules are gathered: a deploy may change a thousand."""
AWAY_S = 1.0
"""When to try again where the store is away."""

T = TypeVar("T")


class Member(Protocol):
    """This node's place in the store, as far as the scheduler needs it."""

    @property
    def id(self) -> str: ...
    def kept(self) -> list[str]:
        """Queues in which it keeps house."""
        ...


class SchedulerService:
    """One thread. `proven_dead` judges the nodes of this host; `chores` are done at each thorough
    pass, and answer whether there was something to do."""

    def __init__(
        self,
        *,
        broker: Broker,
        member: Member,
        proven_dead: Callable[[list[NodeInfo]], list[str]],
        failed: Callable[[BrokerUnavailable], None],
        chores: Sequence[Callable[[], bool]],
        clock: Clock,
        events: Events,
        mishaps: Mishaps,
    ) -> None:
        self._broker = broker
        self._member = member
        self._failed = failed
        self._clock = clock
        self._events = events
        self._mishaps = mishaps
        self._condition = threading.Condition()
        self._poked: set[str] = set()
        self._hurried = False
        self._deployment: Deployment | None = None
        self._declared: tuple[str, dict[str, str]] | None = None
        self._next_look = self._schedules_at = self._deploy_at = clock.monotonic()
        self.thread = ServiceThread("scheduler", self._pass, mishaps)
        self._turns = turns = Turns(me=lambda: member.id, clock=clock)
        self._promoter = Promoter(broker=broker, turns=turns, clock=clock, apart=self.apart)
        self._ticker = Ticker(
            broker=broker, turns=turns, clock=clock, events=events, noticed=self.noticed
        )
        self._house = House(
            broker=broker,
            me=lambda: member.id,
            proven_dead=proven_dead,
            chores=chores,
            clock=clock,
            events=events,
            keeper=self,
        )

    # -- from other threads

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.thread.stopping.set()
        with self._condition:
            self._condition.notify_all()
        self.thread.join()

    def poke(self, queue: str) -> None:
        """Something in this queue may fall due sooner than is known."""
        with self._condition:
            self._poked.add(queue)
            self._condition.notify_all()

    def hurry(self) -> None:
        """Look what falls due, and keep house, now."""
        with self._condition:
            self._next_look = self._clock.monotonic()
            self._house.hurry()
            self._hurried = True
            self._condition.notify_all()

    def schedules_changed(self) -> None:
        """Look at the schedules soon."""
        with self._condition:
            self._schedules_at = min(self._schedules_at, self._clock.monotonic() + BELLS_S)
            self._hurried = True
            self._condition.notify_all()

    def declare(self, owner: str, schedules: Mapping[str, Schedule]) -> None:
        """Put into effect what the code of this node declares; the same again is no news."""
        declared = owner, {name: schedule.said for name, schedule in schedules.items()}
        if declared == self._declared:
            return
        self._declared = declared
        with self._condition:
            self._deployment = Deployment(
                broker=self._broker, events=self._events, owner=owner, declared=schedules
            )
            self._deploy_at = self._clock.monotonic()
            self._hurried = True
            self._condition.notify_all()

    # -- the thread

    @property
    def _stopping(self) -> bool:
        return self.thread.stopping.is_set()

    def _pass(self) -> None:
        try:
            self.run_once()
        except BrokerUnavailable as error:
            self._failed(error)
            self._next_look = self._schedules_at = self._clock.monotonic() + AWAY_S
        self._sleep()

    def _sleep(self) -> None:
        due = (self._promoter.next_at(), self._ticker.next_at())
        times = [self._next_look, self._house.next_at]
        times += [self._schedules_at, self._ticker.next_look]
        times += [at for at in due if at is not None]
        if self._deployment is not None:
            times.append(self._deploy_at)
        with self._condition:
            wait = max(0.0, min(times) - self._clock.monotonic())
            self._condition.wait_for(lambda: self._stopping or self._poked or self._hurried, wait)
            self._hurried = False

    def run_once(self) -> None:
        """Look, do what is due, keep house: each if it is time."""
        self._look()
        self._deploy()
        self._look_at_schedules()
        self.do_what_is_due()
        if self._clock.monotonic() >= self._house.next_at:
            self._house.keep()

    def _look(self) -> None:
        now = self._clock.monotonic()
        with self._condition:
            poked, self._poked = self._poked, set()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._promoter.look(self._member.kept())
        elif mine := sorted(filter(self._promoter.is_mine, poked)):
            self._promoter.look(mine)

    def _deploy(self) -> None:
        deployment = self._deployment
        if deployment is None or self._clock.monotonic() < self._deploy_at:
            return
        self._deploy_at = self._clock.monotonic() + AWAY_S
        deployment.put_into_effect()
        with self._condition:
            if self._deployment is deployment:
                self._deployment = None

    def _look_at_schedules(self) -> None:
        with self._condition:
            is_time = self._clock.monotonic() >= min(self._schedules_at, self._ticker.next_look)
            if is_time:
                self._schedules_at = inf  # unless a bell rings while it looks
        if is_time:
            self._ticker.look()

    # -- asked by the house (`Keeper`)

    def kept(self) -> Sequence[str]:
        return self._member.kept()

    def met(self, nodes: Sequence[NodeInfo]) -> None:
        self._turns.learn(nodes)

    def do_what_is_due(self) -> bool:
        self._promoter.run()
        self._ticker.run()
        return not self._stopping

    def apart(self, queues: Sequence[str], do: Callable[[Sequence[str]], T], /) -> list[T]:
        return apart(queues, do, self.noticed)

    def noticed(self, error: Exception) -> None:
        self._mishaps.noticed(self.thread.name, error)
