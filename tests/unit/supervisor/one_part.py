"""The parts of a node whose broker can be made sick, without children and without a loop."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from taskrunner.brokers.base import Bell, JobKey, Outcome, OutcomeKind, Take
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.config import Config
from taskrunner.errors import NodeFailed, StartError
from taskrunner.events import Event, Events
from taskrunner.message import Header, Message
from taskrunner.retry import Policy
from taskrunner.supervisor.generation import Generation
from taskrunner.supervisor.parts import Parts, Surroundings

Sickness = Callable[..., None]


class SickBroker(MemoryBroker):
    """Raises what it is told to, before it does what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.ills: dict[str, Sickness] = {}
        self.calls: Counter[str] = Counter()

    def fails(self, method: str, error: BaseException, *, times: int = 10**9) -> None:
        """The next calls of a method fail."""
        left = [times]

        def ill(*_: Any, **__: Any) -> None:
            if left[0]:
                left[0] -= 1
                raise error

        self.ills[method] = ill

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in (
            "fetch",
            "settle",
            "note",
            "beat",
            "due",
            "promote",
            "reap",
            "sweep",
            "join",
        ):
            return found
        return lambda *args, **named: self._call(name, found, *args, **named)

    def _call(self, name: str, method: Any, *args: Any, **named: Any) -> Any:
        self.calls[name] += 1
        if name in self.ills:
            self.ills[name](*args, **named)
        return method(*args, **named)


class OnePart:
    """A node that is nothing but its parts: tests start the one that they are about."""

    def __init__(self, *queues: str, **settings: Any) -> None:
        self.broker = SickBroker()
        names = tuple((queue, 1) for queue in queues or ("q",))
        self.config = Config(queues=names, processes=1, **settings)
        self.happened: list[Event] = []
        self.failures: list[StartError | NodeFailed] = []
        self.heard: dict[str, list[Any]] = defaultdict(list)
        events = Events()
        events.subscribe(self.happened.append)
        around = Surroundings(self.broker, None, self.config, SYSTEM_CLOCK, events)
        self.parts = Parts(around, node=self, make_generation=self._make, embedded=True)
        self.parts.dispatcher.knows({"t": Policy()})
        self.parts.membership.join()

    def _make(self) -> Generation:
        raise AssertionError("no part starts a generation")

    @property
    def id(self) -> str:
        return self.parts.membership.id

    def enqueue(self, *ids: str, queue: str = "q", **timing: Any) -> None:
        self.broker.enqueue([Message(i, queue, Header("t"), b"", **timing) for i in ids])

    def deliver(self, *ids: str, queue: str = "q") -> list[Outcome]:
        """Have jobs delivered to this node; the outcomes with which they would succeed."""
        self.enqueue(*ids, queue=queue)
        first = 1 + 1000 * self.broker.calls["fetch"]
        found = self.broker.fetch(self.id, [Take(queue, len(ids))], first).deliveries
        return [Outcome(d.queue, d.id, d.number, OutcomeKind.SUCCEEDED) for d in found]

    def state(self, job_id: str, queue: str = "q") -> str | None:
        record = self.broker.get([JobKey(queue, job_id)])[0]
        return None if record is None else str(record.state)

    def events(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.happened if isinstance(event, kind)]

    # -- the Node that the parts tell

    def on_loop(self, do: Callable[..., None], *values: Any) -> None:
        do(*values)

    def give_up(self, error: StartError | NodeFailed) -> None:
        self.failures.append(error)

    def stop(self) -> None:
        self.heard["stop"].append(None)

    def reload(self) -> None:
        self.heard["reload"].append(None)

    def grow(self) -> None:
        self.heard["grow"].append(None)

    def shrink(self) -> None:
        self.heard["shrink"].append(None)

    def dump(self) -> None:
        self.heard["dump"].append(None)

    def rung(self, bell: Bell) -> None:
        self.heard["rung"].append(bell)

    def hears_again(self) -> None:
        self.heard["hears_again"].append(None)

    def node_lost(self, node: str) -> None:
        self.heard["node_lost"].append(node)

    def may_not_fetch(self) -> bool:
        return False

    def cancels(self, marked: list[tuple[JobKey, int]]) -> None:
        self.heard["cancels"].append(marked)

    def lease_ran_out(self) -> None:
        self.heard["lease_ran_out"].append(None)

    def queues_ran_out(self, queues: frozenset[str]) -> None:
        self.heard["queues_ran_out"].append(queues)

    def lease_renewed(self, until: float) -> None:
        self.heard["lease_renewed"].append(until)
