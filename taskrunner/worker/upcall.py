"""A broker that only the supervisor's process can reach, as a task sees it.

    task ─▶ UpcallBroker ─CALL─▶ pipe ─▶ supervisor ─▶ answer(broker, …) ─ANSWER─▶ task

Both packings of each method stand here side by side. Waiting for a job's end is one call that is
answered when that job is finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from queue import Empty, SimpleQueue
from typing import Any, Final

from taskrunner import errors
from taskrunner.brokers.base import (
    Bell,
    BellKind,
    BrokerClient,
    Capabilities,
    Command,
    Fired,
    JobKey,
    JobRecord,
    Mailbox,
    NodeInfo,
    QueueStats,
    Receipt,
    Record,
    Records,
    SlotRecord,
    Tick,
    Ticked,
    TickKind,
)
from taskrunner.errors import TaskrunnerError
from taskrunner.message import Lock, Message, Timing, unpack
from taskrunner.states import FINISHED as FINISHED_STATES
from taskrunner.states import State
from taskrunner.worker.deskcalls import DeskCalls
from taskrunner.worker.upcall_limits import UpcallLimits, answer_of_limits

FINISHED: Final = "finished"
"""The method that waits: its value is a job's key, its answer nothing."""

Answered = Callable[[bool, Any], None]


class Calls:
    """Questions that are out, and who waits for the answers. Thread-safe.

    A task may be interrupted in the middle of any of this, so there are no locks in it: what is
    touched here changes in one atomic step, and an answer that nobody waits for is dropped.
    """

    def __init__(self, send: Callable[[int, str, Any], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Answered] = {}

    def start(self, method: str, value: Any, answered: Answered) -> None:
        """Ask; `answered` is called with the answer, on the listener's thread."""
        call = next(self._numbers)
        self._waiting[call] = answered
        try:
            self._send(call, method, value)
        except BaseException:
            self._waiting.pop(call, None)
            raise

    def ask(self, method: str, value: Any) -> Any:
        """Ask and wait for the answer. Raises what the supervisor's side raised."""
        answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self.start(method, value, lambda *answer: answers.put(answer))
        return _value(*answers.get())

    async def aask(self, method: str, value: Any) -> Any:
        """`ask`, from asyncio."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[bool, Any]] = loop.create_future()

        def answered(ok: bool, value: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_resolve, future, (ok, value))

        self.start(method, value, answered)
        return _value(*await future)

    def answer(self, call: int, ok: bool, value: Any) -> None:
        """An answer has arrived."""
        answered = self._waiting.pop(call, None)
        if answered is not None:
            answered(ok, value)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _value(ok: bool, value: Any) -> Any:
    if not ok:
        raise unpack_error(value)
    return value


class UpcallBroker(DeskCalls, UpcallLimits, BrokerClient):
    """What a task may ask of its node's broker."""

    # Of a broker that needs this: it lives in the supervisor's process and nowhere else.
    capabilities = Capabilities(results=True, shared=False, durable=False)

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._ask = calls.ask
        self._mailboxes: dict[str, UpcallMailbox] = {}

    def ping(self) -> None:
        self._ask("ping", None)

    def close(self) -> None:
        """There is no connection of its own."""

    def enqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        return _receipts(self._ask("enqueue", _packed(messages)))

    async def aenqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        return _receipts(await self._calls.aask("enqueue", _packed(messages)))

    def open_mailbox(self, name: str) -> Mailbox:
        mailbox = UpcallMailbox(lambda: self._mailboxes.pop(name, None))
        self._mailboxes[name] = mailbox
        return mailbox

    def watch(self, mailbox: str, keys: Sequence[JobKey]) -> list[bool]:
        records = self.get(keys)
        finished = [record is None or record.state in FINISHED_STATES for record in records]
        box = self._mailboxes[mailbox]
        for key, is_finished in zip(keys, finished, strict=True):
            if not is_finished and box.expects(key):
                self._calls.start(FINISHED, list(key), box.ringer(key))
        return finished

    def cancel(self, keys: Sequence[JobKey]) -> list[bool | None]:
        return list(self._ask("cancel", _lists(keys)))

    def send(self, node: str, command: Command) -> bool:
        return bool(self._ask("send", [node, command.id, command.pack()]))

    def get(self, keys: Sequence[JobKey]) -> list[JobRecord | None]:
        return [row and _record(row) for row in self._ask("get", _lists(keys))]

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        return [_stats(row) for row in self._ask("stats", list(queues))]

    def queues(self) -> list[str]:
        return list(self._ask("queues", None))

    def nodes(self) -> list[NodeInfo]:
        return [_node(row) for row in self._ask("nodes", None)]

    def now(self) -> float:
        return float(self._ask("now", None))

    def put_record(
        self,
        kind: str,
        record_id: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: bytes | None = None,
    ) -> bool:
        return bool(self._ask("put_record", [kind, record_id, value, ttl, expect]))

    def records(self, kind: str, cursor: str = "", *, limit: int = 100) -> Records:
        rows, following = self._ask("records", [kind, cursor, limit])
        return Records([Record(*row) for row in rows], following)

    def remove_record(self, kind: str, record_id: str, *, expect: bytes | None = None) -> bool:
        return bool(self._ask("remove_record", [kind, record_id, expect]))

    def tick(self, ticks: Sequence[Tick]) -> list[Ticked]:
        rows = [[name, *_packed([message]), *rest] for name, message, *rest in ticks]
        return [_ticked(*row) for row in self._ask("tick", rows)]

    def slots(self, queue: str, schedules: Sequence[str], *, firings: int = 0) -> list[SlotRecord]:
        rows = self._ask("slots", [queue, list(schedules), firings])
        return [
            SlotRecord(last, revision, tuple(map(_fired, fired))) for last, revision, fired in rows
        ]

    def close_slots(self, queue: str, schedule: str, revision: int, *, gone: bool = False) -> float:
        return float(self._ask("close_slots", [queue, schedule, revision, gone]))


class UpcallMailbox(Mailbox):
    """Filled by the answers to calls that wait."""

    def __init__(self, closed: Callable[[], object]) -> None:
        self._bells: SimpleQueue[Bell | None] = SimpleQueue()
        self._expected: set[JobKey] = set()
        self._closed = closed

    def expects(self, key: JobKey) -> bool:
        """Whether this is the first call for `key`."""
        new = key not in self._expected
        self._expected.add(key)
        return new

    def ringer(self, key: JobKey) -> Answered:
        def ring(_ok: bool, _value: Any) -> None:
            self._expected.discard(key)
            self._bells.put(Bell(BellKind.FINISHED, key.queue, key.id))

        return ring

    def wait(self, timeout: float) -> list[Bell]:
        bells: list[Bell] = []
        try:
            bell = self._bells.get(timeout=timeout)
            while True:
                if bell is None:
                    return bells
                bells.append(bell)
                bell = self._bells.get_nowait()
        except Empty:
            return bells

    def wake(self) -> None:
        self._bells.put(None)

    def close(self) -> None:
        self._closed()


def answer(broker: BrokerClient, method: str, value: Any) -> Any:
    """Do what a task asked; the supervisor's side. Raises whatever the broker does."""
    match method:
        case "enqueue":
            return [list(receipt) for receipt in broker.enqueue([_message(row) for row in value])]
        case "get":
            return [record and _values(record) for record in broker.get(_keys(value))]
        case "cancel":
            return broker.cancel(_keys(value))
        case "stats":
            return [_values(stats) for stats in broker.stats(value)]
        case "nodes":
            return [_values(node) for node in broker.nodes()]
        case "queues":
            return broker.queues()
        case "now":
            return broker.now()
        case "ping":
            return broker.ping()
        case _:
            return _answer_of_namespace(broker, method, value)


def _answer_of_namespace(broker: BrokerClient, method: str, value: Any) -> Any:
    match method, value:
        case "send", [node, command_id, packed]:
            return broker.send(node, Command.unpack(command_id, packed))
        case "put_record", [kind, record_id, held, ttl, expect]:
            return broker.put_record(kind, record_id, held, ttl=ttl, expect=expect)
        case "records", [kind, cursor, limit]:
            found, following = broker.records(kind, cursor, limit=limit)
            return [[list(record) for record in found], following]
        case "remove_record", [kind, record_id, expect]:
            return broker.remove_record(kind, record_id, expect=expect)
        case _:
            return _answer_of_schedules(broker, method, value)


def _answer_of_schedules(broker: BrokerClient, method: str, value: Any) -> Any:
    match method, value:
        case "tick", _:
            ticks = [Tick(name, _message(message), *rest) for name, message, *rest in value]
            return [list(answer) for answer in broker.tick(ticks)]
        case "slots", [queue, schedules, firings]:
            found = broker.slots(queue, schedules, firings=firings)
            return [
                [record.last, record.revision, [list(fired) for fired in record.firings]]
                for record in found
            ]
        case "close_slots", [queue, schedule, revision, gone]:
            return broker.close_slots(queue, schedule, revision, gone=gone)
        case _:
            return answer_of_limits(broker, method, value)


def pack_error(error: TaskrunnerError) -> list[str]:
    """An error as an answer: its name and its text."""
    return [type(error).__name__, str(error)]


def unpack_error(packed: list[str]) -> TaskrunnerError:
    """The error that `pack_error` packed; a plain TaskrunnerError where it is not one of ours."""
    name, text = packed
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, TaskrunnerError):
        return kind(text)
    return TaskrunnerError(text)


def _packed(messages: Sequence[Message]) -> list[list[Any]]:
    return [
        [m.id, m.queue, m.wire, m.priority, _values(m.timing), m.call, m.lock and list(m.lock)]
        for m in messages
    ]


def _message(row: list[Any]) -> Message:
    job_id, queue, wire, priority, timing, call, lock = row
    header, body = unpack(wire)
    made = Message(job_id, queue, header, body, priority, Timing(*timing), call)
    return made if lock is None else replace(made, lock=Lock.of(lock))


def _ticked(kind: int, last: float, wait: float) -> Ticked:
    return Ticked(TickKind(kind), last, wait)


def _fired(row: list[Any]) -> Fired:
    slot, at, kind, job_id, state, ended_at = row
    return Fired(slot, at, TickKind(kind), job_id, state and State(state), ended_at)


def _receipts(rows: Any) -> list[Receipt]:
    return [Receipt(*row) for row in rows]


def _lists(keys: Sequence[JobKey]) -> list[list[str]]:
    return [list(key) for key in keys]


def _keys(rows: Any) -> list[JobKey]:
    return [JobKey(*row) for row in rows]


def _values(one: Any) -> list[Any]:
    """A dataclass as the list of its fields, mappings as plain ones."""
    return [_plain(getattr(one, field.name)) for field in fields(one)]


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return str(value) if isinstance(value, State) else value
    if isinstance(value, tuple):
        return list(value)
    return {_plain(key): count for key, count in value.items()}


def _record(row: list[Any]) -> JobRecord:
    values = dict(zip((field.name for field in fields(JobRecord)), row, strict=True))
    values["state"] = State(values["state"])
    values["errors"] = tuple(values["errors"])
    return JobRecord(**values)


def _node(row: list[Any]) -> NodeInfo:
    values = dict(zip((field.name for field in fields(NodeInfo)), row, strict=True))
    values["queues"] = tuple(values["queues"])
    return NodeInfo(**values)


def _stats(row: list[Any]) -> QueueStats:
    queue, counts, *rest = row
    return QueueStats(queue, {State(name): count for name, count in counts.items()}, *rest)
