"""Redis that cannot be reached, or only by those who prove who they are."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from taskrunner.backends.redis import RedisBackend
from taskrunner.brokers.base import Bell, BellKind, JobKey, Limits
from taskrunner.brokers.redis.broker import RedisBroker
from taskrunner.errors import BrokerUnavailable
from taskrunner.testing._conformance_kit import make_message
from taskrunner.testing.redis_server import RedisServer, Tls
from tests.faults.certificates import make_tls

SECRET = "hunter2"


def broker_at(url: str) -> RedisBroker:
    return RedisBroker.from_url(url, namespace=uuid4().hex, limits=Limits())


def refusal(url: str) -> str:
    """What `ping` says, after having looked that nothing in it or behind it is secret."""
    broker = broker_at(url)
    with pytest.raises(BrokerUnavailable) as caught:
        broker.ping()
    broker.close()
    message = str(caught.value)
    assert caught.value.__cause__ is not None
    assert SECRET not in message + str(caught.value.__cause__) + repr(broker)
    assert "\n" not in message
    return message


# -- TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="module")
def tls_server(tls: Tls) -> Iterator[RedisServer]:
    with RedisServer(tls=tls) as server:
        yield server


def test_jobs_and_bells_travel_over_tls(tls_server: RedisServer) -> None:
    broker = broker_at(tls_server.url)
    broker.ping()
    mailbox = broker.open_mailbox("waiter")
    assert broker.enqueue([make_message("a")])[0].accepted
    assert asyncio.run(broker.aenqueue([make_message("b", body=bytes(100_000))]))[0].accepted
    keys = [JobKey("q", "a"), JobKey("q", "b")]
    assert all(record is not None for record in broker.get(keys))
    broker.watch("waiter", keys)
    broker.cancel(keys)
    wanted = {Bell(BellKind.FINISHED, "q", job_id) for job_id in "ab"}
    heard: set[Bell] = set()
    while not wanted <= heard:
        news = mailbox.wait(5.0)
        assert news, f"heard only {heard}"
        heard.update(news)
    mailbox.close()
    broker.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_server: RedisServer) -> None:
    message = refusal(tls_server.url.partition("?")[0])
    assert "certificate verify failed" in message.lower()


def test_a_certificate_of_another_name_is_refused(tls_server: RedisServer) -> None:
    message = refusal(tls_server.url.replace("localhost", "127.0.0.1"))
    assert "certificate" in message.lower()


def test_checks_can_be_switched_off_by_name(tls_server: RedisServer) -> None:
    broker = broker_at(tls_server.url.partition("?")[0] + "?ssl_cert_reqs=none")
    broker.ping()
    broker.close()


def test_plain_text_to_a_tls_port_is_an_outage(tls_server: RedisServer) -> None:
    refusal(f"redis://localhost:{tls_server.port}")


# -- passwords


@pytest.fixture(scope="module")
def locked_server() -> Iterator[RedisServer]:
    with RedisServer(user="shop", password=SECRET) as server:
        yield server


def test_a_user_and_a_password_open_it(locked_server: RedisServer) -> None:
    for url in (locked_server.url, locked_server.unix_url):
        broker = broker_at(url)
        broker.ping()
        assert broker.enqueue([make_message("a")])[0].accepted
        assert asyncio.run(broker.aenqueue([make_message("b")]))[0].accepted
        broker.close()


@pytest.mark.parametrize("login", ["", "shop:wrong-hunter2x@", ":hunter2@", "other:hunter2@"])
def test_a_wrong_login_is_an_outage_with_a_name(locked_server: RedisServer, login: str) -> None:
    message = refusal(f"redis://{login}127.0.0.1:{locked_server.port}")
    assert "refused the user or password" in message
    assert f"127.0.0.1:{locked_server.port}" in message


def test_a_backend_says_the_same(locked_server: RedisServer) -> None:
    backend = RedisBackend.from_url(f"redis://127.0.0.1:{locked_server.port}", namespace="ns")
    with pytest.raises(BrokerUnavailable, match="refused the user or password"):
        backend.ping()
    backend.close()


# -- nobody there


def test_nothing_listening_is_an_outage(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert f"127.0.0.1:{port}" in refusal(f"redis://:{SECRET}@127.0.0.1:{port}/0")
    missing = tmp_path / "no.sock"
    assert str(missing) in refusal(f"unix://:{SECRET}@{missing}")


def test_an_unknown_host_is_an_outage() -> None:
    assert "no.such.host.invalid" in refusal("redis://no.such.host.invalid")


def test_a_server_that_never_answers_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}?socket_timeout=0.2"
        assert "does not answer in time" in refusal(url)


def test_a_mailbox_of_nobody_is_an_outage(tmp_path: Path) -> None:
    broker = broker_at(f"unix://{tmp_path / 'no.sock'}")
    with pytest.raises(BrokerUnavailable):
        broker.open_mailbox("n1")
    with pytest.raises(BrokerUnavailable):
        asyncio.run(broker.aenqueue([make_message("a")]))


@pytest.mark.parametrize(("version", "is_enough"), [("6.0.16", False), ("6.2.0", True)])
def test_an_old_server_is_refused_by_its_version(
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    is_enough: bool,
) -> None:
    broker = broker_at(redis_server.url)
    info = f"# Server\r\nredis_version:{version}\r\nos:Linux\r\n".encode()
    monkeypatch.setattr(broker._connections, "exchange", lambda requests: [info])
    if is_enough:
        broker.ping()
    else:
        with pytest.raises(BrokerUnavailable, match=r"6\.0\.16.*needs 6\.2"):
            broker.ping()
    broker.close()
