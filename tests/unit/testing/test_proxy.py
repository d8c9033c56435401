"""Each fault of the proxy does what it says, seen from both sides of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from taskrunner import App, State
from taskrunner.testing.processes import nothing_left_over
from taskrunner.testing.proxy import Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from taskrunner.testing.wire import CommandCounter, script


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url) as proxy:
        yield proxy


def client_of(url: str, *, timeout: float = 5.0) -> Redis:
    """One connection that repeats nothing."""
    return Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout,
        protocol=2,
        single_connection_client=True,
    )


def at_once(client: Redis, commands: list[tuple[Any, ...]]) -> bytes:
    """Commands as bytes for one write."""
    connection: Any = client.connection
    return b"".join(b"".join(connection.pack_command(*words)) for words in commands)


@pytest.mark.parametrize("kind", ["url", "unix_url"])
@pytest.mark.parametrize("to", ["url", "unix_url"])
def test_a_broker_works_through_it(redis_server: RedisServer, kind: str, to: str) -> None:
    with nothing_left_over(), Proxy(getattr(redis_server, to)) as proxy:
        app = App(getattr(proxy, kind), namespace=f"proxy-{kind}-{to}")
        job = app.enqueue("any.task", args=(b"x" * 300_000,))
        assert job.state() is State.PENDING
        assert job.info().args == (b"x" * 300_000,)
        assert proxy.connections >= 1
        app.close()
        eventually(lambda: proxy.connections == 0)


def test_its_urls_keep_login_and_database() -> None:
    with Proxy("redis://me:secret@127.0.0.1:6399/3") as proxy:
        assert proxy.url == f"redis://me:secret@127.0.0.1:{proxy.port}/3"
        assert proxy.unix_url == f"unix://me:secret@{proxy.socket_path}?db=3"
    with Proxy("unix:///tmp/some.sock?db=2") as proxy:
        assert proxy.url == f"redis://127.0.0.1:{proxy.port}/2"
        assert proxy.unix_url == f"unix://{proxy.socket_path}?db=2"
    with Proxy("rediss://localhost:6399/0?ssl_ca_certs=ca.pem") as proxy:
        assert proxy.url == f"rediss://localhost:{proxy.port}/0?ssl_ca_certs=ca.pem"
        with pytest.raises(ValueError, match="TLS"):
            _ = proxy.unix_url


def test_anything_may_speak_through_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with Proxy(f"127.0.0.1:{port}") as proxy:
            near = socket.create_connection(("127.0.0.1", proxy.port))
            far, _ = listener.accept()
            with near, far:
                near.sendall(b"\x16\x03 hello")
                assert far.recv(100) == b"\x16\x03 hello"
                near.shutdown(socket.SHUT_WR)
                assert far.recv(100) == b""
                far.sendall(b"goodbye")
                far.close()
                assert near.recv(100) == b"goodbye"
                assert near.recv(100) == b""


def test_a_cut_resets_and_lets_new_ones_through(proxy: Proxy) -> None:
    client = client_of(proxy.url)
    client.ping()
    proxy.cut()
    assert proxy.connections == 0
    with pytest.raises(RedisConnectionError):
        client.ping()
    assert client.ping()
    client.close()


def test_it_refuses_until_healed(proxy: Proxy) -> None:
    old = client_of(proxy.url)
    old.ping()
    proxy.refuse()
    for url in (proxy.url, proxy.unix_url):
        with pytest.raises(RedisConnectionError, match="refused"):
            client_of(url).ping()
    assert old.ping()
    proxy.heal()
    for url in (proxy.url, proxy.unix_url):
        new = client_of(url)
        assert new.ping()
        new.close()
    old.close()


def test_silence_hides_everything_and_closes_nothing(proxy: Proxy) -> None:
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    sock.sendall(b"PING\r\n")
    assert sock.recv(100) == b"+PONG\r\n"
    proxy.silence()
    sock.sendall(b"PING\r\n")
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.recv(100)
    with pytest.raises(RedisTimeoutError):
        client_of(proxy.url, timeout=0.2).ping()
    proxy.heal()
    sock.settimeout(5)
    assert sock.recv(100) == b"+PONG\r\n"
    sock.close()


def test_a_forgotten_connection_never_speaks_again(proxy: Proxy, redis_server: RedisServer) -> None:
    client = client_of(proxy.url, timeout=0.2)
    client.client_setname("forgotten")
    proxy.forget()
    with pytest.raises(RedisTimeoutError):
        client.ping()
    proxy.heal()
    assert client.ping()  # on a new connection
    # The server was not told that the old one is gone.
    with redis_server.client() as other:
        assert "forgotten" in {found["name"] for found in other.client_list()}
    client.close()


def test_delay_holds_up_each_way(proxy: Proxy) -> None:
    client = client_of(proxy.url)
    client.ping()
    proxy.delay(0.1)
    began = monotonic()
    client.ping()
    assert monotonic() - began >= 0.2
    proxy.heal()
    client.close()


def test_throttling_makes_much_take_long(proxy: Proxy) -> None:
    client = client_of(proxy.url)
    client.set("x", b"x" * 10_000)
    proxy.throttle(50_000)
    began = monotonic()
    assert client.get("x") == b"x" * 10_000
    assert monotonic() - began >= 0.15
    client.close()


def test_a_dropped_reply_is_of_something_executed(proxy: Proxy, redis_server: RedisServer) -> None:
    client = client_of(proxy.url)
    fault = proxy.drop_reply(after="counter")
    client.ping()
    with pytest.raises(RedisConnectionError):
        client.incr("counter")
    fault.wait()
    assert client.incr("counter") == 2
    client.close()


def test_a_pipeline_is_executed_whole_before_its_reply_is_dropped(proxy: Proxy) -> None:
    client = client_of(proxy.url)
    client.ping()
    fault = proxy.drop_reply(after=b"first")
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    asked = [("SET", "first", 1), *(("SET", f"key-{n}", b"x" * 5_000) for n in range(200))]
    sock.sendall(at_once(client, asked))
    with pytest.raises(ConnectionResetError):
        sock.recv(100)
    fault.wait()
    sock.close()
    assert client.exists(*(f"key-{n}" for n in range(200))) == 200
    client.close()


def test_half_a_reply_is_held_until_healed(proxy: Proxy) -> None:
    other = client_of(proxy.url)
    other.set("x", "value")
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    sock.settimeout(0.2)
    fault = proxy.half_reply(after=b"GET", keep=3)
    sock.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n")
    assert sock.recv(100) == b"$5\r"
    fault.wait()
    with pytest.raises(TimeoutError):
        sock.recv(100)
    assert other.get("x") == b"value"
    proxy.heal()
    assert sock.recv(100) == b"\nvalue\r\n"
    sock.sendall(b"*1\r\n$4\r\nPING\r\n")
    assert sock.recv(100) == b"+PONG\r\n"
    sock.close()
    other.close()


def test_half_a_reply_may_be_the_last_of_its_connection(proxy: Proxy) -> None:
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    proxy.half_reply(after=b"PING", keep=3, cut=True)
    sock.sendall(b"*1\r\n$4\r\nPING\r\n")
    assert sock.recv(100) == b"+PO"
    with pytest.raises(ConnectionResetError):
        sock.recv(100)
    sock.close()


def test_a_dropped_request_is_not_executed(proxy: Proxy) -> None:
    client = client_of(proxy.url)
    client.ping()
    fault = proxy.drop_request(containing=["counter", "nothing"], keep=10, times=2)
    for _ in range(2):
        with pytest.raises(RedisConnectionError):
            client.incr("counter")
    fault.wait()
    assert client.incr("counter") == 1
    client.close()


def test_a_held_request_is_executed_when_healed(proxy: Proxy, redis_server: RedisServer) -> None:
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    sock.settimeout(0.2)
    proxy.hold_request(containing=b"counter", keep=12)
    sock.sendall(b"*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n")
    with pytest.raises(TimeoutError):
        sock.recv(100)
    sock.sendall(b"*1\r\n$4\r\nPING\r\n")
    with redis_server.client() as client:
        assert client.get("counter") is None
    proxy.heal()
    answer = b""
    while not answer.endswith(b"+PONG\r\n"):
        answer += sock.recv(100)
    assert answer == b":1\r\n+PONG\r\n"
    sock.close()


def test_a_fault_that_does_not_happen_is_an_error(proxy: Proxy) -> None:
    with pytest.raises(AssertionError, match="not within 0 s"):
        proxy.drop_reply(after="never").wait(0)


def test_scripts_are_known_by_name(proxy: Proxy) -> None:
    app = App(proxy.url, namespace="scripts")
    app.enqueue("any.task")
    fault = proxy.drop_reply(after=script("enqueue"))
    job = app.enqueue("any.task")  # repeats it by itself
    fault.wait()
    assert job.state() is State.PENDING
    assert app.broker.stats(["default"])[0].counts[State.PENDING] == 2
    app.close()
    with pytest.raises(ValueError, match="no script 'settel'"):
        script("settel")


def test_round_trips_are_counted_however_much_is_in_one(proxy: Proxy, redis_url: str) -> None:
    client = client_of(proxy.url)
    client.ping()
    before = (proxy.tally.round_trips, proxy.tally.requests)
    with CommandCounter(redis_url) as counted:
        client.ping()
        connection: Any = client.connection
        connection.send_packed_command([at_once(client, [("GET", "x" * 10_000)] * 50)])
        assert [connection.read_response() for _ in range(50)] == [None] * 50
        client.eval("redis.call('GET', 'x') return redis.call('GET', 'y')", 0)
        eventually(lambda: counted.total == 52)
    assert counted.by_name == {"PING": 1, "GET": 50, "EVAL": 1}
    assert proxy.tally.round_trips - before[0] == 3
    assert proxy.tally.requests - before[1] == 52
    client.close()


def test_many_at_once_lose_nothing(proxy: Proxy, redis_server: RedisServer) -> None:
    def work() -> None:
        client = client_of(proxy.url)
        for _ in range(100):
            client.incr("sum")
        client.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with redis_server.client() as client:
        assert client.get("sum") == b"800"
