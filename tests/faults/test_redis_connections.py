"""Connections across forks and event loops, and what a job costs in memory."""

from __future__ import annotations

import asyncio
import gc
import os
from uuid import uuid4

import pytest

from taskrunner.brokers.base import ACCEPTED, Bell, BellKind, JobKey, Limits, Receipt
from taskrunner.brokers.redis.batches import LONGEST_FIELD
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.connection import OneServer
from taskrunner.errors import BrokerFull
from taskrunner.message import Header, Message
from taskrunner.testing._conformance_kit import Store, make_message
from taskrunner.testing.redis_server import RedisServer

MOST_BYTES = 300


@pytest.fixture
def broker(redis_url: str) -> RedisBroker:
    return RedisBroker.from_url(redis_url, namespace=uuid4().hex, limits=Limits())


def connection_id(broker: RedisBroker) -> int:
    (number,) = broker._calls.ask([("CLIENT", "ID")])
    return int(number)


# -- forks


def in_child(work: object) -> bytes:
    """What `work()` answers in a forked child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = b"raised"
        try:
            answer = str(work()).encode()  # type: ignore[operator]
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return answer


def test_a_child_connects_by_itself_and_leaves_its_parents_connection_alone(
    broker: RedisBroker,
) -> None:
    before = connection_id(broker)

    def work() -> int:
        number = connection_id(broker)
        broker.enqueue([make_message("from the child")])
        broker.close()
        gc.collect()
        return number

    child = int(in_child(work))
    assert child != before
    assert connection_id(broker) == before
    assert broker.get([JobKey("q", "from the child")])[0] is not None
    broker.close()


def test_a_mailbox_goes_on_after_a_child_used_it(broker: RedisBroker) -> None:
    mailbox = broker.open_mailbox("n1")

    def work() -> list[Bell]:
        broker.enqueue([make_message("a", queue="first")])
        mailbox.wait(0.0)
        broker.enqueue([make_message("a", queue="second")])
        return mailbox.wait(5.0)

    assert in_child(work) == str([Bell(BellKind.QUEUE, "second")]).encode()
    heard: list[Bell] = []
    while len(heard) < 2:
        news = mailbox.wait(5.0)
        assert news
        heard += news
    assert [bell.queue for bell in heard] == ["first", "second"]
    mailbox.wake()
    assert mailbox.wait(5.0) == []
    mailbox.close()
    broker.close()


# -- event loops


def test_each_loop_has_connections_and_closes_them(
    broker: RedisBroker, redis_server: RedisServer
) -> None:
    async def submit(start: int) -> None:
        receipts = await asyncio.gather(
            *(broker.aenqueue([make_message(f"job-{n}")]) for n in range(start, start + 20))
        )
        assert all(receipt.accepted for (receipt,) in receipts)
        await broker.aenqueue([make_message(f"again-{start}")])

    with redis_server.client() as client:
        before = len(client.client_list())
    asyncio.run(submit(0))
    asyncio.run(submit(100))
    gc.collect()  # an unclosed one is a ResourceWarning, and that is an error here
    assert Store(broker).stats().pending_by_priority == {5: 42}
    broker.close()
    redis_server.wait_for(lambda client: len(client.client_list()) <= before)


def test_a_cancelled_call_spoils_no_connection(broker: RedisBroker) -> None:
    async def go() -> None:
        await broker.aenqueue([make_message("warm")])
        for n in range(50):
            call = asyncio.ensure_future(broker.aenqueue([make_message(f"cut-{n}")]))
            for _ in range(n % 5):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            echo = [("ECHO", f"{n}")]
            assert await broker._async_connections.exchange(echo) == [f"{n}".encode()]

    asyncio.run(go())
    gc.collect()
    broker.close()


def test_an_interrupted_call_spoils_no_connection(
    broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is told to stop may be in the middle of one."""
    store = Store(broker)
    store.enqueue("a")
    assert isinstance(broker._connections, OneServer)
    (connection,) = broker._connections._pool._idle

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(connection, "_read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.state("a")
    assert broker._connections.exchange([("ECHO", "x")]) == [b"x"]
    broker.close()


def test_what_is_not_the_usual_answer_to_a_single_job_is_asked_for_in_full(
    broker: RedisBroker, redis_server: RedisServer
) -> None:
    first, again = make_message("a", call="1"), make_message("a", call="2")
    broker.enqueue([make_message("warm")])
    with redis_server.client() as client:
        client.script_flush()
        assert broker.enqueue([first]) == [ACCEPTED]
        assert broker.enqueue([first]) == [ACCEPTED]
        assert broker.enqueue([again]) == [Receipt(False, duplicate_of="a")]
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(BrokerFull):
                broker.enqueue([make_message("b")])
        finally:
            client.config_set("maxmemory", 0)
    broker.close()


# -- memory


def test_a_waiting_job_costs_little(broker: RedisBroker, redis_server: RedisServer) -> None:
    """With ids, a queue, a task and arguments as they usually are."""
    count = 10_000
    header = Header(task="shop.orders.tasks.send")
    ids = [f"{n:026}" for n in range(count)]
    sent = [Message(job_id, "default", header, b"\x92\x91\x01\x80") for job_id in ids]
    broker.enqueue([Message("first", "default", header, b"")])
    with redis_server.client() as client:
        before = client.info("memory")["used_memory"]
        broker.enqueue(sent)
        each = (client.info("memory")["used_memory"] - before) / count
    assert each - len(sent[0].wire) < MOST_BYTES
    broker.close()


def test_no_field_of_a_record_is_long(broker: RedisBroker, redis_server: RedisServer) -> None:
    """Past that Redis leaves the compact encoding, and the job costs twice as much."""
    store = Store(broker)
    long = "x" * 1000
    delivery = store.run("a", body=long.encode(), call=long)
    for name in range(20):
        broker.watch(f"waiter-{name}", [JobKey("q", "a")])
    store.settle(delivery, result=long.encode(), reason=long)
    record = store.record("a")
    assert (record.result, record.reason) == (long.encode(), long)
    store.enqueue("b", body=long.encode())
    key = broker._keys.of_queue("q", "job:")
    with redis_server.client() as client:
        for job_id in "ab":
            fields = client.hgetall(key + job_id)
            assert max(len(value) for value in fields.values()) <= LONGEST_FIELD
            assert client.object("encoding", key + job_id) in (b"listpack", b"ziplist")
    broker.close()
