"""Where deliveries wait in this node until there is a child for them.

backlog    ordinary ones
suspects   those that must run alone
shelf      those of queues in which nothing may start for now
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from taskrunner.supervisor.child import Held
from taskrunner.supervisor.suspects import Suspects


class Lines:
    """Used under the dispatcher's lock."""

    def __init__(self) -> None:
        self.backlog: deque[Held] = deque()
        self.suspects = Suspects()
        self.out: frozenset[str] = frozenset()
        """queues in which nothing may start; what is here of them lies on the shelf"""
        self._shelf: deque[Held] = deque()

    def __iter__(self) -> Iterator[Held]:
        return chain(self.suspects, self.backlog, self._shelf)

    def __len__(self) -> int:
        return self.wanting + len(self._shelf)

    @property
    def wanting(self) -> int:
        """How many could start at once."""
        return len(self.backlog) + len(self.suspects)

    def add(self, held: Held) -> None:
        """Behind all others of its line."""
        self._line_of(held).append(held)

    def put_back(self, helds: Iterable[Held]) -> None:
        """Before all others of their lines, in their order."""
        for held in reversed(list(helds)):
            self._line_of(held).appendleft(held)

    def _line_of(self, held: Held) -> deque[Held]:
        if held.delivery.queue in self.out:
            return self._shelf
        return self.suspects.waiting if held.delivery.suspect else self.backlog

    def keep(self, wanted: Callable[[Held], bool]) -> None:
        """Drop what is not wanted any more."""
        for line in self._all():
            kept = [held for held in line if wanted(held)]
            line.clear()
            line.extend(kept)

    def keep_out(self, queues: frozenset[str]) -> None:
        """Nothing may start of these queues, and of no others."""
        waiting = [*self._shelf, *self.suspects.waiting, *self.backlog]
        for line in self._all():
            line.clear()
        self.out = queues
        for held in waiting:
            self.add(held)

    @property
    def waits(self) -> bool:
        """Something does, or somebody for it."""
        return bool(self.backlog) or self.suspects.want_seats

    def pop(self, older_than: float | None = None, but: Held | None = None) -> Iterator[Held]:
        """Take out everything, or what has waited in vain since before that time, of each line the
        youngest first; but not this one, which is the first of its line."""
        for line in self._all() if older_than is None else (self.backlog, self.suspects.waiting):
            while line and line[-1] is not but and _is_older(line[-1], older_than):
                yield line.pop()

    def _all(self) -> tuple[deque[Held], ...]:
        return self.backlog, self.suspects.waiting, self._shelf


def _is_older(held: Held, moment: float | None) -> bool:
    return moment is None or held.since < moment
