"""What a broker is.

A broker keeps jobs, hands them out under leases and takes back what became of them. It is
synchronous, small and batch-first, and it speaks only the types of this module and of `message`.
Every transition is one atomic step. Every call may be repeated: the same call made twice, because
its answer was lost, leaves the store as if it had been made once.

The contract in words is docs/writing-a-broker.md; the contract as a test is
`taskrunner.testing.conformance`. `memory.py` is the readable reference.

    BrokerClient                              Broker, besides
      submit    enqueue                         consume  fetch, settle, note
      listen    open_mailbox, watch             time     due, promote
      control   cancel, send                    nodes    join, beat, leave, reap, held, commands
      look      get, stats, queues, nodes, now  upkeep   sweep, audit
      operate   jobs, requeue, delete, reschedule, rewrite (in `desk`)
      records   put_record, records, remove_record (in `records`)
      schedules tick, slots, close_slots (in `slots`)
      hold      set_limit, pause, resume, limits (in `limits`), and of nodes declare_limits

Tokens. A delivery is fenced by its token: the node's id and a number the node never uses twice.
The record keeps the token of the last delivery and whether it was settled. A write that carries
another token changes nothing and is answered as fenced; a settle that repeats one already made is
answered like the first; a settle under the last, unsettled token is taken even when the node had
been thought lost and the job was taken back, as long as the job still waits where it was put:
nobody has fetched it since, and it has not been cancelled or expired.

Repeats. For 60 seconds after a job finished its enqueue and its settle can be repeated and are
answered as before, even when the record is gone by then (retention 0): a tombstone remembers the
call, the last token and its answer, until then or until the id begins a new job.

Counters. `attempts` counts runs that were settled as started; a run that is lost with its node
counts as a loss instead. What is settled under a cancel mark counts like any other.

Suspects. A job is marked as a suspect by a settle with that blame, and by each loss from the second
on (`LOSSES_OF_SUSPECTS`). The mark goes when a run ends in any other way than by the death of its
process: by a settle that says started, is no release and does not blame a crash. Deliveries carry it.

Parts. A store of several servers may lose one. A call that concerns several queues, or what they
share, then does what it can and raises PartlyUnavailable, which names the queues that are away and
carries the answer as far as the others go. Where the store is there or not, BrokerUnavailable.

Time. The store's clock decides. Durations (seconds) travel as durations and moments (seconds since
the epoch) are compared in the store. `set_skew` moves that clock, for tests.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from taskrunner.brokers.contents import Contents, Rewrite
from taskrunner.brokers.desk import ALWAYS, BY_TIME, MOST_IN_A_PAGE, Page, ServesOperators, Span
from taskrunner.brokers.findings import Finding, FindingKind, Remark
from taskrunner.brokers.limits import DeclaresLimits, KeepsLimits, LimitState
from taskrunner.brokers.records import KeepsRecords
from taskrunner.brokers.slots import (
    CLAIMED,
    FIRINGS_KEPT,
    GONE_FOR,
    KNOWN_FOR,
    Fired,
    KeepsSlots,
    SlotRecord,
    Tick,
    Ticked,
    TickKind,
)
from taskrunner.brokers.values import (
    ACCEPTED,
    COMMAND_KEPT,
    COMMANDS_KEPT,
    ERRORS_KEPT,
    LOSSES_OF_SUSPECTS,
    PRIORITIES,
    REPEATABLE_FOR,
    Bell,
    BellKind,
    Blame,
    Capabilities,
    Command,
    Delivery,
    Due,
    Fetched,
    JobKey,
    JobRecord,
    Limits,
    NodeInfo,
    Note,
    Outcome,
    OutcomeKind,
    QueueStats,
    Receipt,
    Record,
    Records,
    Take,
)
from taskrunner.message import Message
from taskrunner.states import State

__all__ = [
    "ACCEPTED",
    "ALWAYS",
    "BY_TIME",
    "Bell",
    "BellKind",
    "Blame",
    "Broker",
    "BrokerClient",
    "CLAIMED",
    "COMMANDS_KEPT",
    "COMMAND_KEPT",
    "Capabilities",
    "Contents",
    "Command",
    "Delivery",
    "Due",
    "ERRORS_KEPT",
    "FIRINGS_KEPT",
    "Fetched",
    "Finding",
    "FindingKind",
    "Fired",
    "GONE_FOR",
    "JobKey",
    "JobRecord",
    "KNOWN_FOR",
    "KeepsLimits",
    "KeepsRecords",
    "KeepsSlots",
    "LOSSES_OF_SUSPECTS",
    "LimitState",
    "Limits",
    "MOST_IN_A_PAGE",
    "Mailbox",
    "NodeInfo",
    "Note",
    "Outcome",
    "OutcomeKind",
    "PRIORITIES",
    "Page",
    "QueueStats",
    "REPEATABLE_FOR",
    "Receipt",
    "Record",
    "Records",
    "Remark",
    "Rewrite",
    "ServesOperators",
    "SlotRecord",
    "Span",
    "Take",
    "Tick",
    "TickKind",
    "Ticked",
]


class Mailbox(ABC):
    """Where the bells for one node or one waiting process arrive. Used by one thread."""

    @abstractmethod
    def wait(self, timeout: float) -> list[Bell]:
        """Block until there is a bell, `wake` was called or `timeout` seconds have passed.

        Answers everything that has arrived. A lost connection is BrokerUnavailable, once: the
        next call connects again, and what was rung in between is lost.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make the `wait` that runs now, or else the next one, return. Any thread."""

    @abstractmethod
    def close(self) -> None: ...


class BrokerClient(ServesOperators, KeepsRecords, KeepsSlots, KeepsLimits):
    """What producers, waiters and onlookers need of a broker: submit, listen, control, look.

    `worker.upcall` implements no more than this, over the pipe to a supervisor. Thread-safe; a
    connection opened before a fork is not used after it. Every method may raise
    BrokerUnavailable; the call can then be repeated as it was.
    """

    capabilities: Capabilities

    @abstractmethod
    def ping(self) -> None:
        """Answer, or raise BrokerUnavailable saying in one line what was tried and why it failed,
        with the password hidden."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. The next call may open new ones."""

    # -- submit

    @abstractmethod
    def enqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        """Store messages; one receipt each, in order.

        An id whose job is unfinished is a duplicate, unless the record was made by the same
        `call`: then this is a repeat and is accepted again, whatever the job has become. An id
        whose job is finished begins a new job. A receipt is `unconfirmed` where a message's
        `durability`, one of `capabilities.confirms`, could not be kept. Raises BrokerFull only
        where nothing of the whole call was stored.
        """

    async def aenqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        """The same from asyncio; natively where the broker can, else in a thread."""
        return await asyncio.to_thread(self.enqueue, messages)

    # -- listen

    @abstractmethod
    def open_mailbox(self, name: str) -> Mailbox:
        """The mailbox of a node (by its id) or of a waiting process (any unique name without
        spaces). It hears what is rung from the moment this returns."""

    @abstractmethod
    def watch(self, mailbox: str, keys: Sequence[JobKey]) -> list[bool]:
        """Ring FINISHED in `mailbox` when these jobs finish; True for those that already have, or
        have no record."""

    # -- control

    @abstractmethod
    def cancel(self, keys: Sequence[JobKey]) -> list[bool | None]:
        """True: ended as cancelled, now or before, or, where active, marked and its node rung.
        False: it was finished otherwise. None: there is no record."""

    @abstractmethod
    def send(self, node: str, command: Command) -> bool:
        """Keep a command for a node and ring COMMAND there; False: there is no such node.

        The node has COMMAND_KEPT seconds to take it; as long it is known, so that a repeat with
        the same id is the same command. Raises BrokerFull while COMMANDS_KEPT are known already,
        PayloadTooLarge for a command over COMMAND_BYTES. Works in a full store.
        """

    # -- look

    @abstractmethod
    def get(self, keys: Sequence[JobKey]) -> list[JobRecord | None]:
        """Records, in one round trip."""

    @abstractmethod
    def stats(self, queues: Sequence[str]) -> list[QueueStats]: ...

    @abstractmethod
    def queues(self) -> list[str]:
        """Every queue of the namespace, sorted: those that ever had a job."""

    @abstractmethod
    def nodes(self) -> list[NodeInfo]:
        """Every node that beat within its lease or a little longer."""

    @abstractmethod
    def now(self) -> float:
        """The store's clock, skew included; seconds since the epoch."""


class Broker(BrokerClient, DeclaresLimits):
    """A store of jobs, whole: what a supervisor needs besides."""

    schemes: ClassVar[tuple[str, ...]]
    """URL schemes it answers to"""

    @classmethod
    @abstractmethod
    def from_url(cls, url: str, *, namespace: str, limits: Limits) -> Broker:
        """Make one without connecting. Raises OptionError for a URL it cannot understand."""

    # -- consume

    @abstractmethod
    def fetch(self, node: str, plan: Sequence[Take], first: int) -> Fetched:
        """Take ready jobs: the most urgent first, oldest first within a priority; before them those
        parked under keys that the plan names.

        The deliveries get numbers `first`, `first + 1`, … in the order of the plan, each entry of
        which has as many numbers as its limit. Asking again with the same `first` answers what
        the first asking delivered, as far as the node still holds it, and nothing else; where that
        delivered nothing, it is a new asking. A queue that gave less than its limit lists the node
        as idle; one that gave its limit and has more rings the next idle node. A job that is
        past its `expires` (also one that has run before) or its `deadline` is settled here
        (expired; failed with reason `deadline`), not delivered. One that a limit or a pause holds
        back is parked here (see `limits`). Raises NodeLost where a queue of
        the plan does not know the node; what other queues delivered is then found by asking again.
        """

    @abstractmethod
    def settle(self, node: str, outcomes: Sequence[Outcome]) -> list[State | None]:
        """Record what deliveries came to; for each the job's state after it, or None: fenced.

        A job that was marked for cancelling ends as cancelled whatever the outcome says, unless it
        never started and is given back: that one too is cancelled. Results are kept here where
        `capabilities.results`.
        """

    @abstractmethod
    def note(self, node: str, notes: Sequence[Note]) -> list[bool]:
        """Write down starts and progress (None: none yet, keep what there is), or which delivery
        its node runs alone; False where the token no longer holds the job. What was noted is
        forgotten with the next delivery."""

    # -- time

    @abstractmethod
    def due(self, queues: Sequence[str], horizon: float, limit: int) -> list[Due]:
        """Times within `horizon` seconds at which scheduled or retrying jobs fall due, or the next
        of the jobs that a limit holds back may go, soonest first, at most `limit` for each queue."""

    @abstractmethod
    def promote(self, queues: Sequence[str], limit: int) -> int:
        """Make up to `limit` due jobs of each queue pending, soonest first; how many in all. And
        ring an idle node where the time has come for jobs that a limit held back."""

    # -- nodes

    @abstractmethod
    def join(self, node: NodeInfo, queues: Sequence[str]) -> None:
        """Announce the node in these queues (there may be none yet) and give it a lease there.
        May be repeated; counts as a beat."""

    @abstractmethod
    def beat(self, node: NodeInfo, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        """Renew the lease in these queues, and tell others how the node is now; answers the held
        jobs that are marked for cancelling, with their delivery's number. Rings COMMAND again while a command waits. Raises NodeLost
        where one of the queues no longer knows the node."""

    @abstractmethod
    def commands(self, node: str, done: Sequence[str] = ()) -> list[Command]:
        """What was sent to this node and waits, oldest first. `done` names those that were taken
        before: they wait no longer. One that nobody names is answered again, because the answer
        may have been lost."""

    @abstractmethod
    def leave(self, node: str, queues: Sequence[str]) -> None:
        """The node has ended in good order: forget it. What it still holds is taken back, without
        a loss."""

    @abstractmethod
    def reap(self, queues: Sequence[str], limit: int, dead: Sequence[str] = ()) -> int:
        """Take back up to `limit` jobs a queue from nodes whose lease ran out, and from `dead`
        ones at once; how many. Each gets a loss and goes to the head of its priority (one marked
        for cancelling ends as cancelled); the token stays unsettled. Where the node was noted to run
        nothing else, it gets a crash as well, and with the last that the note allows it ends
        instead: failed, with reason `crashed`. A node whose jobs are taken back is lost from the
        first one on: its next fetch or beat is NodeLost until it joins.

        Nothing is taken for a lease that ran out until the store has received beats for one whole
        lease without a gap: a longer silence, or a step of its clock, first renews every lease.
        """

    @abstractmethod
    def held(self, node: str, queues: Sequence[str]) -> list[tuple[JobKey, int]]:
        """What the store believes this node holds, with the deliveries' numbers."""

    # -- upkeep

    @abstractmethod
    def sweep(self, queues: Sequence[str], limit: int) -> int:
        """One bounded slice of housekeeping in each queue; how many things it did (0: all clean).

        Removes records past their retention and failed ones beyond the limits, expires jobs of
        every state but active, fails parked ones whose time is up, drops ready entries whose job
        has left, and takes back active jobs that no node's set holds, each with a loss.
        """

    @abstractmethod
    def audit(
        self, queues: Sequence[str] | None = None, *, repair: bool = False
    ) -> Iterator[list[Finding]]:
        """Look through the whole store, or these queues of it, for what should not be: jobs in no
        index or in two, entries without a job, counters that are wrong, active jobs that nobody
        holds, sets without a lease, keys that nobody knows. Each item is what one bounded slice
        has found.

        Nodes may go on meanwhile: what is found was so in one atomic step. With `repair` it is
        mended in that very step (see FindingKind): no job is lost by that, and nothing that is not
        ours is touched.
        """

    def remarks(self) -> list[Remark]:
        """What its operator should know of the store itself: how it is set up, what that risks."""
        return []

    @abstractmethod
    def set_skew(self, seconds: float) -> None:
        """Move the store's clock for everybody who uses it. For tests."""

    @abstractmethod
    def erase(self) -> None:
        """Remove everything of this namespace, in slices: jobs, records, schedules, nodes. Only
        where nobody uses it any more; what is written meanwhile may stay."""
