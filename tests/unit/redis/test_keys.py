"""Redis Cluster: every key that a script touches is in the slot of the keys that it was given.

Not read from the scripts but seen: MONITOR shows each command that a script runs, and the server
itself says which of a command's arguments are keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha1
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis
from redis.crc import key_slot

from taskrunner.brokers.base import (
    Blame,
    Command,
    Contents,
    JobKey,
    Limits,
    NodeInfo,
    Note,
    Outcome,
    OutcomeKind,
    Rewrite,
    Take,
    Tick,
)
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.scripts import Command as ScriptCall
from taskrunner.brokers.redis.scripts import Scripts
from taskrunner.brokers.redis.texts import NAMES, Script
from taskrunner.limits import WHOLE_QUEUE, Limit, Rate, Scope, ScopeKind
from taskrunner.message import Header, Message, Timing
from taskrunner.states import State
from taskrunner.testing.machine import compare_with_model
from taskrunner.testing.redis_server import RedisServer

LINE = re.compile(rb"^\S+ \[\d+ (\S+)\] (.*)$", re.DOTALL)
ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
NO_KEYS = {b"TIME", b"PUBLISH", b"SCAN"}
QUEUES = ("q", "r")


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    client = redis_server.client()
    yield client
    client.close()


def test_every_key_of_every_script_is_in_one_slot(redis_server: RedisServer, client: Redis) -> None:
    made: list[RedisBroker] = []

    def make(*, limits: Limits) -> RedisBroker:
        namespace = uuid4().hex
        made.append(RedisBroker.from_url(redis_server.url, namespace=namespace, limits=limits))
        return made[-1]

    try:
        with client.monitor() as monitor:  # type: ignore[no-untyped-call]
            broker = make(limits=Limits(failed_max=0))
            go_everywhere(broker)
            audit_everything(broker)
            compare_with_model(make, examples=3)
            client.echo("that was all")
            seen = list(commands_until(monitor, b"that was all"))
    finally:
        for broker in made:
            broker.close()
    scripts = {sha1(text).hexdigest(): name for name in NAMES for text in texts(name)}
    called: set[str] = set()
    slot, name, keys_seen = -1, "", 0
    for source, command in seen:
        if source == b"lua":
            keys = keys_of(client, command)
            keys_seen += len(keys)
            assert {key_slot(key) for key in keys} <= {slot}, (name, command)
        elif command[0] in (b"EVAL", b"EVALSHA"):
            digest = (
                command[1].decode() if command[0] == b"EVALSHA" else sha1(command[1]).hexdigest()
            )
            name = scripts[digest]
            called.add(name)
            (slot,) = {key_slot(key) for key in command[3 : 3 + int(command[2])]}
    assert called == set(NAMES)
    assert keys_seen > 1000


def test_in_a_cluster_each_command_names_a_key_that_never_exists_in_the_same_slot() -> None:
    keys = Keys("ns")
    for command in (
        Scripts(keys, keep_ms=1, clustered=True).get("q", ["a"]),
        Scripts(keys, keep_ms=1, clustered=True).nodes(),
    ):
        (request,) = next(Scripts(keys, keep_ms=1, clustered=True).run([command]))
        (alone,) = next(Scripts(keys, keep_ms=1).run([command]))
        count = alone[2]
        named = request[3 : 3 + request[2]]
        assert request[2] == count + 1
        assert named[:-1] == alone[3 : 3 + count]
        assert named[-1].endswith("}:nothing")
        assert len({key_slot(key.encode()) for key in named}) == 1
        assert request[3 + request[2] :] == alone[3 + count :]


def texts(name: str) -> tuple[bytes, bytes]:
    script = Script.read(name)
    return script.modern, script.plain


def go_everywhere(broker: RedisBroker) -> None:
    """Call every script but those of an audit, with long values too."""
    header, long = Header(task="t"), b"x" * 200
    node = NodeInfo(id="n1", lease=15.0)
    broker.join(node, QUEUES)
    for queue in QUEUES:
        broker.enqueue([Message(str(n), queue, header, long) for n in range(12)])
        broker.enqueue(
            [Message("late", queue, header, b"", timing=Timing(delay=9.0, expires_in=20.0))]
        )
        deliveries = broker.fetch("n1", [Take(queue, 11)], 1).deliveries
        broker.note("n1", [Note(queue, d.id, d.number, 1, 0.1, long) for d in deliveries])
        broker.watch("waiter", [JobKey(queue, "0")])
        broker.cancel([JobKey(queue, "10"), JobKey(queue, "11")])
        use_slots(broker, Message("of a slot", queue, header, long))
        broker.beat(node, [queue])
        outcomes = [
            Outcome(queue, d.id, d.number, kind, error=long, reason=long.decode(), delay=1.0)
            for d, kind in zip(deliveries, OutcomeKind, strict=False)
        ]
        outcomes[0] = outcomes[0]._replace(result=long, retention=0)
        outcomes[1] = outcomes[1]._replace(blame=Blame.CRASH)
        outcomes[6] = outcomes[6]._replace(park_key="k" * 100)
        broker.settle("n1", outcomes)
        broker.fetch("n1", [Take(queue, 1, ("k" * 100,))], 100)
        broker.get([JobKey(queue, str(n)) for n in range(12)])
        broker.due([queue], 10.0, 5)
        broker.set_skew(30.0)
        broker.promote([queue], 5)
        broker.sweep([queue], 100)
        broker.reap([queue], 1, ["n1"])
        broker.leave("n1", [queue])
        broker.join(node, [queue])
        be_handed(broker, queue)
        use_desk(broker, queue)
        use_limits(broker, queue)
    broker.nodes()
    use_directory(broker, node, long)


def audit_everything(broker: RedisBroker) -> None:
    """The audit as it is, and the scripts that it has for what is long."""
    for mend in (False, True):
        assert [found for part in broker.audit(repair=mend) for found in part] == []
    scripts = broker._scripts
    rows = [("0", "5", "0", "")]
    for queue in QUEUES:
        asked: list[ScriptCall[Any]] = [
            scripts.audit_walk(queue, priority=5, before=0, limit=10),
            scripts.audit_pending(queue, mend=True, rows=rows, doubled=False),
            scripts.audit_correct(queue, corrected=0, rows=[("p5", 0)]),
        ]
        broker._calls.run(asked)


def use_directory(broker: RedisBroker, node: NodeInfo, long: bytes) -> None:
    """What is of the whole namespace: commands and records."""
    command = Command.new("grow", why=long)
    assert broker.send("n1", command)
    broker.beat(node, QUEUES)
    broker.commands("n1", [command.id])
    broker.put_record("kind", "a", long, ttl=0.0)
    broker.put_record("kind", "b", long)
    broker.records("kind")
    broker.put_record("kind", "b", long, expect=long)
    broker.remove_record("kind", "b", expect=long)


def use_desk(broker: RedisBroker, queue: str) -> None:
    """What operators do."""
    for state in State:
        broker.jobs(queue, state, limit=1)
    keys = [JobKey(queue, str(n)) for n in range(12)]
    broker.requeue(keys)
    broker.oldest([queue])
    broker.enqueue([Message("put off", queue, Header(task="t"), b"", timing=Timing(delay=9.0))])
    broker.reschedule([JobKey(queue, "put off")], delay=5.0)
    for key, record in zip(keys, broker.get(keys), strict=True):
        if record is not None:
            before, long = Contents.of(record), b"x" * 99
            broker.rewrite([Rewrite(*key, before, Contents(long, long, long, (long,)))])
    broker.delete([JobKey(queue, "put off"), *keys[:6]])


def be_handed(broker: RedisBroker, queue: str) -> None:
    """Single jobs: one comes with a bell, where that can be, and the other does not."""
    mailbox = broker.open_mailbox("n1")
    broker.fetch("n1", [Take(queue, 50, hands=True)], 400)
    for size in (0, 100, 200):
        broker.enqueue([Message(f"alone-{size}", queue, Header(task="t"), b"x" * size)])
    mailbox.close()


def use_limits(broker: RedisBroker, queue: str) -> None:
    """What holds jobs back: declared, set and paused, of a queue, a task and a key."""
    own = ("rate=1/h", "rate_key=" + "k" * 100, "max_running=1", "running_key=r")
    broker.declare_limits([queue], {"t": Limit(Rate.parse("5/s"), 3), "u": None})
    header = Header(task="t", limit_keys=own)
    broker.enqueue([Message(f"own-{n}", queue, header, b"x" * 200) for n in range(4)])
    broker.fetch("n1", [Take(queue, 50, slots=2)], 500)
    broker.fetch("n1", [Take(queue, 50)], 600)
    broker.fetch("n1", [Take(queue, 0)], 650)
    for scope in (WHOLE_QUEUE, Scope(ScopeKind.TASK, "t"), Scope(ScopeKind.KEY, "k" * 100)):
        broker.set_limit(queue, scope, Limit(Rate.parse("1/h"), 1))
        broker.pause(queue, scope, 10.0)
        broker.fetch("n1", [Take(queue, 50)], 700)
        broker.resume(queue, scope)
        broker.set_limit(queue, scope, None)
    held = [
        Outcome(key.queue, key.id, n, OutcomeKind.SUCCEEDED)
        for key, n in broker.held("n1", [queue])
    ]
    broker.settle("n1", held)
    broker.fetch("n1", [Take(queue, 50)], 800)
    assert len(broker.limits(queue, "own-1")) == 4
    broker.limits(queue)


def use_slots(broker: RedisBroker, message: Message) -> None:
    now = broker.now()
    for slot in (now - 2, now - 1, None):
        broker.tick([Tick("s", message, slot, 0.0, 1, now, 1.0, "UTC", skip_overlap=True)])
    broker.close_slots(message.queue, "s", 2, gone=True)
    broker.close_slots(message.queue, "s", 3)
    assert len(broker.slots(message.queue, ["s"], firings=9)[0].firings) > 0


def commands_until(monitor: object, end: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Who called what: the address of a client or `lua`, and the command."""
    while True:
        line = LINE.match(monitor.connection.read_response())  # type: ignore[attr-defined]
        assert line is not None
        command = [unescaped(part) for part in ARGUMENT.findall(line[2])]
        if command == [b"ECHO", end]:
            return
        command[0] = command[0].upper()
        yield line[1], command


def unescaped(text: bytes) -> bytes:
    return text.decode("unicode_escape").encode("latin-1")


def keys_of(client: Redis, command: list[bytes]) -> list[bytes]:
    if command[0] in NO_KEYS:
        return []
    found: list[bytes] = client.execute_command(  # type: ignore[no-untyped-call]
        "COMMAND GETKEYS", *command
    )
    return [key if isinstance(key, bytes) else key.encode() for key in found]
