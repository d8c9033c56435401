"""Redis that says nothing any more, and closes nothing: who notices, and how soon."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from uuid import uuid4

import pytest

from taskrunner.brokers.base import Bell, BellKind, JobKey, Limits, Mailbox, NodeInfo, Note
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.brokers.redis.connection import OneServer, Pool
from taskrunner.brokers.redis.mailbox import RedisMailbox
from taskrunner.errors import BrokerUnavailable
from taskrunner.testing._conformance_kit import make_message
from taskrunner.testing.redis_server import RedisServer

TIMEOUT = 0.6
"""Seconds; the default is 15."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def broker(server: RedisServer) -> Iterator[RedisBroker]:
    url = f"{server.url}?socket_timeout={TIMEOUT}"
    broker = RedisBroker.from_url(url, namespace=uuid4().hex, limits=Limits())
    yield broker
    os.kill(server.pid, signal.SIGCONT)
    broker.close()


def test_a_mailbox_asks_when_it_hears_nothing_and_gives_up_when_nobody_answers(
    broker: RedisBroker, server: RedisServer
) -> None:
    mailbox = broker.open_mailbox("n1")
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(BrokerUnavailable, match="PING was not answered"):
        mailbox.wait(30.0)
    os.kill(server.pid, signal.SIGCONT)
    assert mailbox.wait(0.0) == []
    broker.enqueue([make_message("a", queue="new")])
    assert mailbox.wait(5.0) == [Bell(BellKind.QUEUE, "new")]
    mailbox.close()


def test_short_waits_notice_too(broker: RedisBroker, server: RedisServer) -> None:
    mailbox = broker.open_mailbox("n1")
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(BrokerUnavailable, match="PING was not answered"):
        wait_for_ever(mailbox)
    mailbox.close()


def wait_for_ever(mailbox: Mailbox) -> None:
    while True:
        mailbox.wait(TIMEOUT / 10)


def test_a_mailbox_on_which_nobody_rings_stays_open(
    broker: RedisBroker, server: RedisServer
) -> None:
    mailbox = broker.open_mailbox("n1")
    with server.client() as client:
        opened = int(client.info("stats")["total_connections_received"])
        asked = int(client.info("commandstats")["cmdstat_ping"]["calls"])
        began = monotonic()
        assert mailbox.wait(2.5 * TIMEOUT) == []
        assert monotonic() - began >= 2.5 * TIMEOUT
        pings = int(client.info("commandstats")["cmdstat_ping"]["calls"]) - asked
        assert 1 <= pings <= 3  # one for each two thirds of the timeout
        assert int(client.info("stats")["total_connections_received"]) == opened
    mailbox.close()


def test_an_answer_that_lay_waiting_counts(broker: RedisBroker, server: RedisServer) -> None:
    """A node that was busy for long finds the answer to its question before it judges."""
    mailbox = broker.open_mailbox("n1")
    assert isinstance(mailbox, RedisMailbox)
    os.kill(server.pid, signal.SIGSTOP)
    while mailbox._asked_at is None:
        assert mailbox.wait(TIMEOUT / 10) == []
    os.kill(server.pid, signal.SIGCONT)
    assert mailbox._connection is not None
    assert select.select([mailbox._connection], [], [], 10.0)[0]
    mailbox._asked_at -= 100.0
    assert mailbox.wait(TIMEOUT / 10) == []
    mailbox.close()


def pool_of(broker: RedisBroker) -> Pool:
    assert isinstance(broker._connections, OneServer)
    return broker._connections._pool


def test_what_idles_beside_a_silent_connection_is_not_tried_one_by_one(
    broker: RedisBroker, server: RedisServer
) -> None:
    pool = pool_of(broker)
    links = [pool.send([("PING",)]) for _ in range(4)]
    for link, is_fresh in links:
        pool.receive(link, [("PING",)], is_fresh=is_fresh)
    assert len(pool._idle) == 4
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(BrokerUnavailable, match="in time"):
        broker.queues()
    assert not pool._idle
    os.kill(server.pid, signal.SIGCONT)
    assert broker.queues() == []


@pytest.mark.parametrize("call", ["beat", "note"])
def test_beats_and_notes_wait_for_a_part_of_the_lease(server: RedisServer, call: str) -> None:
    """Notes, too: the thread that makes them has to beat."""
    broker = RedisBroker.from_url(server.url, namespace=uuid4().hex, limits=Limits())
    node = NodeInfo(id="n1", lease=3.0)
    broker.join(node, ["q"])
    calls: dict[str, Callable[[], object]] = {
        "beat": lambda: broker.beat(node, ["q"]),
        "note": lambda: broker.note("n1", [Note("q", "a", 1, pid=1, started_ago=0.0)]),
    }
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = monotonic()
        with pytest.raises(BrokerUnavailable, match="in time"):
            calls[call]()
        assert monotonic() - began < 10.0  # any other call has 15 s
    finally:
        os.kill(server.pid, signal.SIGCONT)
    connection, is_fresh = pool_of(broker).send([("PING",)], 1.0)
    pool_of(broker).receive(connection, [("PING",)], 1.0, is_fresh=is_fresh)
    assert connection._sock.gettimeout() == broker._address.options["socket_timeout"] == 15.0
    assert broker.get([JobKey("q", "a")]) == [None]
    broker.close()


@pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")
def test_what_was_sent_must_arrive(broker: RedisBroker) -> None:
    connection = broker._connections.connect()
    option = getattr(socket, "TCP_USER_TIMEOUT")  # noqa: B009  not on macOS
    assert connection._sock.getsockopt(socket.IPPROTO_TCP, option) == 10_000
    connection.disconnect()
