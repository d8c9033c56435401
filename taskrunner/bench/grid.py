"""What to try: each number of processes with each concurrency and each prefetch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import product
from typing import Final, NamedTuple, TypeVar

from taskrunner.errors import OptionError

T = TypeVar("T")

AUTO: Final = "auto"
MOST_PROCESSES: Final = 1_000
MOST: Final = 1_000_000


class Setting(NamedTuple):
    """One way to run a node."""

    processes: int
    concurrency: int
    prefetch: str
    """`auto`, or a number as text"""

    @property
    def options(self) -> tuple[str, ...]:
        """As options of `run`."""
        return (
            *("--processes", str(self.processes)),
            *("--concurrency", str(self.concurrency)),
            *("--prefetch", self.prefetch),
        )

    def __str__(self) -> str:
        return f"{self.processes} x {self.concurrency}, prefetch {self.prefetch}"


def grid(
    processes: Sequence[int], concurrency: Sequence[int], prefetch: Sequence[str]
) -> list[Setting]:
    """All of them, the smallest first."""
    return [Setting(*one) for one in product(processes, concurrency, prefetch)]


def usual_processes() -> list[int]:
    """One, one for each CPU, and twice as many."""
    cpus = os.cpu_count() or 1
    return sorted({1, cpus, 2 * cpus})


def numbers(text: str, option: str, *, most: int = MOST) -> list[int]:
    """`1,2,4`. Raises OptionError."""

    def number(word: str) -> int:
        found = int(word)
        if not 1 <= found <= most:
            raise ValueError
        return found

    return _listed(text, option, number, f"whole numbers from 1 to {most:,}, as in 1,2,4")


def prefetches(text: str) -> list[str]:
    """`auto,1,100`. Raises OptionError."""

    def prefetch(word: str) -> str:
        if word != AUTO and not 1 <= int(word) <= MOST:
            raise ValueError
        return word if word == AUTO else str(int(word))

    return _listed(
        text, "--prefetch", prefetch, "auto or whole numbers, 1 or more, as in auto,1,10"
    )


def _listed(text: str, option: str, read: Callable[[str], T], accepts: str) -> list[T]:
    try:
        found = [read(word.strip()) for word in text.split(",")]
    except ValueError:
        raise OptionError(f"{option} {text!r}: expected {accepts}") from None
    return list(dict.fromkeys(found))
