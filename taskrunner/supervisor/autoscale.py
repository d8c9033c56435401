"""How many children there should be: decided here, as pure functions; `sizing` sees and acts.

    work waits, no slot is free ──for grow_after_s──▶ half as many again, as far as they would have
                                                      something to do and the machine bears it
    fewer would have been enough ──for shrink_after_s──▶ so many, but never fewer than half

The two conditions exclude each other, and each change begins to count anew: so nothing flaps. A burst
that comes back within `shrink_after_s` finds the children that it needed the last time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

CPU_FULL = 0.9
"""Share of the processors that may be wanted before one more child has something of its own."""
MEMORY_FULL = 0.9
"""Share of what is free that further children may take."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What was asked for."""

    low: int
    high: int
    concurrency: int
    grow_after_s: float
    shrink_after_s: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What there is at one moment."""

    now: float
    """monotonic"""
    size: int
    """children that are wanted"""
    ready: int
    """those of them that have started"""
    in_use: int
    """slots with a job in them"""
    free: int
    """slots that could take one"""
    waiting: int
    """jobs that could start at once if there were a slot"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What of earlier moments counts. Monotonic times."""

    pressed_since: float | None = None
    """since then work has waited, with no slot free"""
    quiet_since: float | None = None
    """since then it has not"""
    most_needed: int = 0
    """children, in that time"""


def decide(sight: Sight, memory: Memory, rules: Rules) -> tuple[int, Memory]:
    """How many children should be wanted, and what to remember for the next time."""
    if sight.waiting > 0 and sight.free == 0 and sight.ready >= sight.size:
        return _pressed(sight, memory, rules)
    if sight.size <= rules.low or sight.ready < sight.size:
        return sight.size, Memory()
    return _quiet(sight, memory, rules)


def _pressed(sight: Sight, memory: Memory, rules: Rules) -> tuple[int, Memory]:
    since = sight.now if memory.pressed_since is None else memory.pressed_since
    if sight.now - since < rules.grow_after_s or sight.size >= rules.high:
        return sight.size, Memory(pressed_since=since)
    step = max(1, sight.size // 2)
    useful = -(-sight.waiting // rules.concurrency)
    # Begins to count anew: what has just been started may be enough.
    return min(rules.high, sight.size + min(step, useful)), Memory(pressed_since=sight.now)


def _quiet(sight: Sight, memory: Memory, rules: Rules) -> tuple[int, Memory]:
    needed = max(memory.most_needed, -(-sight.in_use // rules.concurrency))
    since = sight.now if memory.quiet_since is None else memory.quiet_since
    if sight.now - since < rules.shrink_after_s:
        return sight.size, Memory(quiet_since=since, most_needed=needed)
    least = max(rules.low, sight.size - max(1, sight.size // 2))
    return max(needed, least) if needed < sight.size else sight.size, Memory(quiet_since=sight.now)


@dataclass(frozen=True, slots=True)
class Means:
    """What the machine, or the part of it that is ours, has to give. None: not known."""

    cpus: float
    wanted: float | None
    """processors that this node's own processes have wanted lately"""
    free_bytes: int | None
    """memory that nobody uses"""
    child_bytes: int | None
    """what one of the children takes"""


@dataclass(frozen=True, slots=True)
class Bound:
    """How many children there may be, and why not more."""

    size: int
    why: str = ""


def within(wanted: int, size: int, means: Means) -> Bound:
    """As many of the `wanted` children as the machine bears, now that there are `size`. Those that
    are there stay, whatever it says."""
    found = Bound(wanted)
    for bound in (_by_cpu(size, means), _by_memory(size, means)):
        if bound is not None and bound.size < found.size:
            found = replace(bound, size=max(size, bound.size))
    return found


def _by_cpu(size: int, means: Means) -> Bound | None:
    """One more wants as much as each of the others: a whole processor where they compute, next to
    nothing where they wait for a network."""
    if not means.wanted:
        return None
    more = int((means.cpus - means.wanted) / (means.wanted / size))
    if means.wanted >= CPU_FULL * means.cpus:
        more = 0
    why = f"its processes want {means.wanted:.1f} of {means.cpus:g} processors"
    return Bound(size + max(0, more), why)


def _by_memory(size: int, means: Means) -> Bound | None:
    if means.free_bytes is None or not means.child_bytes:
        return None
    more = int(MEMORY_FULL * means.free_bytes / means.child_bytes)
    free, each = round(means.free_bytes / 2**20), round(means.child_bytes / 2**20)
    return Bound(size + max(0, more), f"{free} MiB of memory are free, and each takes {each}")
