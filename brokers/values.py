"""What travels through the seam: the frozen values that brokers take and answer.

Durations are in seconds, moments in seconds since the epoch by the store's clock. `base` says what
is done with them, and offers all of them under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack

from taskrunner.errors import PayloadTooLarge
from taskrunner.ids import new_id
from taskrunner.states import State

PRIORITIES = range(10)
"""0 to 9; 9 is the most urgent."""

REPEATABLE_FOR = 60.0
"""Seconds after its end in which a job's enqueue and settle can be repeated; see Repeats above."""

ERRORS_KEPT = 20
"""How many failed runs a job's record remembers, newest first."""

LOSSES_OF_SUSPECTS = 2
"""Nodes that must be lost while they hold a job for it to become a suspect."""

COMMAND_KEPT = 60.0
"""Seconds for which a command waits for its node, and is known when it is sent again."""

COMMANDS_KEPT = 500
"""How many commands of one node are known at a time, those that it has taken included."""

COMMAND_BYTES = 4096
"""The size of a packed command."""

NOTHING_OPENS: Mapping[str, float] = MappingProxyType({})
NO_DETAILS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do. Code and tests ask for one of these, never for a broker's name."""

    results: bool
    """settle keeps results, and `get` answers them"""
    shared: bool
    """other processes that are given the same URL see the same jobs"""
    durable: bool
    """jobs outlive every process that uses them"""
    confirms: frozenset[str] = frozenset()
    """what of `Message.durability` it may be asked for, besides the default"""
    hands_over: bool = False
    """a node that is idle may be given a job through a bell, before it asks (`Take.hands`)"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings that the store itself applies. Times in seconds."""

    failed_retention: float = 30 * 86_400
    failed_max: int = 100_000
    """failed jobs kept in a queue; the oldest go first"""
    retention: float = 3600.0
    """for a job that the store itself cancels or expires, with no outcome to say it"""
    confirm: float = 2.0
    """how long a confirmation of a message's `durability` may take"""


class JobKey(NamedTuple):
    """A job's id is unique within its queue."""

    queue: str
    id: str


class Receipt(NamedTuple):
    """What became of one message given to `enqueue`: exactly one of three, and `unconfirmed` beside
    `accepted` (it is stored) or instead of it (nothing is stored)."""

    accepted: bool
    duplicate_of: str | None = None
    """the id of the unfinished job that is in the way: it has this id, or this unique key"""
    rejection: str | None = None
    """why the store refused it"""
    unconfirmed: str | None = None
    """why its `durability` is not, or could not be, confirmed"""
    existing: str | None = None
    """beside `accepted`: the job that has its unique key, and stands for it or took its message"""


ACCEPTED = Receipt(True)


class Take(NamedTuple):
    """How many deliveries a fetch wants from a queue. A limit of 0 asks for none: it takes the
    node off the queue's idle list and, if jobs are ready there, rings the next idle node."""

    queue: str
    limit: int
    parked: tuple[str, ...] = ()
    """jobs parked under these keys are taken too, before any ready one; those parked first first"""
    slots: int | None = None
    """deliveries that can start at once: those beyond are only of jobs that no limit concerns"""
    hands: bool = False
    """while the node is listed as idle it may be given one job more, with the last of these numbers,
    through a bell; only where `capabilities.hands_over`"""


class Delivery(NamedTuple):
    """A job handed to one node for one run."""

    queue: str
    id: str
    node: str
    number: int
    """with `node`, the fencing token"""
    wire: bytes
    """not decoded by the broker; empty where the record has lost it"""
    attempts: int
    """runs begun before this one"""
    failures: int
    """runs that counted as errors"""
    crashes: int
    losses: int
    """times a node was lost while it held the job"""
    expires_in: float | None
    """seconds from this fetch after which the job must not start"""
    deadline_in: float | None
    """seconds from this fetch after which no run of the job may go on"""
    suspect: bool = False
    """it may have killed its process: to be run with nothing else in its process"""


class Fetched(NamedTuple):
    deliveries: list[Delivery]
    left: Mapping[str, int]
    """by queue asked: how many jobs are still ready there, and could be had now"""
    withheld: frozenset[str] = frozenset()
    """queues in which some were not given because they would not start at once"""
    opens: Mapping[str, float] = NOTHING_OPENS
    """by queue: seconds after which more can be had, because a limit held some back that this fetch
    has met; whoever hears it looks again then, and if he has no room makes others look"""


class OutcomeKind(IntEnum):
    """What a delivery came to."""

    SUCCEEDED = 0
    FAILED = 1
    """to the dead letter, with `reason`, which stays with the record whatever the kind"""
    RETRY = 2
    """again after `delay` seconds; 0 makes it pending at once, at the head of its priority"""
    RELEASED = 3
    """given back unpenalised and, unless `started`, as if it had never been fetched; pending, at
    the head of its priority"""
    CANCELLED = 4
    EXPIRED = 5
    PARKED = 6
    """waits under `park_key` until a fetch asks for that; failed after `delay` seconds, with this
    `reason`"""


class Blame(IntEnum):
    """Which counter of the job a bad run raises."""

    NOBODY = 0
    FAILURE = 1
    CRASH = 2
    SUSPICION = 3
    """none: the job is marked as a suspect, one of several that ran in a process when it died"""


class Outcome(NamedTuple):
    """What a delivery came to, as its node settles it."""

    queue: str
    id: str
    number: int
    kind: OutcomeKind
    started: bool = True
    """the run had begun: it counts as an attempt"""
    ran: float = 0.0
    """seconds from its start to its end"""
    result: bytes | None = None
    retention: float = 3600.0
    """seconds to keep the record of a succeeded, cancelled or expired job; 0 removes a success"""
    error: bytes | None = None
    """a packed ErrorInfo, added to the job's errors"""
    reason: str | None = None
    delay: float = 0.0
    blame: Blame = Blame.NOBODY
    park_key: str | None = None


class Note(NamedTuple):
    """Something to write down about a delivery that goes on."""

    queue: str
    id: str
    number: int
    pid: int
    started_ago: float
    """seconds since the run began"""
    progress: bytes | None = None
    alone: int | None = None
    """nothing else runs on the node while this does, so that the loss of the node counts as a crash of the
    job, and the crash of this number ends it. 0: that is so no longer. None: no word about it. A
    note that says something about it says nothing else"""


class BellKind(IntEnum):
    READY = 0
    """a job is ready in `queue`"""
    DUE = 1
    """something in `queue` falls due sooner than all else there; heard by every node of it"""
    CANCEL = 2
    """job `id`, which this node holds, is to be cancelled"""
    FINISHED = 3
    """job `id`, which this mailbox watches, is finished"""
    QUEUE = 4
    """`queue` is new: its first job came; heard by every node that joined, also by one that joined
    no queue"""
    COMMAND = 5
    """a command waits for this node"""
    PARKED = 6
    """the first job was parked under the key `id` in `queue`; heard by every node of it"""
    SCHEDULE = 7
    """the schedule `id`, of `queue`, has changed; heard by every mailbox there is"""
    HANDED = 8
    """job `id` is delivered to this node, as `delivery` says; also rung where `queue` is to be asked
    for more"""


class Bell(NamedTuple):
    """A hint that something is worth a look. Bells may be lost and may ring for nothing."""

    kind: BellKind
    queue: str
    id: str = ""
    delivery: Delivery | None = None
    """with HANDED. Where that bell is lost the store believes that the node holds the job"""


class Command(NamedTuple):
    """Something that a node is asked to do."""

    id: str
    """made by whoever sends it: sent again with the same id it is the same command"""
    do: str
    """the name of what to do; a node that does not know it does nothing"""
    details: Mapping[str, Any] = NO_DETAILS
    """what there is to know besides: values of msgpack, by name"""

    @classmethod
    def new(cls, do: str, **details: Any) -> Command:
        return cls(new_id(), do, details)

    def pack(self) -> bytes:
        """Everything but the id. Raises PayloadTooLarge over COMMAND_BYTES."""
        packed: bytes = msgpack.packb({**self.details, "do": self.do})
        if len(packed) > COMMAND_BYTES:
            raise PayloadTooLarge(
                f"the command {self.do!r} has {len(packed)} bytes; at most {COMMAND_BYTES} are kept"
            )
        return packed

    @classmethod
    def unpack(cls, command_id: str, packed: bytes) -> Command:
        """What `pack` made; for bytes that cannot be read a command of no name, which does
        nothing."""
        try:
            found = msgpack.unpackb(packed)
            return cls(command_id, str(found.pop("do")), found)
        except Exception:  # noqa: BLE001  whatever it is that somebody wrote there
            return cls(command_id, "")


class Record(NamedTuple):
    """Something small that the store keeps for the whole namespace, under a kind and an id."""

    id: str
    value: bytes


class Records(NamedTuple):
    """One slice of the records of a kind."""

    records: list[Record]
    """sorted by id"""
    cursor: str
    """where the next slice begins; empty: this was the last"""


class Due(NamedTuple):
    queue: str
    wait: float
    """seconds from now; 0 or less: due"""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A supervisor as others see it. The id is never reused."""

    id: str
    lease: float
    """seconds without a beat after which what it holds is taken back"""
    host: str = ""
    pid: int = 0
    boot_id: str = ""
    pid_namespace: str = ""
    process_start: str = ""
    """together with the four above: proof that a node of the same host is dead"""
    started_at: float = 0.0
    processes: int = 0
    """that take jobs, or will in a moment"""
    concurrency: int = 1
    busy: int = 0
    """jobs that run, at its last beat"""
    queues: tuple[str, ...] = ()
    version: str = ""
    seen_ago: float = 0.0
    """seconds since its last beat; filled in by `nodes`"""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Everything a store knows of a job. Moments in seconds since the epoch, by its own clock."""

    queue: str
    id: str
    state: State
    wire: bytes
    priority: int
    attempts: int
    failures: int
    crashes: int
    losses: int
    created_at: float
    eta: float | None = None
    """when it falls due, for a job that is scheduled or retrying; else when it fell due"""
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    deadline: float | None = None
    node: str | None = None
    number: int | None = None
    """the last delivery's token"""
    pid: int | None = None
    progress: bytes | None = None
    result: bytes | None = None
    errors: tuple[bytes, ...] = ()
    """packed ErrorInfo, newest first"""
    reason: str | None = None
    cancelling: bool = False
    """a cancel was asked for while it ran"""
    park_key: str | None = None
    suspect: bool = False
    """it may have killed its process, and runs alone next time"""
    replaced: int = 0
    """how often its message was replaced by that of a later call with its unique key"""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many jobs of a queue are in each state."""

    queue: str
    counts: Mapping[State, int]
    pending_by_priority: Mapping[int, int] = field(default_factory=dict)
    parked: Mapping[str, int] = field(default_factory=dict)
    """waiting jobs by the key they are parked under"""
    processed: int = 0
    """deliveries that ended as succeeded, ever"""
    failed: int = 0
    """deliveries that ended as failed, ever"""
