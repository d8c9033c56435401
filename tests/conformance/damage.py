"""How the stores of ours are damaged, for the tests of their audit."""

from __future__ import annotations

from typing import Any

from taskrunner.brokers.base import Broker, JobKey
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.states import State
from taskrunner.testing._conformance_kit import Damage

_NOBODY = "nobody"


def damage_memory(broker: Broker, how: Damage, key: JobKey) -> bool:
    assert isinstance(broker, MemoryBroker)
    queue = broker._queues[key.queue]
    job = queue.jobs[key.id]
    match how:
        case Damage.DROPPED_RECORD:
            del queue.jobs[key.id]
        case Damage.MISSING_ENTRY:
            _take_out(queue, job)
        case Damage.DOUBLED_ID:
            queue.timers.add(job.id, 1e12)
        case Damage.DOUBLED_ENTRY:
            queue.ready._lists[job.priority].append((job.ticket, job))
        case Damage.WRONG_COUNTER if job.state is State.PENDING:
            queue.ready.counts[job.priority] += 3
        case Damage.WRONG_COUNTER:
            queue.counts[job.state] += 3
        case _:
            return False
    return True


def _take_out(queue: Any, job: Any) -> None:
    match job.state:
        case State.PENDING:
            queue.ready._lists[job.priority].clear()
        case State.ACTIVE:
            del queue.held[job.node][job.id]
        case State.WAITING:
            queue.parked[job.park_key].discard(job.id)
        case State.SCHEDULED | State.RETRYING:
            queue.timers.discard(job.id)
        case State.FAILED:
            queue.failed.discard(job.id)
        case _:
            queue.done.discard(job.id)


def damage_redis(broker: Broker, how: Damage, key: JobKey) -> bool:
    assert isinstance(broker, RedisBroker)

    def name(rest: str) -> str:
        return broker._keys.of_queue(key.queue, rest)

    (record,) = broker.get([key])
    assert record is not None
    node, number = record.node or "", record.number or 0
    ready, held = name(f"ready:{record.priority}"), name(f"active:{node}")
    commands: list[tuple[Any, ...]]
    match how:
        case Damage.DROPPED_RECORD:
            commands = [("DEL", name(f"job:{key.id}"))]
        case Damage.MISSING_ENTRY:
            commands = [
                ("HDEL", held, number) if record.state is State.ACTIVE else ("PING",),
                ("LREM", ready, 0, key.id),
                *(("ZREM", name(index), key.id) for index in _INDEXES),
                ("ZREM", name("parked:k"), key.id),
            ]
        case Damage.DOUBLED_ID:
            commands = [("ZADD", name("scheduled"), 1e15, key.id)]
        case Damage.DOUBLED_ENTRY:
            commands = [("RPUSH", ready, key.id)]
        case Damage.WRONG_COUNTER:
            pending = record.state is State.PENDING
            counter = f"p{record.priority}" if pending else str(record.state)
            commands = [("HINCRBY", name("stats"), counter, 3)]
        case Damage.LOST_LEASE:
            commands = [("ZREM", name("holders"), node), ("HDEL", name("leases"), node)]
        case Damage.ORPHAN_SET:
            commands = [
                ("HDEL", held, number),
                ("HSET", name(f"active:{_NOBODY}"), number, key.id, "last", number),
                ("HSET", name(f"job:{key.id}"), "o", f"+{number}:{_NOBODY}"),
            ]
    broker._calls.ask(commands)
    return True


_INDEXES = ("scheduled", "retrying", "done", "failed", "parking")
