"""What a job may cost, counted, not timed: the bounds that the suite holds.

Each is what was measured when it was set, and how much more is let pass: nothing where the count is
the same in every run, some where it depends on how jobs happen to be batched. `python -m
benchmarks.counts` prints all of them beside what it counts now. Whoever makes something cheaper lowers
its bound; whoever makes something dearer says in the change why that is worth it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Bound(NamedTuple):
    """`usual`, and the part of it that may be added."""

    usual: float
    margin: float = 0.0

    @property
    def most(self) -> float:
        return self.usual * (1 + self.margin)


HARDLY: Final = 0.02
"""The same in every run: room for an id or a number with a digit more."""
SLIGHTLY: Final = 0.06
"""What differs between versions of Python and of libraries."""
SOMEWHAT: Final = 0.12
"""Per job, and a little for each batch."""
BATCHED: Final = 0.4
"""Mostly for each batch: how large they are depends on what is done when a node looks."""
QUARTER: Final = 0.25
"""Per job or per batch, and something for the rest of what a node does meanwhile."""
TWICE: Final = 1.0
"""As the network happens to cut a long request."""
THRICE: Final = 2.0
"""For each batch alone, on a machine that is busy with something else."""

BOUNDS: Final[dict[str, Bound]] = {
    "submit one by one: round trips": Bound(1, HARDLY),
    "submit one by one: commands on the wire": Bound(1, HARDLY),
    "submit one by one: commands inside scripts": Bound(7, HARDLY),
    "submit one by one: bytes to Redis": Bound(236, HARDLY),
    "submit one by one: bytes from Redis": Bound(4.78, HARDLY),
    "submit one by one: calls of functions": Bound(43.26, SLIGHTLY),
    "submit in bulk: round trips": Bound(0.004, TWICE),
    "submit in bulk: commands on the wire": Bound(0.004, HARDLY),
    "submit in bulk: commands inside scripts": Bound(2.02, HARDLY),
    "submit in bulk: bytes to Redis": Bound(74.67, HARDLY),
    "submit in bulk: bytes from Redis": Bound(0.016, HARDLY),
    "submit in bulk: calls of functions": Bound(18.17, SLIGHTLY),
    "bytes of a waiting job in Redis": Bound(233.36, HARDLY),
    "bytes of a waiting job in Redis beside 100 bytes": Bound(245.7, HARDLY),
    "submit with 100 bytes: commands inside scripts": Bound(2.02, HARDLY),
    "fetch with 100 bytes: commands inside scripts": Bound(2.05, HARDLY),
    "bytes of a waiting job in Redis beside 1,000 bytes": Bound(382, HARDLY),
    "submit with 1,000 bytes: commands inside scripts": Bound(3.02, HARDLY),
    "fetch with 1,000 bytes: commands inside scripts": Bound(3.05, HARDLY),
    "fetch 250: round trips": Bound(0.004, HARDLY),
    "fetch 250: commands on the wire": Bound(0.004, HARDLY),
    "fetch 250: commands inside scripts": Bound(2.05, HARDLY),
    "fetch 250: bytes to Redis": Bound(0.76, SLIGHTLY),
    "fetch 250: bytes from Redis": Bound(94.06, HARDLY),
    "settle 250: round trips": Bound(0.004, TWICE),
    "settle 250: commands on the wire": Bound(0.004, HARDLY),
    "settle 250: commands inside scripts": Bound(2.03, HARDLY),
    "settle 250: bytes to Redis": Bound(74.7, HARDLY),
    "settle 250: bytes from Redis": Bound(1.03, HARDLY),
    "run: round trips": Bound(0.016, THRICE),
    "run: commands on the wire": Bound(0.016, THRICE),
    "run: commands inside scripts": Bound(3.99, QUARTER),
    "run: bytes to Redis": Bound(76.41, SOMEWHAT),
    "run: bytes from Redis": Bound(92, BATCHED),
    "run: other calls of the store for each fetch and settle": Bound(0.0),
    "run: calls of functions in the supervisor": Bound(24, BATCHED),
    "run: calls of functions in the child": Bound(40.1, SLIGHTLY),
}
