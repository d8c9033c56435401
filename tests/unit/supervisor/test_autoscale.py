"""How many children there should be, over simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.supervisor.autoscale import Means, Memory, Rules, Sight, decide, within

RULES = Rules(low=2, high=16, concurrency=1, grow_after_s=0.5, shrink_after_s=30.0)
LOOK = 0.1


@dataclass
class Pool:
    """Children that start at once, and work that comes by a plan: so many jobs want to run."""

    rules: Rules = RULES
    size: int = 2
    now: float = 0.0
    memory: Memory = field(default_factory=Memory)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def run(self, seconds: float, work: Callable[[float], int]) -> None:
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            jobs, slots = work(self.now), self.size * self.rules.concurrency
            in_use = min(jobs, slots)
            sight = Sight(self.now, self.size, self.size, in_use, slots - in_use, jobs - in_use)
            size, self.memory = decide(sight, self.memory, self.rules)
            if size != self.size:
                self.size = size
                self.changes.append((round(self.now, 3), size))

    @property
    def sizes(self) -> list[int]:
        return [size for _, size in self.changes]


def test_it_grows_by_halves_while_work_waits() -> None:
    pool = Pool()
    pool.run(10, lambda now: 100)
    assert pool.sizes == [3, 4, 6, 9, 13, 16]
    times = [at for at, _ in pool.changes]
    assert times[0] >= 0.5
    assert all(later - earlier >= 0.5 - LOOK / 2 for earlier, later in pairwise(times))


def test_it_does_not_grow_beyond_what_waits() -> None:
    pool = Pool(size=8)
    pool.run(5, lambda now: 9)
    assert pool.sizes == [9]
    many = Pool(rules=replace(RULES, concurrency=4), size=8)
    many.run(5, lambda now: 32 + 5)
    assert many.sizes == [10]


def test_what_waits_for_a_moment_changes_nothing() -> None:
    pool = Pool()
    pool.run(60, lambda now: 50 if now % 1 < 0.35 else 2)
    assert pool.sizes == []


def test_a_free_slot_or_a_child_that_starts_is_waited_for() -> None:
    sight = Sight(now=100.0, size=4, ready=4, in_use=3, free=1, waiting=9)
    pressed = Memory(pressed_since=0.0)
    assert decide(sight, pressed, RULES)[0] == 4
    starting = replace(sight, ready=3, in_use=3, free=0)
    assert decide(starting, pressed, RULES)[0] == 4
    assert decide(replace(sight, in_use=4, free=0), pressed, RULES)[0] == 6


def test_it_shrinks_to_what_was_needed_and_never_by_more_than_half() -> None:
    pool = Pool(size=16)
    pool.run(40, lambda now: 5)
    assert pool.sizes == [8]
    pool.run(60, lambda now: 5)
    assert pool.sizes == [8, 5]
    pool.run(300, lambda now: 0)
    assert pool.sizes == [8, 5, 3, 2]
    gaps = [b - a for (a, _), (b, _) in pairwise(pool.changes)]
    assert all(gap >= RULES.shrink_after_s - LOOK for gap in gaps)


def test_a_burst_that_comes_back_finds_the_children_it_needed() -> None:
    pool = Pool()
    pool.run(600, lambda now: 9 if now % 25 < 5 else 1)
    assert pool.sizes == [3, 4, 6, 9]
    assert pool.changes[-1][0] < 10


@pytest.mark.parametrize("jobs", [2, 3, 7, 16, 17])
def test_steady_work_ends_in_one_size(jobs: int) -> None:
    pool = Pool()
    pool.run(300, lambda now: jobs)
    assert pool.size == min(16, jobs)
    assert pool.sizes == sorted(pool.sizes)


@given(st.lists(st.tuples(st.floats(1, 120), st.integers(0, 40)), max_size=12))
def test_it_never_flaps_whatever_comes(plan: list[tuple[float, int]]) -> None:
    """Between growing and shrinking there is always a whole quiet time, and it stays in its range."""
    pool = Pool()
    for seconds, jobs in plan:
        pool.run(seconds, lambda now, jobs=jobs: jobs)  # type: ignore[misc]
    assert all(RULES.low <= size <= RULES.high for size in pool.sizes)
    before, last_growth = 2, float("-inf")
    for at, size in pool.changes:
        if size < before:
            assert at - last_growth >= RULES.shrink_after_s - 2 * LOOK
        else:
            last_growth = at
        before = size


# -- what the machine bears

FREE = 1000 * 2**20
CHILD = 100 * 2**20


def means(**fields: float | None) -> Means:
    found = {"cpus": 4.0, "wanted": 1.0, "free_bytes": FREE, "child_bytes": CHILD, **fields}
    return Means(**found)  # type: ignore[arg-type]


def bounds() -> Iterator[tuple[Means, int]]:
    """From 4 children, wanting 8."""
    yield means(), 8
    yield means(wanted=None, free_bytes=None, child_bytes=None), 8
    yield means(wanted=3.9), 4  # they compute: the processors are used up
    yield means(wanted=3.7), 4
    yield means(wanted=3.0), 5  # there is room for one more that computes as much
    yield means(wanted=2.0), 8
    yield means(wanted=0.01), 8  # they wait for something else
    yield means(wanted=9.0), 4  # more than there are: others compute, too
    yield means(cpus=0.5, wanted=0.5), 4  # a container with half of one
    yield means(free_bytes=250 * 2**20), 6
    yield means(free_bytes=110 * 2**20), 4  # a tenth stays free
    yield means(free_bytes=0), 4
    yield means(wanted=3.0, free_bytes=0), 4


@pytest.mark.parametrize(("found", "size"), list(bounds()))
def test_it_grows_as_far_as_the_machine_bears(found: Means, size: int) -> None:
    bound = within(8, 4, found)
    assert bound.size == size
    assert bool(bound.why) is (size < 8)


def test_the_reason_is_said_in_numbers() -> None:
    assert within(8, 4, means(wanted=3.9)).why == "its processes want 3.9 of 4 processors"
    bound = within(8, 4, means(free_bytes=150 * 2**20))
    assert bound.why == "150 MiB of memory are free, and each takes 100"
