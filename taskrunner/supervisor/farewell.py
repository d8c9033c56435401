"""The end of a node: in which order, and in how much time.

    take no more ─▶ give back what is unstarted ─▶ let the running finish ─▶ kill, and see them dead
      ─▶ settle what they came to ─▶ end the threads ─▶ leave: what is still held here is given back

The running have `shutdown_timeout_s`; what comes after that has a few seconds, also where the broker
has stopped answering in the middle of it: whoever asked for the stop kills when its own time is up, and
then nothing could be told any more. A second signal shortens both, and leaves the order as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from taskrunner import crashpoints
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.errors import BrokerUnavailable, NodeLost
from taskrunner.events import JobsReturned, NodeStopping
from taskrunner.supervisor.health import Sentence
from taskrunner.supervisor.parts import Parts, Surroundings
from taskrunner.supervisor.waits import apart, until

EXIT_S = 5.0
"""For a child that runs nothing to end by itself: it may have hooks to call."""
EXIT_LEAST_S = 2.0
"""Of that, for one that ran something until just now, and for all when somebody is in a hurry."""
AFTER_S = 4.0
"""For all that comes after the children: with the shutdown timeout of 25 s still within the 30 of
Kubernetes."""
HURRIED_S = 2.0
"""Of that, when somebody does not want to wait."""
FETCH_S = 2.0
"""For a fetch that was under way; what it brings goes back with the rest."""
FLUSH_S = 10.0
"""For settling, where the children have left so much time."""


class Farewell:
    """Main thread only; what may block is done in threads of its own."""

    def __init__(self, parts: Parts, around: Surroundings, *, hurried: asyncio.Event) -> None:
        self._parts = parts
        self._broker = around.broker
        self._config: Config = around.config
        self._clock: Clock = around.clock
        self._events = around.events
        self._hurried = hurried
        self._began = 0.0
        self._childless_at = 0.0

    async def say(self) -> None:
        """From the first step to the last."""
        parts = self._parts
        self._began = self._clock.monotonic()
        await parts.rollover.halt()
        count, timeout = parts.dispatcher.count, self._config.shutdown_timeout_s
        self._events.emit(NodeStopping(count, timeout))
        # Not waited for: a broker that does not answer must not keep anybody from finishing. What
        # a fetch still brings goes straight back.
        fetching = asyncio.ensure_future(apart(self._stop_fetching))
        parts.pool.stop()
        parts.dispatcher.give_back()
        await self._finish_children()
        self._childless_at = self._clock.monotonic()
        if crashpoints.ARMED:
            crashpoints.reach("supervisor.childless")
        await self._end_services(fetching)

    def _stop_fetching(self) -> None:
        """And give back what came with bells that nobody has heard."""
        self._parts.fetch.stop()
        try:
            self._parts.chores.give_back_strays()
        except BrokerUnavailable as error:
            self._parts.outage.failed(error)
        except NodeLost:
            pass  # what it held is taken back

    # -- children

    async def _finish_children(self) -> None:
        pool, dispatcher = self._parts.pool, self._parts.dispatcher
        for child in pool.children:  # each ends when it is empty, and not when all are
            pool.retire(child)
        await until(
            lambda: not dispatcher.count or self._hurried.is_set(),
            pool.changed,
            self._config.shutdown_timeout_s,
        )
        for child in pool.children:
            if child.held:
                child.sentence = child.sentence or self._last_call()
                pool.kill(child)
        patience = max(EXIT_LEAST_S, self._began + EXIT_S - self._clock.monotonic())
        hurried = self._hurried.is_set
        await until(lambda: not pool.children or hurried(), pool.changed, patience)
        if not await until(
            lambda: not pool.children, pool.changed, EXIT_LEAST_S if hurried() else 0.0
        ):
            # Stuck in a hook; or killed, and the fork server, which is to do it, stands still.
            await pool.bury_all(pool.children)

    def _last_call(self) -> Sentence:
        limit = (
            "at once" if self._hurried.is_set() else f"within {self._config.shutdown_timeout_s:g} s"
        )
        reason = f"the node stopped, and what ran in it did not end {limit}"
        return Sentence(reason, is_charged=False)

    # -- all the rest

    async def _end_services(self, fetching: asyncio.Future[Any]) -> None:
        """The lease and the settle outlive the children: what they did must still be told."""
        parts = self._parts
        await self._within(FETCH_S, fetching)
        hopeless = parts.outage.is_on or parts.settle.thread.name in parts.mishaps.failing
        if not hopeless:
            await self._within(FLUSH_S, apart(lambda: parts.settle.flush(FLUSH_S)))
        unsettled = parts.settle.pending
        services = (parts.scheduler, parts.settle, parts.lease, parts.upcalls, parts.self_probe)
        stops = [asyncio.ensure_future(apart(service.stop)) for service in services]
        have_ended = await self._within(AFTER_S, fetching, *stops)
        await parts.rollover.stop()
        if have_ended and parts.rollover.current is not None:
            await self._within(AFTER_S, apart(self._leave))
        # Else the lease runs out instead, and this host can prove that we are dead.
        if unsettled:
            why = "the broker is away and was not told what became of them"
            self._events.emit(JobsReturned(count=unsettled, why=why))
        await asyncio.to_thread(parts.health_port.stop)

    def _leave(self) -> None:
        membership = self._parts.membership
        try:
            self._broker.leave(membership.id, membership.kept())
        except BrokerUnavailable as error:
            self._parts.outage.failed(error)

    async def _within(self, most: float, *works: Awaitable[Any]) -> bool:
        """Wait for all of these, at most so many seconds and as long as there is time; whether all
        are done. Raises what one raised."""
        doing = [asyncio.ensure_future(work) for work in works]
        hurry = asyncio.ensure_future(self._hurried.wait())
        end = self._clock.monotonic() + most
        while left := [one for one in doing if not one.done()]:
            time = min(self._left(), end - self._clock.monotonic())
            if time <= 0:
                break
            others = [] if self._hurried.is_set() else [hurry]
            await asyncio.wait([*left, *others], timeout=time, return_when="FIRST_COMPLETED")
        hurry.cancel()
        for one in doing:
            if one.done():
                one.result()
        return not left

    def _left(self) -> float:
        """Seconds for all that comes after the children. Where those left time over, that too."""
        now = self._clock.monotonic()
        if self._hurried.is_set():
            return max(0.0, self._childless_at + HURRIED_S - now)
        promised = self._began + self._config.shutdown_timeout_s
        return max(0.0, max(self._childless_at, promised) + AFTER_S - now)
