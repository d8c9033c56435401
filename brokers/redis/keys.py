"""Every key in Redis.

Of one queue; the hash tag puts all of them into one slot of a cluster. Times in ms.

    {namespace:queue}:
      job:ID       hash    the record, see below
      body:ID      string  the wire, where it is longer than 192 bytes, or most of it: see wires.py
      result:ID    string  the result, where it is longer than 64 bytes, or empty
      errors:ID    list    packed ErrorInfo, newest first, 20 at most
      more:ID      hash    other fields of the record that are longer than 64 bytes
      ready:9 … 0  list    ids, first in first out; an entry `ID NUL GENERATION` where the job left
                           this list before without being fetched. An entry counts only if the
                           record is pending with this priority and generation
      scheduled    zset    ids by the time they fall due
      retrying     zset    the same
      expiring     zset    ids of idle jobs that expire, by the time they do
      parked:KEY   zset    ids of waiting jobs, in the order in which they were parked; under
                           limit:… in that in which they are to run
      parked       hash    how many, by KEY
      parking      zset    ids of waiting jobs by the time they fail
      active:NODE  hash    ids by delivery number; `last`: the highest number delivered here
      cancel:NODE  hash    ids by delivery number, of those marked for cancelling
      holders      zset    nodes by the end of their lease; 0: lost, being emptied
      leases       hash    the length of each node's lease
      idle         set     nodes that wait for a bell
      hands        hash    of those that may be given a job through it: its number
      slot:NAME    hash    of a schedule: t last slot claimed, r revision, w its local time, z that time's
                           zone, j the last job, g it is gone and will be forgotten
      fired:NAME   list    its newest firings, by name: the slot, or + and the job's id
                           and call of one by hand
      firing:NAME  hash    those firings, packed, by name
      locks        hash    ids of jobs by their unique key; it is theirs only while the record says so
      gates        zset    of keys under which limits hold jobs back: see _gates.lua
      tats         zset    buckets of rates by the ms up to which they are used
      places:SCOPE zset    ids of active jobs that max_running counts there
      limits       hash    what was declared, set and paused, and the time of the first gate (next):
                           see _limits.lua; keys: 1 if there is something in
      keylimits    hash    the same for single keys
      done         zset    ids of succeeded, cancelled and expired jobs by the time they may go
      failed       zset    ids by the time they failed
      stats        hash    jobs by state, pending ones by priority (p9 … p0); processed, failures
      nothing      -       never there; named with each script in a cluster, see `scripts`
      meta         hash    skew; last, since: beats; order: a counter; at:PRIORITY, scan: where sweep
                           goes on; gone: ready lists that it makes anew; flow: 1 if
                           there is something in limits; off:…: differences
                           between counters and indexes that it could not clear up; corrected: how often an audit
                           has corrected a counter

    the record, `job:ID`; what is absent has its default, what is empty is in `more:ID`
      s state   c created   p priority   k call   t eta   e expires   d deadline
      w wire, or the head of it; absent where that is in body:ID
      1 2 the rest of the wire, behind what w or body:ID holds
      n attempts   f failures   x crashes   l losses   a suspect   u cancelling   y park key
      A runs alone on its node: the number of the crash that ends it, or 0
      q generation   h unique key, which is this job's until the end   hs …: until it starts
      he …: until that time   hn how often its message was replaced by that of another call
      L limits of its own, packed   j the scope in which it has a place
      o last delivery: a mark, its number, ":", its node; the mark is + until it is settled, then
        the letter that the settle was answered
      b started   z finished   i pid   g progress   r result   m reason   v watching mailboxes,
      and an @ with the firing and the schedule it is the job of
      ha the job that has taken this one's message, in the record of one that is gone since then

Of the namespace: a directory that can be made again from what is running (records excepted), and no
transition depends on it.

    {namespace}:
      queues         set     queues that ever had a job
      nodes          hash    packed description of each node
      seen           zset    nodes by the time they are forgotten
      skew           string  how far the clock was moved
      commands:NODE  hash    packed commands that wait, by id
      sent:NODE      zset    ids of the commands that are known, by the time they were sent
      records:KIND   hash    values by id
      ids:KIND       zset    the ids, in their own order
      lapsing:KIND   zset    ids of those that are not kept for ever, by the time they may go

Of a result backend without a broker here: `{namespace:queue}:kept:NUMBER:LENGTH:NODE:ID`,
a string; LENGTH is that of NODE, so that no two deliveries share a key.

Channels: `{namespace}:bell:NAME` for the mailbox NAME, `{namespace}:bell` for all of them. A bell
is the number of its BellKind, the queue and, where there is one, the job's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from taskrunner.errors import OptionError

JOB = "job:"
META = "meta"

QUEUE_KEYS: Final = MappingProxyType(
    {
        "scheduled": "zset",
        "retrying": "zset",
        "expiring": "zset",
        "parked": "hash",
        "parking": "zset",
        "holders": "zset",
        "leases": "hash",
        "idle": "set",
        "hands": "hash",
        "locks": "hash",
        "gates": "zset",
        "tats": "zset",
        "limits": "hash",
        "keylimits": "hash",
        "done": "zset",
        "failed": "zset",
        "stats": "hash",
        META: "hash",
    }
)
"""Keys of which a queue has one, and what they hold."""
QUEUE_PREFIXES: Final = MappingProxyType(
    {
        JOB: "hash",
        "body:": "string",
        "result:": "string",
        "errors:": "list",
        "more:": "hash",
        "ready:": "list",
        "parked:": "zset",
        "places:": "zset",
        "active:": "hash",
        "cancel:": "hash",
        "kept:": "string",
        "slot:": "hash",
        "fired:": "list",
        "firing:": "hash",
    }
)
"""Beginnings of keys of which it has many."""
NAMESPACE_KEYS: Final = MappingProxyType(
    {"queues": "set", "nodes": "hash", "seen": "zset", "skew": "string"}
)
NAMESPACE_PREFIXES: Final = MappingProxyType(
    {
        "commands:": "hash",
        "sent:": "zset",
        "records:": "hash",
        "ids:": "zset",
        "lapsing:": "zset",
    }
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of keys in one namespace. Raises OptionError for one that cannot be in a key."""

    namespace: str

    def __post_init__(self) -> None:
        bad = [c for c in self.namespace if c in "{}:" or c.isspace()]
        if bad or not self.namespace:
            raise OptionError(
                f"namespace {self.namespace!r}: expected text without colons, braces and spaces"
            )

    def of_queue(self, queue: str, rest: str) -> str:
        """`{namespace:queue}:rest`."""
        return f"{{{self.namespace}:{queue}}}:{rest}"

    def meta(self, queue: str) -> str:
        """The key that a queue's scripts are given; they make the others from it."""
        return self.of_queue(queue, META)

    def nothing(self, key: str) -> str:
        """A key that never exists, in the slot of another."""
        return f"{key[: key.index('}')]}}}:nothing"

    def held_by(self, queue: str, node: str) -> str:
        return self.of_queue(queue, f"active:{node}")

    def kept_result(self, queue: str, job_id: str, node: str, number: int) -> str:
        return self.of_queue(queue, f"kept:{number}:{len(node)}:{node}:{job_id}")

    @property
    def beginnings(self) -> tuple[str, str]:
        """What every key of this namespace begins with, one of the two: a queue's, and its own."""
        return f"{{{self.namespace}:", f"{{{self.namespace}}}:"

    @property
    def queues(self) -> str:
        return f"{{{self.namespace}}}:queues"

    @property
    def nodes(self) -> str:
        return f"{{{self.namespace}}}:nodes"

    @property
    def seen(self) -> str:
        return f"{{{self.namespace}}}:seen"

    @property
    def skew(self) -> str:
        return f"{{{self.namespace}}}:skew"

    def commands(self, node: str) -> tuple[str, str]:
        """Those that wait, and the ids of those that are known."""
        return f"{{{self.namespace}}}:commands:{node}", f"{{{self.namespace}}}:sent:{node}"

    def records(self, kind: str) -> tuple[str, str, str]:
        """Values, ids and times."""
        names = ("records", "ids", "lapsing")
        values, ids, lapsing = (f"{{{self.namespace}}}:{name}:{kind}" for name in names)
        return values, ids, lapsing

    @property
    def everybody(self) -> str:
        """The channel that every mailbox hears."""
        return f"{{{self.namespace}}}:bell"

    @property
    def bell_prefix(self) -> str:
        return f"{{{self.namespace}}}:bell:"

    def mailbox(self, name: str) -> str:
        """The channel of one mailbox."""
        return self.bell_prefix + name
