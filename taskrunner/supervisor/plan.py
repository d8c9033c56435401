"""Which queues the next fetch asks, and for how many jobs each. Pure, but for its own memory.

Weights are shared out by smooth weighted round robin over a whole batch: each queue earns credit by
its weight and pays with the jobs it is asked for, so that single-job fetches come out in proportion
too (the idea is nginx's, of 2012). With `strict`, a queue is asked only when those above it have
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from taskrunner.brokers.base import Fetched, Take

AT_ONCE = 25
"""The part of what is fetched ahead that starts so soon that it does as if at once: within two
milliseconds, of the 50 for which a child is given work."""


def _at_once(room: int, slots: int) -> int:
    """How many jobs that a limit concerns there is use for: as many as there are slots, or, of a queue
    whose jobs are so quick that there is room for hundreds, what starts within a moment."""
    return max(slots, room // AT_ONCE)


class Planner:
    """Knows the queues, their weights, and which of them are believed to have ready jobs."""

    def __init__(self, queues: Sequence[tuple[str, int]], *, strict: bool) -> None:
        self._weights = dict(queues)
        self._strict = strict
        self._believed = set(self._weights)
        self._parked: dict[str, frozenset[str]] = {}
        """by queue: keys under which jobs are parked that this node can run"""
        self._credit = dict.fromkeys(self._weights, 0.0)
        self._left: dict[str, int] = {}
        self._withheld: frozenset[str] = frozenset()
        """queues with jobs that a limit concerns: they are given only what starts at once"""
        self.learnt = 0
        """how often a fetch has told what it left"""

    @property
    def left(self) -> int:
        """Jobs that the last fetches left in the store, because there was no room for them."""
        return sum(self._left.copy().values())

    @property
    def queues(self) -> list[str]:
        return list(self._weights)

    def add(self, queues: Iterable[str]) -> list[str]:
        """Serve these too, with weight 1; those that were new."""
        new = [queue for queue in queues if queue not in self._weights]
        for queue in new:
            self._credit[queue] = 0.0
        # Replaced as a whole: the fetch thread may be reading the old one.
        self._weights = {**self._weights, **dict.fromkeys(new, 1)}
        self._believed.update(new)
        return new

    def believe(self, queue: str | None = None) -> None:
        """A bell said that this queue has ready jobs; None: any may have."""
        if queue is None:
            self._believed.update(self._weights)
        elif queue in self._weights:
            self._believed.add(queue)

    def found_parked(self, queue: str, keys: Iterable[str]) -> None:
        """Jobs that this node can run are parked under these keys: the next fetches take them."""
        self._parked[queue] = self._parked.get(queue, frozenset()) | frozenset(keys)
        self.believe(queue)

    def learn(self, plan: Sequence[Take], fetched: Fetched) -> None:
        """What a fetch answered. A queue that gave less than its limit has listed this node as
        idle: it is not asked again until a bell rings. One that gave its limit has not, and is.
        The former has nothing parked any more either, under the keys that were asked."""
        self._left.update(fetched.left)
        asked = frozenset(take.queue for take in plan)
        self._withheld = (self._withheld - asked) | fetched.withheld
        self.learnt += 1
        got = {take.queue: 0 for take in plan}
        for delivery in fetched.deliveries:
            got[delivery.queue] = got.get(delivery.queue, 0) + 1
        for take in plan:
            if got[take.queue] >= take.limit:
                continue
            if not fetched.left.get(take.queue, 0):
                self._believed.discard(take.queue)
            if take.parked:
                self._parked[take.queue] = self._parked[take.queue].difference(take.parked)

    @property
    def hopeful(self) -> bool:
        """Some queue is believed to have ready jobs."""
        return bool(self._believed)

    def plan(
        self,
        room: Callable[[str], int],
        without: frozenset[str] = frozenset(),
        slots: int | None = None,
    ) -> list[Take]:
        """What to ask now, `without` some queues; `room` tells how many jobs of a queue alone there
        is room for, `slots` how many could start at once (None: all of them)."""
        if slots is None:
            return self._plan(room, without)

        def most(queue: str) -> int:
            there_is = room(queue)
            return min(there_is, _at_once(there_is, slots)) if queue in self._withheld else there_is

        takes = self._plan(most, without)
        share = -(-slots // max(1, len(takes)))
        return [
            take._replace(
                slots=take.limit if take.queue in self._withheld else _at_once(take.limit, share)
            )
            for take in takes
        ]

    def _plan(self, room: Callable[[str], int], without: frozenset[str]) -> list[Take]:
        asked = [queue for queue in self._weights if queue in self._believed - without]
        if self._strict:
            asked = sorted(asked, key=self._weights.__getitem__, reverse=True)[:1]
        if len(asked) == 1:
            limit = room(asked[0])
            return [self._take(asked[0], limit)] if limit else []
        return self._shared(asked, room)

    def _shared(self, asked: list[str], room: Callable[[str], int]) -> list[Take]:
        """Only queues that have room earn: what they are asked for in advance they earn back."""
        rooms = {queue: limit for queue in asked if (limit := room(queue)) > 0}
        total = sum(self._weights[queue] for queue in rooms)
        takes = []
        for queue, most in rooms.items():
            share = most * self._weights[queue] / total
            self._credit[queue] = min(self._credit[queue], 1.0) + share
            limit = int(self._credit[queue])
            if limit > 0:
                self._credit[queue] -= limit
                takes.append(self._take(queue, limit))
        if rooms and not takes:
            takes = [self._advance(max(rooms, key=self._credit.__getitem__))]
        return takes

    def _advance(self, queue: str) -> Take:
        self._credit[queue] -= 1.0
        return self._take(queue, 1)

    def _take(self, queue: str, limit: int) -> Take:
        parked = self._parked.get(queue)
        return Take(queue, limit, tuple(parked)) if parked else Take(queue, limit)
