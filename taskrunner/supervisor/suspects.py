"""Jobs that may have killed a process, and the children that run one of them and nothing else.

A suspect waits for a child that is empty. Where there is none, the child with the least to do is
*reserved*: it gets nothing more, so that it will be. While ordinary work waits too, one child is left
to it, if there are two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from taskrunner.supervisor.child import Child, Held


class Suspects:
    """Those that wait. Used under the dispatcher's lock."""

    def __init__(self) -> None:
        self.waiting: deque[Held] = deque()
        self._reserved: Child | None = None

    def __len__(self) -> int:
        return len(self.waiting)

    def __iter__(self) -> Iterator[Held]:
        return iter(self.waiting)

    @property
    def want_seats(self) -> bool:
        """There is something for `seat` to do."""
        return bool(self.waiting) or self._reserved is not None

    @property
    def first(self) -> Held | None:
        return self.waiting[0] if self.waiting else None

    def reserve_none(self) -> None:
        """No child is kept empty any more."""
        if self._reserved is not None:
            self._reserved.reserved, self._reserved = False, None

    def seat(
        self,
        children: Sequence[Child],
        now: float,
        *,
        others_wait: bool,
        fits: Callable[[Child, Held], bool],
    ) -> None:
        """Give them to empty children, and see to it that there will be one. `fits`: whether a
        child can run one of them."""
        self.reserve_none()
        able = [child for child in children if child.is_able]
        seats = max(1, len(able) - others_wait) - sum(bool(child.alone) for child in able)
        while self.waiting and seats > 0:
            first = self.waiting[0]
            fitting = [child for child in able if fits(child, first)]
            child = next((c for c in fitting if c.may_receive and not c.held), None)
            if child is None:
                self._reserve(fitting)
                return
            child.give_alone(self.waiting.popleft(), now)
            seats -= 1

    def _reserve(self, children: Sequence[Child]) -> None:
        open_ = [child for child in children if child.may_receive]
        if open_:
            self._reserved = min(open_, key=lambda child: child.load)
            self._reserved.reserved = True
