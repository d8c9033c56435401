"""What happens, as it happens: kept for a while, and handed to whoever listens.

    store, looked at every second ─┐                       ┌─▶ listener: what it reaches, from where it left
    node beside us: its events ────┼─▶ the newest 2000 ────┤
            and the runs it ends ──┘    numbered           └─▶ listener

Nobody looks at the store while nobody listens. Ids are those of this feed: `BOOT-NUMBER`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from taskrunner import events as e
from taskrunner.app import App
from taskrunner.clock import monotonic
from taskrunner.errors import BrokerError
from taskrunner.ids import new_id
from taskrunner.jsonable import plain
from taskrunner.states import State

KEPT: Final = 2000
LOOK_S: Final = 1.0
LINGER_S: Final = 60.0
"""For so long it goes on looking after the last listener has gone: who comes back has missed nothing."""


class Item(NamedTuple):
    """Something that happened."""

    number: int
    kind: str
    data: dict[str, Any]
    queue: str | None = None
    """whom it concerns; None: everybody who reaches everything"""
    task: str | None = None


class Feed:
    """Thread-safe; listeners are of one event loop or of many."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._boot = new_id()[-8:].lower()
        self._lock = threading.Lock()
        self._items: deque[Item] = deque(maxlen=KEPT)
        self._last = 0
        self._listeners: dict[object, Callable[[], None]] = {}
        self._quiet_since = monotonic()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._queues: dict[str, Any] = {}
        self._nodes: set[str] | None = None
        self._is_away = False

    # -- listening

    def listen(self, wake: Callable[[], None]) -> object:
        """Call `wake`, from any thread, when there is news; the answer is for `leave`."""
        ticket = object()
        with self._lock:
            self._listeners[ticket] = wake
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._look_on, name="taskrunner feed", daemon=True
                )
                self._thread.start()
        return ticket

    def leave(self, ticket: object) -> None:
        """Listen no more."""
        with self._lock:
            self._listeners.pop(ticket, None)
            self._quiet_since = monotonic()

    def id_of(self, item: Item) -> str:
        return f"{self._boot}-{item.number}"

    def place_of(self, last_id: str) -> int | None:
        """The number behind which somebody goes on who knows this id; None: what came after it is
        no longer known."""
        boot, _, number = last_id.partition("-")
        with self._lock:
            oldest = self._items[0].number if self._items else self._last + 1
            is_known = boot == self._boot and number.isdecimal() and len(number) < 16
            if not is_known or not oldest - 1 <= int(number) <= self._last:
                return None
            return int(number)

    @property
    def newest(self) -> int:
        return self._last

    def after(self, number: int) -> list[Item]:
        """What is known of what came later."""
        with self._lock:
            return [item for item in self._items if item.number > number]

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()

    def close(self) -> None:
        """Have listeners end."""
        self._closing.set()
        self._wake()

    # -- telling

    def tell(
        self, kind: str, data: dict[str, Any], *, queue: str | None = None, task: str | None = None
    ) -> None:
        """Something has happened. Any thread."""
        self._tell_all([(kind, data, queue, task)])

    def _tell_all(self, news: Iterable[tuple[str, dict[str, Any], str | None, str | None]]) -> None:
        with self._lock:
            for one in news:
                self._last += 1
                self._items.append(Item(self._last, *one))
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            wakes = list(self._listeners.values())
        for wake in wakes:
            wake()

    def hear(self, event: e.Event) -> None:
        """An event of the node beside us."""
        said = {field.name: plain(getattr(event, field.name)) for field in fields(event)}
        for long in ("traceback", "stacks", "text"):
            said.pop(long, None)
        queue, task = said.get("queue"), said.get("task")
        self.tell("node", {"event": type(event).__name__, **said}, queue=queue, task=task)

    def ran(self, runs: Sequence[e.Ran]) -> None:
        """Runs that the node beside us has ended. Costs nothing while nobody listens."""
        if self._listeners:
            self._tell_all(("run", run._asdict(), run.queue, run.task) for run in runs)

    # -- looking

    def _look_on(self) -> None:
        while not self._closing.wait(LOOK_S):
            with self._lock:
                is_over = not self._listeners and monotonic() - self._quiet_since > LINGER_S
            if is_over:
                return
            self.look()

    def look(self) -> None:
        """Compare the store with how it was at the last look."""
        try:
            queues, nodes = self._seen()
        except BrokerError:
            if not self._is_away:
                self.tell("store", {"away": True})
            self._is_away = True
            return
        if self._is_away:
            self.tell("store", {"away": False})
        self._is_away = False
        for name, counts in queues.items():
            if counts != self._queues.get(name):
                self.tell("queue", {"queue": name, **counts}, queue=name)
        self._queues = queues
        before = nodes if self._nodes is None else self._nodes
        for word, some in (("joined", nodes - before), ("left", before - nodes)):
            for node in sorted(some):
                self.tell("fleet", {"node": node, "has": word})
        self._nodes = nodes

    def _seen(self) -> tuple[dict[str, Any], set[str]]:
        broker = self._app.broker
        found = {
            stats.queue: {
                "counts": {state: stats.counts.get(state, 0) for state in State},
                "processed": stats.processed,
                "failed": stats.failed,
            }
            for stats in broker.stats(broker.queues())
        }
        return found, {node.id for node in broker.nodes()}


class Ear:
    """One listener, in its event loop."""

    def __init__(self, feed: Feed, after: int) -> None:
        self._feed = feed
        self._after = after
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._ticket = feed.listen(self._wake)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop has ended
            self._feed.leave(self._ticket)

    async def next(self, patience: float) -> list[Item]:
        """What is new; nothing where that takes longer than `patience` seconds."""
        found = self._feed.after(self._after)
        if not found and not self._feed.is_closing:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), patience)
            except TimeoutError:
                return []
            found = self._feed.after(self._after)
        if found:
            self._after = found[-1].number
        return found

    def leave(self) -> None:
        self._feed.leave(self._ticket)
