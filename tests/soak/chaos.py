"""Random faults, one after the other and some at a time, and a log of them.

Kills come at any time. What keeps a node from its store for a while comes to one node at a time, or to
the store and so to all, and each has a moment to recover: two short silences in a row would be a long
one. Short ones must do no harm, they only delay. What may cost a run its end is marked in the log: a
kill, or a node that was cut off for longer than its lease.
"""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TypeVar

from taskrunner.cli.exits import Exit
from taskrunner.testing.fleet import Fleet, Node
from taskrunner.testing.processes import kill, pause, resume
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.wire import script
from tests.soak.journal import FOREVER, Fault, FaultLog

SHORT = (0.05, 0.25)
"""Of a lease: nobody is lost for it."""
LONG = (1.2, 1.6)
"""Of a lease."""
PAUSE_S = (0.1, 0.8)
"""From one fault to the next."""
RECOVERY = 0.5
"""Of a lease: what a node or the store has after a silence before the next one."""
SCRIPTS = (
    "fetch",
    "settle",
    "beat",
    "announce",
    "due",
    "promote",
    "reap",
    "sweep",
    "enqueue",
    "get",
)


T = TypeVar("T")


class Slot:
    """A place in the fleet: a proxy of its own, and one node after another."""

    def __init__(self, number: int, server: RedisServer, fleet: Fleet, options: list[str]) -> None:
        self.proxy = Proxy(server.url)
        self.proxy.start()
        self.free_at = 0.0
        """not before this time may something else be done to it"""
        self._number = number
        self._fleet = fleet
        self._options = options
        self._generation = 0
        self.node: Node | None = None

    @property
    def name(self) -> str:
        """Of the node that is there now; each has its own."""
        return f"{self._number}.{self._generation}"

    def start(self) -> None:
        self._generation += 1
        self.node = self._fleet.start(
            *self._options, TASKRUNNER_BROKER=self.proxy.url, SOAK_SLOT=self.name
        )

    def close(self) -> None:
        self.proxy.close()


@dataclass(slots=True)
class Lasting:
    """A fault that is to be ended."""

    ends_at: float
    end: Callable[[], None]


class Chaos:
    """Call `step` again and again; `heal` ends everything."""

    def __init__(
        self,
        rng: random.Random,
        server: RedisServer,
        slots: list[Slot],
        *,
        lease: float,
        folder: Path,
    ) -> None:
        self.log = FaultLog(folder / "faults")
        self.findings: list[str] = []
        """nodes that ended as they should not"""
        self._random = rng
        self._server = server
        self._slots = slots
        self._lease = lease
        self._lasting: list[Lasting] = []
        self._next_at = monotonic()
        self._waiting: Callable[[], None] | None = None
        """what is to be done to the store as soon as no node is cut off from it"""
        self._store_free_at = 0.0
        """not before this time may something else be done to the store"""
        self._weigh()

    def _weigh(self) -> None:
        """How often each fault is chosen."""
        self._at_any_time: dict[Callable[[Slot], None], int] = {
            self.kill_child: 8,
            self.kill_fork_server: 3,
            self.kill_supervisor: 3,
            self.pause_child: 3,
            self.reload: 3,
            self.cut: 4,
            self.lose_request: 5,
            self.lose_reply: 5,
        }
        self._silences: dict[Callable[[Slot], None], int] = {
            self.end_supervisor: 4,
            self.pause_supervisor: 3,
            self.pause_supervisor_for_long: 1,
            self.forget: 1,
            self.silence: 3,
            self.silence_for_long: 1,
            self.slow_down: 2,
            self.halve_reply: 5,
        }
        self._of_the_store: dict[Callable[[], None], int] = {
            self.kill_redis: 2,
            self.kill_redis_for_long: 1,
            self.pause_redis: 2,
        }

    def step(self) -> None:
        """End what is due to end; then, if it is time, do something to somebody."""
        now = monotonic()
        self.restart()
        for lasting in [entry for entry in self._lasting if entry.ends_at <= now]:
            self._lasting.remove(lasting)
            lasting.end()
        if now < self._next_at:
            return
        self._next_at = now + self._random.uniform(*PAUSE_S)
        free_at = max(self._store_free_at, *(slot.free_at for slot in self._slots))
        if self._waiting is not None and free_at <= now:
            self._waiting()
            self._waiting = None
        match self._random.choices(["at any time", "silence", "store"], [10, 9, 1]):
            case ["at any time"]:
                self._do_to_a_slot(self._at_any_time, free=False)
            case ["silence"] if self._waiting is None:
                self._do_to_a_slot(self._silences, free=True)
            case ["store"] if self._waiting is None:
                (self._waiting,) = self._random.choices(*_weighted(self._of_the_store))

    def _do_to_a_slot(self, kinds: dict[Callable[[Slot], None], int], *, free: bool) -> None:
        slot = self._random.choice(self._slots)
        (do,) = self._random.choices(*_weighted(kinds))
        if slot.node is not None and (not free or slot.free_at <= monotonic()):
            do(slot)

    def restart(self) -> None:
        """Start nodes again that could not start, as whoever runs nodes does: one that does not
        reach its store when it starts says so and ends."""
        for slot in self._slots:
            if slot.node is None or (status := slot.node.poll()) is None:
                continue
            why: dict[int, str] = {
                Exit.BROKER: "start without a store",
                Exit.START: "killed while it started",
            }
            killed = any(f.slot == slot.name and "killed" in f.kind for f in self.log)
            self._expect(slot, status, [Exit.BROKER, Exit.START] if killed else [Exit.BROKER])
            self._note(why.get(status, "ended by itself"), monotonic(), slot=slot.name)
            slot.start()

    def _expect(self, slot: Slot, status: int, good: list[int]) -> None:
        if status not in good:
            log = "" if slot.node is None else slot.node.log[-2000:]
            self.findings.append(f"node {slot.name} ended with status {status}: {log}")

    def heal(self) -> None:
        """End all that lasts. Every node is there after this."""
        while self._lasting:
            self._lasting.pop().end()
        for slot in self._slots:
            slot.proxy.heal()
            if slot.node is None:
                slot.start()

    # -- processes

    def kill_child(self, slot: Slot) -> None:
        children = _node(slot).children
        if children:
            child = self._random.choice(children)
            began = monotonic()
            kill(child)
            self._note("child killed", began, slot=slot.name, pids=(child,), repeats=True)

    def kill_fork_server(self, slot: Slot) -> None:
        with contextlib.suppress(LookupError):
            server = _node(slot).fork_server
            began = monotonic()
            kill(server)
            self._note("fork server killed", began, slot=slot.name, repeats=True)

    def kill_supervisor(self, slot: Slot) -> None:
        began = monotonic()
        _node(slot).crash()
        self._note("supervisor killed", began, slot=slot.name, repeats=True)
        self._start_later(slot)

    def reload(self, slot: Slot) -> None:
        """HUP: new children take over one by one, and the old ones finish what they run."""
        node = _node(slot)
        if " started: " in node.log:
            node.send_signal(signal.SIGHUP)
            self._note("HUP", monotonic(), slot=slot.name)

    def end_supervisor(self, slot: Slot) -> None:
        """TERM: it gives back what it has not started, and ends by itself. One that has only been
        an interpreter so far would just die of it."""
        node, began = _node(slot), monotonic()
        if " started: " not in node.log:
            return
        node.terminate()
        self._note("TERM", began, slot=slot.name)
        slot.node = None
        slot.free_at = FOREVER

        def wait() -> None:
            self._expect(slot, node.wait(timeout=60), [0])
            slot.start()
            slot.free_at = monotonic() + 1

        self._lasting.append(Lasting(began + 1, wait))

    def pause_child(self, slot: Slot) -> None:
        children = _node(slot).children
        if children:
            child, began, name = self._random.choice(children), monotonic(), slot.name
            pause(child)

            def go_on() -> None:
                resume(child)
                self._note("child stopped", began, slot=name)

            ends_at = began + self._lease * self._random.uniform(*SHORT)
            self._lasting.append(Lasting(ends_at, go_on))

    def pause_supervisor(self, slot: Slot) -> None:
        self._pause_node("supervisor stopped", slot, SHORT)

    def pause_supervisor_for_long(self, slot: Slot) -> None:
        self._pause_node("supervisor stopped beyond its lease", slot, LONG)

    def _pause_node(self, kind: str, slot: Slot, share: tuple[float, float]) -> None:
        pid = _node(slot).pid
        pause(pid)
        self._last(kind, slot, share, lambda: resume(pid))

    # -- connections

    def cut(self, slot: Slot) -> None:
        slot.proxy.cut()
        self._note("connections cut", monotonic(), slot=slot.name)

    def forget(self, slot: Slot) -> None:
        """Nobody is told: what hangs on those connections is given up after some seconds, and a
        beat in time."""
        slot.proxy.forget()
        began = monotonic()
        self._note("connections forgotten", began, ended=began + 25, slot=slot.name)
        slot.free_at = began + self._lease

    def silence(self, slot: Slot) -> None:
        slot.proxy.silence()
        self._last("network silent", slot, SHORT, slot.proxy.heal)

    def silence_for_long(self, slot: Slot) -> None:
        slot.proxy.silence()
        self._last("network silent beyond the lease", slot, LONG, slot.proxy.heal)

    def slow_down(self, slot: Slot) -> None:
        slot.proxy.delay(self._random.uniform(0.001, 0.03))
        slot.proxy.throttle(self._random.uniform(200_000, 2_000_000))
        self._last("network slow", slot, SHORT, slot.proxy.heal)

    def halve_reply(self, slot: Slot) -> None:
        name = self._random.choice(SCRIPTS)
        slot.proxy.half_reply(after=script(name), keep=self._random.randrange(1, 8))
        self._last("half a reply held", slot, SHORT, slot.proxy.heal)

    def lose_request(self, slot: Slot) -> None:
        name = self._random.choice(SCRIPTS)
        slot.proxy.drop_request(containing=script(name), keep=self._random.choice([0, 20]))
        self._note("request dropped", monotonic(), slot=slot.name)

    def lose_reply(self, slot: Slot) -> None:
        name, keep = self._random.choice(SCRIPTS), self._random.choice([0, 0, 3])
        slot.proxy.half_reply(after=script(name), keep=keep, cut=True)
        self._note("reply cut off" if keep else "reply dropped", monotonic(), slot=slot.name)

    # -- the store

    def kill_redis(self) -> None:
        self._server.kill()
        self._last("Redis killed", None, SHORT, self._server.start)

    def kill_redis_for_long(self) -> None:
        self._server.kill()
        self._last("Redis away beyond a lease", None, LONG, self._server.start)

    def pause_redis(self) -> None:
        self._server.pause()
        self._last("Redis stopped", None, SHORT, self._server.resume)

    # -- the log

    def _start_later(self, slot: Slot) -> None:
        slot.node = None
        slot.free_at = FOREVER

        def start() -> None:
            slot.start()
            slot.free_at = monotonic() + 1

        delay = self._random.choice([0.0, 0.5, 2.0])
        self._lasting.append(Lasting(monotonic() + delay, start))

    def _last(
        self, kind: str, slot: Slot | None, share: tuple[float, float], end: Callable[[], None]
    ) -> None:
        """It has begun; after a share of a lease it ends and is noted."""
        began = monotonic()
        ends_at = began + self._lease * self._random.uniform(*share)
        name = None if slot is None else slot.name
        # A store that was away for everybody costs nobody its lease.
        repeats = share is LONG and slot is not None
        concerned = self._slots if slot is None else [slot]
        for one in concerned:
            one.free_at = FOREVER
        if slot is None:
            # Its nodes may be killed and started again meanwhile: they say nothing of the store.
            self._store_free_at = FOREVER

        def finish() -> None:
            end()
            if slot is None:
                self._store_free_at = monotonic() + RECOVERY * self._lease
            self._note(kind, began, slot=name, repeats=repeats, overlaps=repeats)
            for one in concerned:
                if one.node is not None:  # else somebody has killed it, and starts another
                    one.free_at = monotonic() + RECOVERY * self._lease

        self._lasting.append(Lasting(ends_at, finish))

    def _note(
        self,
        kind: str,
        began: float,
        *,
        ended: float | None = None,
        slot: str | None = None,
        pids: tuple[int, ...] = (),
        repeats: bool = False,
        overlaps: bool = False,
    ) -> None:
        until = monotonic() if ended is None else ended
        self.log.add(Fault(kind, began, until, slot, pids, repeats, overlaps))


def _weighted(kinds: dict[T, int]) -> tuple[list[T], list[int]]:
    return [*kinds], [*kinds.values()]


def _node(slot: Slot) -> Node:
    assert slot.node is not None
    return slot.node
