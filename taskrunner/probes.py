"""A probe: a question that travels the road of a job, and what its answer says of each hop.

    asker ─▶ broker ─▶ fetch thread ─▶ main thread ─▶ pipe ─▶ each child's main thread
          ◀─ broker ◀─ settle thread ◀─ main thread ◀─ pipe ◀──┘

The values here are what both ends share, and `diagnose` is the judgement on them: pure. Durations are
measured by one monotonic clock each, never by comparing two machines' clocks. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgpack

PROBE: Final = "probe"
"""The name of the command."""
RECORDS: Final = "probe:"
"""How the kinds of the records begin that hold answers."""
ANSWER_KEPT_S: Final = 60.0
"""How long an answer waits in the store for whoever asked."""
LONGEST_S: Final = 30.0
"""How long a node waits for its children at most."""


class Hop(StrEnum):
    """Where a probe can get lost."""

    BROKER = "broker"
    LEASE = "lease"
    """the node has not beaten for a whole lease: its process is gone, stopped or cut off"""
    SUPERVISOR = "supervisor"
    """it does not take the probe, and nothing is known of its threads"""
    FETCH = "fetch thread"
    MAIN = "main thread"
    CHILD = "child"
    """its pipe, its listener or its main thread"""
    SETTLE = "settle thread"
    """the way back"""
    SERVICE = "service thread"
    """one that a probe does not pass: lease, scheduler"""
    START = "start"
    """the node has not come up yet"""
    STOP = "stop"
    """the node is on its way out"""


_HOP_OF_THREAD: Final = {"fetch": Hop.FETCH, "settle": Hop.SETTLE}


class ChildState(StrEnum):
    """What a child did with a probe."""

    ANSWERED = "answered"
    BUSY = "busy"
    """it hears, and runs a job: its time limits hold"""
    STARTING = "starting"
    STUCK = "stuck"
    """it hears, runs no job, and its main thread does not answer"""
    SILENT = "silent"
    """it does not even read its pipe: stopped, or something in it holds the interpreter"""


HEALTHY: Final = frozenset({ChildState.ANSWERED, ChildState.BUSY, ChildState.STARTING})


class Fault(NamedTuple):
    """The hop that failed, and what is known of it in one line."""

    hop: Hop
    text: str


class ChildAnswer(NamedTuple):
    number: int
    pid: int
    state: ChildState
    after: float
    """seconds until it answered, or until it was given up"""
    running: float = 0.0
    """seconds for which the oldest job in it has been running"""


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What a node says to a probe. One that is not final says only that the command was taken."""

    is_final: bool = False
    inside: float = 0.0
    """from the moment the command was taken to that in which the answer went on its way"""
    children: tuple[ChildAnswer, ...] = ()
    failing: tuple[str, ...] = ()
    """threads whose last pass failed"""
    dead: tuple[str, ...] = ()
    """threads that do not run any more"""
    other_way: bool = False
    """the settle thread did not take the answer to the store"""

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb(
            {
                "final": self.is_final,
                "inside": self.inside,
                "children": [[*child[:2], str(child.state), *child[3:]] for child in self.children],
                "failing": self.failing,
                "dead": self.dead,
                "other_way": self.other_way,
            }
        )
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> NodeAnswer | None:
        """What `pack` made; None for what cannot be read, which is of another version."""
        try:
            found: dict[str, Any] = msgpack.unpackb(packed)
            children = tuple(
                ChildAnswer(int(number), int(pid), ChildState(state), float(after), float(running))
                for number, pid, state, after, running in found["children"]
            )
            return cls(
                bool(found["final"]),
                float(found["inside"]),
                children,
                tuple(map(str, found["failing"])),
                tuple(map(str, found["dead"])),
                bool(found["other_way"]),
            )
        except Exception:  # noqa: BLE001  whatever it is that somebody wrote there
            return None


def diagnose(
    answer: NodeAnswer | None, *, waited: float, beaten: float, lease: float
) -> Fault | None:
    """What is wrong with a node, by its answer (None: there is none) after `waited` seconds; it
    last beat `beaten` seconds ago."""
    if answer is None:
        return _diagnose_silence(waited=waited, beaten=beaten, lease=lease)
    if not answer.is_final:
        return Fault(Hop.MAIN, f"it took the probe and did nothing about it within {waited:.1f} s")
    return diagnose_inside(answer)


def _diagnose_silence(*, waited: float, beaten: float, lease: float) -> Fault:
    if beaten > lease:
        return Fault(
            Hop.LEASE, f"its last beat came {beaten:.1f} s ago, and its lease is {lease:g} s"
        )
    not_taken = f"it did not take the probe within {waited:.1f} s"
    if beaten < waited:
        return Fault(Hop.FETCH, f"{not_taken}, though it goes on beating")
    return Fault(
        Hop.SUPERVISOR,
        f"{not_taken}, nor has it beaten since: its process may be stopped or cut off"
        f" (its last beat came {beaten:.1f} s ago)",
    )


def diagnose_inside(answer: NodeAnswer) -> Fault | None:
    """What a node's final answer says is wrong with it."""
    if answer.dead:
        return diagnose_dead(answer.dead)
    if answer.other_way:
        return Fault(Hop.SETTLE, "it does not bring what children report to the broker")
    return diagnose_children(answer.children)


def diagnose_dead(threads: Sequence[str]) -> Fault | None:
    """What it means that these threads of a node do not run any more."""
    for name in threads:
        return Fault(_HOP_OF_THREAD.get(name, Hop.SERVICE), f"its {name} thread has ended")
    return None


def diagnose_children(children: Sequence[ChildAnswer]) -> Fault | None:
    for child in children:
        if child.state not in HEALTHY:
            return Fault(Hop.CHILD, _trouble(child))
    if not any(child.state is not ChildState.STARTING for child in children):
        return Fault(Hop.CHILD, "no child is ready")
    return None


def _trouble(child: ChildAnswer) -> str:
    who = f"child {child.number} (pid {child.pid})"
    if child.state is ChildState.SILENT:
        runs = f"; it has run a job for {child.running:.1f} s" if child.running else ""
        return f"{who} is silent: it read nothing from its pipe within {child.after:.1f} s{runs}"
    return f"{who} is stuck: it hears, runs no job, and did not answer within {child.after:.1f} s"
