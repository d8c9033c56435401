"""One typed method for each .lua file; each answers a Command, which `run` turns into its result.

A script is called by the SHA1 of its text. A server that does not have it says NOSCRIPT (after a
restart, a failover, a flush); then the command is repeated with the text itself: scripts may be.

In a cluster a second key goes with each command, one that never exists. While a slot is moved to
another server, half of its keys may be gone, and a script would find that out half-way, when it has
written already. But a command that names a key which is there and one which is not is refused
before it begins, with TRYAGAIN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from taskrunner.brokers.base import Take
from taskrunner.brokers.redis.audit_calls import AuditCalls
from taskrunner.brokers.redis.connection import Talk
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.limit_calls import LimitScripts
from taskrunner.brokers.redis.line import Reply, Request
from taskrunner.brokers.redis.texts import Script
from taskrunner.brokers.redis.wires import Wire

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A call of a script, and how to read its reply."""

    script: str
    keys: tuple[str, ...]
    arguments: tuple[Any, ...]
    parse: Callable[[Reply], T]


class Scripts(AuditCalls, LimitScripts):
    """Every script, called in one namespace.

    `queue` is a name, times are milliseconds, and what a reply means stands in the .lua file.
    """

    def __init__(self, keys: Keys, *, keep_ms: int, clustered: bool = False) -> None:
        self._keys = keys
        self._keep_ms = keep_ms
        self._clustered = clustered
        self._queues: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {}
        self._modern = True
        self._shas: dict[str, str] = {}

    @property
    def queues_called(self) -> set[str]:
        """Queues that any script was called for."""
        return set(self._queues)

    # -- calling

    def run(self, commands: Sequence[Command[T]]) -> Talk[list[T | ResponseError]]:
        """The results of commands in one round trip, more where scripts are not known yet; an
        error that a server answered stands in its command's place."""
        replies = yield [self.request(command) for command in commands]
        missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        while missing:
            again = yield self._with_texts([commands[i] for i in missing])
            if self._modern and any(map(_is_too_modern, again)):
                self._modern = False  # a Redis older than 7
                self._shas = {}
                continue
            for i, reply in zip(missing, again, strict=True):
                replies[i] = reply
            missing = [i for i in missing if isinstance(replies[i], NoScriptError)]
        return self._parsed(commands, replies)

    def run_with(
        self, commands: Sequence[Command[T]], after: Sequence[Request]
    ) -> Talk[tuple[list[T | ResponseError], list[Reply]]]:
        """The same with plain requests after the scripts, always all in one exchange; the answers
        to both."""
        with_text = False
        while True:
            scripts = [self.request(command, with_text=with_text) for command in commands]
            replies = yield [*scripts, *after]
            own, others = replies[: len(commands)], replies[len(commands) :]
            if self._modern and any(map(_is_too_modern, own)):
                self._modern = False
                self._shas = {}
            elif with_text or not any(isinstance(reply, NoScriptError) for reply in own):
                return self._parsed(commands, own), others
            with_text = True

    def _parsed(
        self, commands: Sequence[Command[T]], replies: Sequence[Reply]
    ) -> list[T | ResponseError]:
        return [
            reply if isinstance(reply, ResponseError) else command.parse(reply)
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _with_texts(self, commands: Sequence[Command[Any]]) -> list[tuple[Any, ...]]:
        """The first call of each script with its text, after which a server knows it. In a cluster
        the others may go to servers that do not: they come here again."""
        texts = {command.script: i for i, command in reversed(list(enumerate(commands)))}
        return [
            self.request(command, with_text=texts[command.script] == i)
            for i, command in enumerate(commands)
        ]

    def request(self, command: Command[Any], *, with_text: bool = False) -> tuple[Any, ...]:
        """What is sent for it; `with_text` where the server may not know the script."""
        keys = command.keys
        if self._clustered:
            keys = (*keys, self._keys.nothing(keys[0]))
        if with_text:
            return ("EVAL", self._body(command.script), len(keys), *keys, *command.arguments)
        sha = self._shas.get(command.script) or self._digest(command.script)
        return ("EVALSHA", sha, len(keys), *keys, *command.arguments)

    def _body(self, name: str) -> bytes:
        script = Script.read(name, clustered=self._clustered)
        return script.modern if self._modern else script.plain

    def _digest(self, name: str) -> str:
        # Before the body: one of the other kind goes into a book that nobody reads any more.
        shas = self._shas
        shas[name] = hashlib.sha1(self._body(name), usedforsecurity=False).hexdigest()
        return shas[name]

    # -- jobs

    def enqueue(self, queue: str, rows: bytes) -> Command[list[Any]]:
        return self._of_queue("enqueue", queue, _same, rows)

    def enqueue_one(self, queue: str, job_id: str, wire: Wire) -> Command[list[Any]]:
        parts = (wire,) if isinstance(wire, bytes) else wire
        return self._of_queue("enqueue_one", queue, _same, job_id, *parts)

    def fetch(
        self, take: Take, *, node: str, first: int, limit: int, slots: int | None
    ) -> Command[list[Any] | int]:
        room, hands = "" if slots is None else slots, int(take.hands)
        return self._of_queue(
            "fetch", take.queue, _same, node, first, limit, room, hands, *take.parked
        )

    def settle(self, queue: str, *, node: str, outcomes: bytes) -> Command[bytes]:
        return self._of_queue("settle", queue, _same, node, outcomes)

    def note(self, queue: str, *, node: str, notes: bytes) -> Command[list[int]]:
        return self._of_queue("note", queue, _same, node, notes)

    def cancel(self, queue: str, ids: Sequence[str]) -> Command[list[int]]:
        return self._of_queue("cancel", queue, _same, *ids)

    def watch(self, queue: str, *, mailbox: str, ids: Sequence[str]) -> Command[list[int]]:
        return self._of_queue("watch", queue, _same, mailbox, *ids)

    def get(self, queue: str, ids: Sequence[str]) -> Command[list[list[Any] | None]]:
        return self._of_queue("get", queue, _same, *ids)

    # -- operators

    def jobs(
        self, queue: str, *, state: str, cursor: bytes, limit: int, span: Sequence[float | str]
    ) -> Command[list[bytes]]:
        return self._of_queue("jobs", queue, _same, state, cursor, limit, *span)

    def oldest(self, queue: str) -> Command[list[int]]:
        return self._of_queue("oldest", queue, _same)

    def requeue(self, queue: str, *, only: str, ids: Sequence[str]) -> Command[list[int]]:
        return self._of_queue("requeue", queue, _same, only, *ids)

    def delete(self, queue: str, *, only: str, ids: Sequence[str]) -> Command[list[int]]:
        return self._of_queue("delete", queue, _same, only, *ids)

    def rewrite(self, queue: str, *, rows: bytes) -> Command[list[int]]:
        return self._of_queue("rewrite", queue, _same, rows)

    def reschedule(
        self, queue: str, *, at_ms: float | str, after_ms: float, ids: Sequence[str]
    ) -> Command[list[int]]:
        return self._of_queue("reschedule", queue, _same, at_ms, after_ms, *ids)

    # -- time

    def due(self, queue: str, *, horizon_ms: float, limit: int) -> Command[list[float]]:
        return self._of_queue("due", queue, _floats, horizon_ms, limit)

    def promote(self, queue: str, *, limit: int) -> Command[int]:
        return self._of_queue("promote", queue, _same, limit)

    def set_skew(self, queue: str, *, ms: int) -> Command[int]:
        return self._of_queue("set_skew", queue, _same, ms)

    # -- schedules

    def tick(
        self, queue: str, *, rows: bytes, known_for_ms: int, keep: int
    ) -> Command[list[list[Any]]]:
        return self._of_queue("tick", queue, _same, rows, known_for_ms, keep)

    def slots(
        self, queue: str, *, firings: int, schedules: Sequence[str]
    ) -> Command[list[list[Any]]]:
        return self._of_queue("slots", queue, _same, firings, *schedules)

    def close_slots(
        self, queue: str, *, schedule: str, revision: int, forget_ms: int | None
    ) -> Command[int]:
        forget = "" if forget_ms is None else forget_ms
        everybody = self._keys.everybody
        return self._of_queue("close_slots", queue, _same, schedule, revision, forget, everybody)

    # -- nodes and upkeep

    def join(self, queue: str, *, node: str, lease_ms: int) -> Command[int]:
        return self._of_queue("join", queue, _same, node, lease_ms)

    def beat(self, queue: str, *, node: str, lease_ms: int) -> Command[list[Any] | int]:
        return self._of_queue("beat", queue, _same, node, lease_ms)

    def leave(self, queue: str, *, node: str, limit: int) -> Command[bool]:
        return self._of_queue("leave", queue, bool, node, limit)

    def reap(self, queue: str, *, limit: int, dead: Sequence[str]) -> Command[int]:
        return self._of_queue("reap", queue, _same, limit, *dead)

    def sweep(
        self, queue: str, *, limit: int, failed_keep_ms: int, failed_max: int
    ) -> Command[int]:
        return self._of_queue("sweep", queue, _same, limit, failed_keep_ms, failed_max)

    # -- the directory

    def register(self, queues: Sequence[str]) -> Command[int]:
        keys = (self._keys.queues, self._keys.skew)
        return Command("register", keys, (self._keys.everybody, *queues), _number)

    def announce(
        self, *, node: str, description: bytes, keep_ms: int, queues: Sequence[str]
    ) -> Command[int]:
        names = self._keys
        waiting, _ = names.commands(node)
        keys = (names.queues, names.skew, names.nodes, names.seen, waiting)
        arguments = (names.everybody, node, description, keep_ms, *queues)
        return Command("announce", keys, arguments, _number)

    def nodes(self) -> Command[list[Any]]:
        keys = (self._keys.skew, self._keys.nodes, self._keys.seen)
        return Command("nodes", keys, (), _same)

    def send(
        self, *, node: str, command_id: str, packed: bytes, keep_ms: int, most: int
    ) -> Command[int]:
        names = self._keys
        keys = (names.skew, names.seen, *names.commands(node))
        arguments = (node, names.mailbox(node), command_id, packed, keep_ms, most)
        return Command("send", keys, arguments, _number)

    def commands(self, *, node: str, keep_ms: int, done: Sequence[str]) -> Command[list[bytes]]:
        keys = (self._keys.skew, *self._keys.commands(node))
        return Command("commands", keys, (keep_ms, *done), _same)

    # -- records

    def put_record(
        self, kind: str, *, record_id: str, value: bytes, ttl_ms: int | None, expect: bytes | None
    ) -> Command[int]:
        keep = "" if ttl_ms is None else ttl_ms
        only = () if expect is None else (expect,)
        return self._of_records("put_record", kind, record_id, value, keep, *only)

    def records(self, kind: str, *, start: str, limit: int) -> Command[list[bytes]]:
        return self._of_records("records", kind, start, limit)

    def remove_record(self, kind: str, *, record_id: str, expect: bytes | None) -> Command[int]:
        only = () if expect is None else (expect,)
        return self._of_records("remove_record", kind, record_id, *only)

    def _of_records(self, script: str, kind: str, *arguments: Any) -> Command[Any]:
        keys = (self._keys.skew, *self._keys.records(kind))
        return self._of_namespace(script, keys, *arguments)

    def _of_namespace(self, script: str, keys: tuple[str, ...], *arguments: Any) -> Command[Any]:
        return Command(script, keys, arguments, _same)

    def _of_queue(
        self, script: str, queue: str, parse: Callable[[Reply], T], *arguments: Any
    ) -> Command[T]:
        known = self._queues.get(queue)
        if known is None:
            known = (self._keys.meta(queue),), (self._keys.bell_prefix, queue, self._keep_ms)
            self._queues[queue] = known
        keys, common = known
        return Command(script, keys, common + arguments, parse)


def _is_too_modern(reply: Reply) -> bool:
    """Whether a server could not compile a text that is for Redis 7."""
    return isinstance(reply, ResponseError) and "compil" in str(reply).lower()


def _same(reply: Reply) -> Any:
    return reply


def _number(reply: Reply) -> int:
    return int(reply or 0)


def _floats(reply: Reply) -> list[float]:
    return [float(item) for item in reply]
