"""Where the commands of one exchange go in a cluster, and what becomes of what comes back.

    requests ─▶ units ─▶ by server ─┬─▶ server 1 ─┐
                 ▲                  └─▶ server 2 ─┴─▶ replies, back in order
                 │                          │
                 └── MOVED, ASK ◀───────────┘   (with the map asked for anew after a MOVED)

A unit is a command with a key and those without one that follow it: they stay together, on one
connection, in order. Nothing here does I/O: a `Trip` yields what to send to which server and is
sent what came back, by a thread's sockets or a loop's.

What is never hidden: that a server is away, and that a slot has another master because the old one
fell. A new master may have missed the last writes, so both are answered as an outage. Only what was
moved in good order, from a master to a master, is followed unseen.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from redis.exceptions import AskError, MovedError, ResponseError

from taskrunner.brokers.redis.address import Server
from taskrunner.brokers.redis.failures import Unreached
from taskrunner.brokers.redis.line import Reply, Request
from taskrunner.brokers.redis.slots import QUESTION, SlotMap, slot_of_request
from taskrunner.clock import monotonic

Batches: TypeAlias = Mapping[Server, Sequence[Request]]
Answers: TypeAlias = Mapping[Server, Sequence[Reply] | Exception]
Trip: TypeAlias = Generator[Batches, Answers, list[Reply]]
"""Yields requests by server, is sent replies by server, returns the replies to an exchange."""
Search: TypeAlias = Generator[Batches, Answers, SlotMap | None]

_TURNS: Final = 5
"""How often a command is sent elsewhere before it counts as lost its way."""
_PAUSE_S: Final = 0.25
"""A server that was away is not asked again for so long, …"""
_SHARE: Final = 4
"""… and for so many times as long as it took to find out: so a server that is silent costs
those who ask for others a fifth of their time at most."""
_TRIAL_S: Final = 20.0
"""For which a server is left to whoever tries it."""


class Unit(NamedTuple):
    """A command with a key, and those without one that go with it."""

    start: int
    end: int
    slot: int | None


def units(requests: Sequence[Request]) -> Iterator[Unit]:
    """Each command with a key, together with those without one after it; the first of them with
    those before it, too."""
    start, slot = 0, None
    for at, request in enumerate(requests):
        found = slot_of_request(request)
        if found is None:
            continue
        if slot is not None:
            yield Unit(start, at, slot)
            start = at
        slot = found
    yield Unit(start, len(requests), slot)


class Redirect(NamedTuple):
    """What a server said of a unit that is not, or not yet, its own."""

    of: Server
    to: Server
    is_ask: bool


class Trouble(NamedTuple):
    """What is known of a server that was away."""

    until: float
    error: Exception


class Router:
    """What one process knows of a cluster. Thread-safe: what is changed is replaced."""

    def __init__(self, seeds: Sequence[Server]) -> None:
        self._seeds = seeds
        self._slots: SlotMap | None = None
        self._trouble: dict[Server, Trouble] = {}

    def trip(self, requests: Sequence[Request]) -> Trip:
        """The replies to an exchange; in the place of those of which a server is away Unreached."""
        replies: list[Reply] = [None] * len(requests)
        todo = list(units(requests))
        told: dict[Unit, Redirect] = {}
        slots = self._slots or (yield from self._learn(None))
        for _ in range(_TURNS):
            if slots is None:
                break
            parcels = self._parcels(todo, told, slots, replies)
            began = monotonic()
            answers = (yield _batches(parcels, told, requests)) if parcels else {}
            told, failed = self._read(parcels, told, answers, replies, monotonic() - began)
            if failed or not all(redirect.is_ask for redirect in told.values()):
                slots = yield from self._learn(slots)
            todo = _to_follow(told, slots, replies)
            if not todo:
                return replies
        self._give_up(todo, replies)
        return replies

    @property
    def servers(self) -> Sequence[Server]:
        """Every master that is known to have slots; before any exchange none is."""
        return self._slots.servers if self._slots else ()

    def candidates(self) -> list[Server]:
        """Whom to ask what all servers know: in any order, those that were away last."""
        found = list(dict.fromkeys([*self.servers, *self._seeds]))
        random.shuffle(found)
        return sorted(found, key=self._trouble.__contains__)

    def failed(self, server: Server, error: Exception, took: float = 0.0) -> None:
        """A server is away; it took so many seconds to find out."""
        until = monotonic() + max(_PAUSE_S, _SHARE * took)
        self._trouble[server] = Trouble(until, error)

    def served(self, server: Server) -> None:
        self._trouble.pop(server, None)

    def _may_try(self, server: Server) -> bool:
        """Whether it is worth asking, which is then left to the caller alone."""
        trouble = self._trouble.get(server)
        if trouble is None:
            return True
        now = monotonic()
        if now < trouble.until:
            return False
        self._trouble[server] = trouble._replace(until=now + _TRIAL_S)
        return True

    # -- the parts of a trip

    def _parcels(
        self,
        todo: Sequence[Unit],
        told: Mapping[Unit, Redirect],
        slots: SlotMap,
        replies: list[Reply],
    ) -> dict[Server, list[Unit]]:
        """What to send where. Those who may be away last: what the others do costs no waiting."""
        wanted: dict[Server, list[Unit]] = {}
        for unit in todo:
            server = told[unit].to if unit in told else self._server(unit, slots)
            if server is None:
                _fill(replies, unit, Unreached(f"no server of the cluster has slot {unit.slot}"))
            else:
                wanted.setdefault(server, []).append(unit)
        parcels: dict[Server, list[Unit]] = {}
        for server in sorted(wanted, key=self._trouble.__contains__):
            trouble = self._trouble.get(server)
            if trouble is None or self._may_try(server):
                parcels[server] = wanted[server]
            else:
                for unit in wanted[server]:
                    _fill(replies, unit, Unreached.by(server, trouble.error))
        return parcels

    def _server(self, unit: Unit, slots: SlotMap) -> Server | None:
        if unit.slot is not None:
            return slots.owner(unit.slot)
        return next(iter(self.candidates()), None)

    def _read(
        self,
        parcels: Mapping[Server, Sequence[Unit]],
        told: Mapping[Unit, Redirect],
        answers: Answers,
        replies: list[Reply],
        took: float,
    ) -> tuple[dict[Unit, Redirect], bool]:
        """Put replies into their places. What was sent elsewhere, and whether a server is away."""
        redirects: dict[Unit, Redirect] = {}
        any_failed = False
        for server, parcel in parcels.items():
            answer = answers[server]
            if isinstance(answer, Exception):
                any_failed = True
                self.failed(server, answer, took)
                for unit in parcel:
                    _fill(replies, unit, Unreached.by(server, answer))
                continue
            self.served(server)
            left = iter(answer)
            for unit in parcel:
                part = _part(left, unit, unit in told and told[unit].is_ask)
                redirect = _redirect(server, part)
                if redirect is None:
                    replies[unit.start : unit.end] = part
                else:
                    redirects[unit] = redirect
        return redirects, any_failed

    def _learn(self, known: SlotMap | None) -> Search:
        """A newer map than the one known; the same one where nobody can be asked."""
        if self._slots is not known:
            return self._slots  # another thread has asked meanwhile
        for server in self.candidates():
            if not self._may_try(server):
                continue
            began = monotonic()
            answer = (yield {server: QUESTION})[server]
            if not isinstance(answer, Exception) and isinstance(answer[0], ResponseError):
                answer = answer[0]
            if isinstance(answer, Exception):
                self.failed(server, answer, monotonic() - began)
                continue
            self.served(server)
            self._slots = SlotMap.parse(answer[0], server)
            break
        return self._slots

    def _give_up(self, todo: Iterable[Unit], replies: list[Reply]) -> None:
        said = "; ".join(str(Unreached.by(*known)) for known in self._errors())
        why = said if self._slots is None else "sent from server to server: the slots are moving"
        for unit in todo:
            _fill(replies, unit, Unreached(why))

    def _errors(self) -> list[tuple[Server, Exception]]:
        return [(server, trouble.error) for server, trouble in list(self._trouble.items())]


def _batches(
    parcels: Mapping[Server, Sequence[Unit]],
    told: Mapping[Unit, Redirect],
    requests: Sequence[Request],
) -> Batches:
    batches: dict[Server, list[Request]] = {}
    for server, parcel in parcels.items():
        batch = batches[server] = []
        for unit in parcel:
            for request in requests[unit.start : unit.end]:
                if unit in told and told[unit].is_ask:
                    batch.append(("ASKING",))
                batch.append(request)
    return batches


def _part(left: Iterator[Reply], unit: Unit, is_ask: bool) -> list[Reply]:
    """The replies to one unit; those to ASKING are skipped."""
    part = []
    for _ in range(unit.start, unit.end):
        if is_ask:
            next(left)
        part.append(next(left))
    return part


def _redirect(server: Server, part: Sequence[Reply]) -> Redirect | None:
    for reply in part:
        if isinstance(reply, AskError):  # MovedError is one, too
            to = Server(reply.host or server.host, reply.port)
            return Redirect(server, to, not isinstance(reply, MovedError))
    return None


def _to_follow(
    told: Mapping[Unit, Redirect], slots: SlotMap | None, replies: list[Reply]
) -> list[Unit]:
    """The units to send once more. Not those whose old master is no master any more: it fell, and
    the new one may have missed something."""
    todo = []
    for unit, redirect in told.items():
        if not redirect.is_ask and slots is not None and redirect.of not in slots.servers:
            why = f"the master of slot {unit.slot} is no longer {redirect.of} but {redirect.to}"
            _fill(replies, unit, Unreached(why))
        else:
            todo.append(unit)
    return todo


def _fill(replies: list[Reply], unit: Unit, reply: Reply) -> None:
    replies[unit.start : unit.end] = [reply] * (unit.end - unit.start)
