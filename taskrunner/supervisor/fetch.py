"""The fetch thread: asks the broker for as much as there is room for, and waits for bells.

A bell may bring a job with it, where the broker can do that: then nothing has to be asked before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from taskrunner.brokers.base import (
    Bell,
    BellKind,
    Broker,
    Delivery,
    Fetched,
    Mailbox,
    Take,
)
from taskrunner.clock import Clock
from taskrunner.errors import BrokerUnavailable, NodeLost, PartlyUnavailable
from taskrunner.service import Mishaps, ServiceThread, apart
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.handover import Handover
from taskrunner.supervisor.membership import Membership
from taskrunner.supervisor.outage import Outage, Persistent

FULL_S = 30.0
"""How long to wait when there is no room; whoever makes room wakes the thread."""
LATE_S = 0.0005
"""How much later than the store says jobs are asked for that a limit held back."""
LISTEN_S = 1.0
"""How long bells may go unheard while there is always room and always work."""


class HearsBells(Protocol):
    """Who is told what the fetch thread hears and is not for itself."""

    def rung(self, bell: Bell) -> None: ...
    def hears_again(self) -> None:
        """Bells have been missed: what they told of must be looked for."""
        ...

    def node_lost(self, node: str) -> None: ...
    def may_not_fetch(self) -> bool:
        """So much is unsettled that nothing new may start."""
        ...


class FetchService:
    """One thread. The node's id is asked anew each time: a lost node goes on under a new one."""

    def __init__(
        self,
        *,
        broker: Broker,
        membership: Membership,
        dispatcher: Dispatcher,
        outage: Outage,
        clock: Clock,
        idle_look_s: float,
        hears: HearsBells,
        mishaps: Mishaps,
    ) -> None:
        self._broker = broker
        self._membership = membership
        self._planner = membership.planner
        self._dispatcher = dispatcher
        self._outage = outage
        self._clock = clock
        self._idle_look_s = idle_look_s
        self._hears = hears
        self._mishaps = mishaps
        self.thread = ServiceThread("fetch", self.run_once, mishaps)
        self._stopping = self.thread.stopping
        self._persistent = Persistent(outage, self._stopping)
        self.handover = Handover(self._accept)
        self._hands_over = broker.capabilities.hands_over
        self._mailbox: Mailbox | None = None
        self._mailbox_of = ""
        self._waiting = False
        self._deaf = False
        self._unanswered: list[Take] = []
        self._opens: dict[str, float] = {}
        """by queue: the monotonic time at which jobs that a limit held back can be had"""
        self._rung: set[str] = set()
        """queues that a bell rang for since the last plan"""
        self._first = 1
        self._looked_at = self._listened_at = clock.monotonic()

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if (mailbox := self._mailbox) is not None:
            mailbox.wake()
        self.thread.join()
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is not None:
            mailbox.close()
        if self._hands_over:
            self._step_off()

    def _step_off(self) -> None:
        """Nobody reads bells any more: no job may come with one."""
        takes = [Take(queue, 0) for queue in self._membership.queues()]
        try:
            self._broker.fetch(self._membership.id, takes, self._first)
        except BrokerUnavailable as error:
            self._outage.failed(error)
        except NodeLost:
            pass  # it is on no list then

    @property
    def next_number(self) -> int:
        """Deliveries from this number on may be on their way here."""
        return self._first

    def wake(self) -> None:
        """There is room again. Costs nothing unless the thread waits for that: on an idle node it would
        look at nothing and sleep again, after every job."""
        if not self._waiting or not (self._planner.hopeful or self._is_renamed()):
            return
        if (mailbox := self._mailbox) is not None:
            self._waiting = False
            mailbox.wake()

    def _is_renamed(self) -> bool:
        """The node goes on under another id, which has a mailbox of its own."""
        return self._mailbox_of != self._membership.id

    def run_once(self) -> None:
        """One fetch, or one wait."""
        self._open_mailbox()
        if self._stopping.is_set():
            return  # `stop` may have come before there was a mailbox to wake
        if self._deaf and not self._listen_again():
            return
        now = self._clock.monotonic()
        if now - self._looked_at >= self._idle_look_s:
            self._looked_at = now
            self._planner.believe()
        if now - self._listened_at >= LISTEN_S:
            self._listen(0.0)
        if self._opens:
            self._look_behind_limits(now)
        plan = self._plan()
        if self._rung:
            self._pass_on_all_but(plan)
        if not plan:
            self._waiting = True
            # Looked again after saying so: room that opened in between would ring nobody.
            plan = self._plan()
        if plan:
            self._waiting = False
            self._fetch(plan)
        else:
            self._listen(self._patience())

    def _patience(self) -> float:
        """How long to wait for bells, in seconds."""
        until = [self._looked_at + self._idle_look_s, *self._opens.values()]
        left = max(0.0, min(until) - self._clock.monotonic())
        return min(FULL_S, left) if self._planner.hopeful else left

    def _plan(self) -> list[Take]:
        if self._unanswered:
            return self._unanswered
        if not self._planner.hopeful or self._hears.may_not_fetch():
            return []
        plan = self._planner.plan(self._dispatcher.room, self._outage.queues, self._slots())
        return [take._replace(hands=True) for take in plan] if self._hands_over else plan

    def _slots(self) -> int:
        """How many more jobs could start at once."""
        _, free, waiting = self._dispatcher.load()
        return max(0, free - waiting)

    def _fetch(self, plan: list[Take]) -> None:
        is_repeated = bool(self._unanswered)
        self._unanswered = plan
        node = self._membership.id
        tries = 0

        def ask() -> Fetched:
            nonlocal tries
            tries += 1
            return self._ask(node, plan)

        try:
            fetched = self._persistent.call(ask)
        except NodeLost:
            self._unanswered = []
            self._hears.node_lost(node)
            return
        if fetched is None:
            return
        # Only now: until a fetch is answered it is repeated with the same numbers.
        self._unanswered = []
        self._first += sum(take.limit for take in plan)
        self._planner.learn(plan, fetched)
        if fetched.opens:
            self._expect(fetched.opens)
        deliveries = fetched.deliveries
        if self._hands_over and (is_repeated or tries > 1):
            deliveries = self.handover.fresh(deliveries)
        if deliveries:
            self._accept(deliveries)

    def _expect(self, opens: Mapping[str, float]) -> None:
        """Jobs that a limit holds back can be had then; asked a little late, never early."""
        now = self._clock.monotonic()
        self._opens.update({queue: now + wait + LATE_S for queue, wait in opens.items()})

    def _look_behind_limits(self, now: float) -> None:
        """Those whose time has come; where there is no room for them, others shall take them."""
        for queue in [queue for queue, at in self._opens.items() if at <= now]:
            del self._opens[queue]
            self._planner.believe(queue)
            if not self._slots():
                self._pass_on(queue)

    def _accept(self, deliveries: Sequence[Delivery]) -> None:
        try:
            self._dispatcher.accept(deliveries)
        except BaseException:
            # What is not in our hands by now is nobody's: the next reconciling gives it back.
            self._outage.returned.set()
            raise

    def _ask(self, node: str, plan: list[Take]) -> Fetched:
        """One round trip; more only where a queue cannot be asked, so that the others can."""
        if len(plan) == 1:
            return self._broker.fetch(node, plan, self._first)
        firsts = accumulate((take.limit for take in plan), initial=self._first)
        parts = apart(
            list(zip(firsts, plan, strict=False)),
            lambda some: self._broker.fetch(node, [take for _, take in some], some[0][0]),
            lambda error: self._mishaps.noticed(self.thread.name, error),
        )
        if len(parts) == 1:
            return parts[0]
        left = {queue: count for part in parts for queue, count in part.left.items()}
        deliveries = [delivery for part in parts for delivery in part.deliveries]
        withheld = frozenset[str]().union(*(part.withheld for part in parts))
        opens = {queue: wait for part in parts for queue, wait in part.opens.items()}
        return Fetched(deliveries, left, withheld, opens)

    def _listen(self, timeout: float) -> None:
        assert self._mailbox is not None
        try:
            bells = self._mailbox.wait(timeout)
        except PartlyUnavailable:
            self._deaf = True  # another part may have a bell for it
            return
        except BrokerUnavailable as error:
            self._outage.failed(error)
            self._deaf = True
            return
        finally:
            self._waiting = False
            self._listened_at = self._clock.monotonic()
        self._answer(bells)

    def _listen_again(self) -> bool:
        """Have the mailbox connect again; False where the service was stopped first."""
        mailbox = self._mailbox
        assert mailbox is not None
        bells = self._persistent.call(lambda: mailbox.wait(0.0))
        if bells is None:
            return False
        self._deaf = False
        if self._hands_over:
            self._outage.returned.set()  # what came with bells meanwhile is not here
        self._planner.believe()
        self._hears.hears_again()
        self._answer(bells)
        return True

    def _answer(self, bells: Sequence[Bell]) -> None:
        try:
            for bell in bells:
                if bell.kind is BellKind.READY:
                    self._planner.believe(bell.queue)
                    self._rung.add(bell.queue)
                elif bell.delivery is not None:
                    self._handed(bell.delivery)
                else:
                    self._hears.rung(bell)
        except BaseException:
            self._outage.returned.set()  # jobs may have come with those that were not heard
            raise

    def _handed(self, delivery: Delivery) -> None:
        """A bell brought a job. Where there is no room for it others shall have it at once."""
        self._planner.believe(delivery.queue)
        if delivery.node != self._membership.id:
            return  # for the one that this node was before: the store takes it back
        if self._dispatcher.room(delivery.queue) > 0:
            self.handover.take(delivery)
        else:
            self._dispatcher.decline(delivery)

    def _pass_on_all_but(self, plan: Sequence[Take]) -> None:
        """Bells rang for these queues, and for some there is no room."""
        rung, self._rung = self._rung.difference(take.queue for take in plan), set()
        for queue in rung:
            if not self._dispatcher.room(queue) or not self._slots():
                self._pass_on(queue)

    def _pass_on(self, queue: str) -> None:
        """No room for what a bell announced: let the next idle node have it."""
        try:
            self._broker.fetch(self._membership.id, [Take(queue, 0)], self._first)
        except BrokerUnavailable as error:
            self._outage.failed(error)
        except NodeLost:
            self._hears.node_lost(self._membership.id)

    def _open_mailbox(self) -> None:
        node = self._membership.id
        if not self._is_renamed():
            return
        if self._mailbox is not None:
            self._mailbox.close()
        self._mailbox = self._persistent.call(lambda: self._broker.open_mailbox(node))
        if self._mailbox is not None:
            self._mailbox_of = node
            self._planner.believe()
