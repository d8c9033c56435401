"""What an audit of a store may find, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """What is wrong. Beside each: what mending it does."""

    LOST = "lost"
    """a job whose record is gone, seen by what is left of it. Where its message is left it becomes
    a failed job again, with the reason `record lost`; else its entry goes"""
    UNREADABLE = "unreadable"
    """a record in no state that is known: to failed, with the reason `record unreadable`"""
    MESSAGE = "message"
    """a job that waits and whose message is gone: to failed, with the reason `message lost`"""
    RESULT = "result"
    """a job that succeeded and whose result is gone: asking for it says so"""
    UNINDEXED = "unindexed"
    """a job that is not in the index of its state: into it; one that was parked becomes pending"""
    UNHELD = "unheld"
    """an active job that no node holds: taken back, with a loss"""
    MISPLACED = "misplaced"
    """an entry of an index in which its job does not belong: it goes"""
    DOUBLED = "doubled"
    """a job that is in a ready list twice: the later entry goes"""
    MARK = "mark"
    """an active job that is to be cancelled and whose node is not told: told again"""
    LOCK = "lock"
    """a unique job that does not have its key: it gets it, where no other job has it by now"""
    LEASE = "lease"
    """a node that holds jobs without a lease: its jobs are taken back, with a loss; or one half of
    a lease without the other"""
    COUNTER = "counter"
    """a counter that does not say how many there are: corrected"""
    DIRECTORY = "directory"
    """a queue or node that the directory of the namespace does not show, or shows by half"""
    LEFTOVER = "leftover"
    """result, errors and the like of a job that is gone: they go"""
    TYPE = "type"
    """a key of ours that holds something else than we put there: left alone"""
    FOREIGN = "foreign"
    """keys under the namespace that are not ours: left alone"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in a store."""

    kind: FindingKind
    queue: str
    """empty: of the whole namespace"""
    subject: str
    """what it concerns: the id of a job or of a node, a counter, or a key"""
    detail: str
    """in words"""
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the store itself that its operator should know."""

    topic: str
    text: str
    is_risk: bool
    """jobs may be lost or refused because of it; else it is only good to know"""
