"""TLS to a real server: who proves what it must is spoken to, and everybody else is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import trustme

from taskrunner import App, BrokerUnavailable, OptionError, State
from taskrunner.brokers.base import JobKey
from taskrunner.testing.fleet import Fleet
from taskrunner.testing.redis_server import RedisServer, Tls
from tests.process.conftest import ROOT

LONG_AGO = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(folder: Path, authority: trustme.CA) -> Iterator[RedisServer]:
    """Speaks TLS 1.2 alone, and wants to know who asks."""
    tls = issued(authority, folder, "server", "localhost")
    extra = ("--tls-auth-clients", "yes", "--tls-protocols", "TLSv1.2")
    with started(RedisServer(tls=tls, extra=extra)) as server:
        yield server


@contextmanager
def started(server: RedisServer) -> Iterator[RedisServer]:
    with server:
        yield server


def issued(
    authority: trustme.CA, folder: Path, name: str, *names: str, until: datetime | None = None
) -> Tls:
    """A certificate for these names, in files that begin with `name`."""
    made = authority.issue_cert(*names, not_after=until)
    paths = Tls(*(folder / f"{name}-{part}.pem" for part in ("cert", "key", "ca")))
    made.private_key_pem.write_to_path(str(paths.key))
    for n, part in enumerate(made.cert_chain_pems):
        part.write_to_path(str(paths.cert), append=n > 0)
    authority.cert_pem.write_to_path(str(paths.ca))
    return paths


@pytest.fixture(scope="module")
def me(folder: Path, authority: trustme.CA) -> str:
    """The options that prove who asks."""
    mine = issued(authority, folder, "client", "worker@example.org")
    return f"ssl_certfile={mine.cert}&ssl_keyfile={mine.key}"


def ping(url: str) -> None:
    app = App(url)
    try:
        app.broker.ping()
    finally:
        app.close()


def refusal(url: str) -> str:
    with pytest.raises(BrokerUnavailable) as caught:
        ping(url)
    return str(caught.value)


def test_both_sides_prove_who_they_are(server: RedisServer, me: str) -> None:
    ping(f"{server.url}&{me}")
    ping(f"{server.url}&{me}&ssl_min_version=1.2")


def test_a_client_without_a_certificate_is_refused(
    server: RedisServer, folder: Path, me: str
) -> None:
    assert "rediss://" in refusal(server.url)
    stranger = issued(trustme.CA(), folder, "stranger", "worker@example.org")
    refused = refusal(f"{server.url}&ssl_certfile={stranger.cert}&ssl_keyfile={stranger.key}")
    assert "rediss://" in refused
    ping(f"{server.url}&{me}")


def test_a_server_that_nobody_vouches_for_is_refused(
    server: RedisServer, folder: Path, me: str
) -> None:
    address = server.url.partition("?")[0]
    assert "certificate verify failed" in refusal(f"{address}?{me}").lower()
    other = issued(trustme.CA(), folder, "other", "localhost")
    assert "certificate verify failed" in refusal(f"{address}?{me}&ssl_ca_certs={other.ca}").lower()
    ping(f"{address}?{me}&ssl_cert_reqs=none")


def test_a_certificate_for_another_host_is_refused(server: RedisServer, me: str) -> None:
    elsewhere = f"{server.url.replace('localhost', '127.0.0.1')}&{me}"
    assert "ip address mismatch" in refusal(elsewhere).lower()
    ping(f"{elsewhere}&ssl_check_hostname=false")


def test_a_server_that_speaks_an_older_version_is_refused(server: RedisServer, me: str) -> None:
    refused = refusal(f"{server.url}&{me}&ssl_min_version=1.3").lower()
    assert "version" in refused or "protocol" in refused
    for wrong in ("1.1", "1", "TLSv1.2", ""):
        with pytest.raises(OptionError, match=r"'ssl_min_version': expected 1\.2 or 1\.3"):
            ping(f"{server.url}&ssl_min_version={wrong}")


def test_an_expired_certificate_is_refused(folder: Path, authority: trustme.CA) -> None:
    tls = issued(authority, folder, "expired", "localhost", until=LONG_AGO)
    with started(RedisServer(tls=tls)) as server:
        assert "certificate has expired" in refusal(server.url).lower()


def test_a_server_without_tls_is_refused_and_the_other_way_round(
    server: RedisServer, redis_server: RedisServer
) -> None:
    refusal(redis_server.url.replace("redis://", "rediss://") + "?socket_timeout=1")
    refusal(server.url.partition("?")[0].replace("rediss://", "redis://"))


def test_a_certificate_that_is_not_there_is_named(server: RedisServer, tmp_path: Path) -> None:
    address = server.url.partition("?")[0]
    for option in ("ssl_ca_certs", "ssl_certfile"):
        missing = tmp_path / "gone.pem"
        refused = refusal(f"{address}?{option}={missing}")
        assert f"No such file or directory: '{missing}'" in refused


def test_a_node_and_its_processes_speak_tls_too(
    server: RedisServer, me: str, tmp_path: Path
) -> None:
    url, namespace = f"{server.url}&{me}", f"t{uuid4().hex[:8]}"
    with Fleet(
        "tests.process.apps.sealed:app",
        broker=url,
        folder=tmp_path,
        namespace=namespace,
        root=ROOT,
        environ={"TASKRUNNER_TEST_NAMESPACE": namespace},
    ) as fleet:
        fleet.start("--processes", "1")
        app = App(url, namespace=namespace)
        job = app.enqueue("tests.process.apps.sealed.echo", args=("by TLS",))
        assert job.result(timeout=30) == "by TLS"
        (record,) = app.broker.get([JobKey("default", job.id)])
        assert record is not None
        assert record.state is State.SUCCEEDED
        app.close()
