"""What uvicorn is asked for: TLS, certificates of clients, connections that ask nothing."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from taskrunner import App
from taskrunner.api import create_api, transport
from taskrunner.api.transport import tls_context
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.config import Config
from taskrunner.errors import ConfigError
from taskrunner.testing.waiting import eventually
from tests.api.serving import ask, serving


async def service(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it knows of the client's certificate."""
    if scope["type"] == "lifespan":
        return
    body = json.dumps(scope["extensions"]["taskrunner.certificate"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Certified:
    """A service's certificate, and one of a client, by different authorities."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ours, self.theirs = trustme.CA(), trustme.CA()
        own = self.ours.issue_cert("localhost")
        self.cert, self.key, self.ca = (str(folder / name) for name in ("cert", "key", "ca"))
        own.private_key_pem.write_to_path(self.key)
        for pem in own.cert_chain_pems:
            pem.write_to_path(self.cert, append=True)
        self.theirs.cert_pem.write_to_path(self.ca)

    def config(self, **more: Any) -> Config:
        return Config(tls_cert_file=self.cert, tls_key_file=self.key, **more)

    def client(self, *, name: str = "", by: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ours.configure_trust(context)
        if name:
            own = (by or self.theirs).issue_cert(
                "c.example",
                common_name=name,
                organization_name="Shop",
                organization_unit_name="Ops",
            )
            own.configure_cert(context)
        return context


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return Certified(tmp_path)


def test_without_certificates_there_is_no_tls() -> None:
    assert tls_context(Config()) is None
    with serving(service, Config()) as port:
        assert ask(port).json is None
        assert "server" not in ask(port).headers


def test_tls_not_older_than_was_said(certified: Certified) -> None:
    with serving(service, certified.config(tls_minimum="1.3")) as port:
        assert ask(port, context=certified.client()).status == 200
        old = certified.client()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            ask(port, context=old)
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port)


@pytest.fixture
def mutual(certified: Certified) -> Iterator[tuple[int, Certified]]:
    with serving(service, certified.config(tls_client_ca_file=certified.ca)) as port:
        yield port, certified


def test_a_client_is_known_by_its_certificate(mutual: tuple[int, Certified]) -> None:
    port, certified = mutual
    found = ask(port, context=certified.client(name="billing")).json
    assert ["commonName", "billing"] in [pair for part in found["subject"] for pair in part]


@pytest.mark.parametrize("who", ["nobody", "of another authority"])
def test_a_client_without_the_right_certificate(mutual: tuple[int, Certified], who: str) -> None:
    port, certified = mutual
    client = certified.client(name="" if who == "nobody" else "billing", by=trustme.CA())
    # With TLS 1.3 a client hears of its refusal when it reads for the first time.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(port, context=client)


def test_connections_that_ask_nothing_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = transport.connection_class(0.1)
    monkeypatch.setattr(transport, "connection_class", lambda: quick)
    with serving(service, Config()) as port:
        for begun in (b"", b"GET / HTTP/1.1\r\nhost: x\r\n"):
            with socket.create_connection(("localhost", port), timeout=20) as silent:
                silent.sendall(begun)
                assert silent.recv(100) == b"", "it was closed, with no answer"
        assert ask(port).status == 200


def test_so_many_connections_and_no_more() -> None:
    with serving(service, Config(connections_limit=2)) as port:
        with socket.create_connection(("localhost", port), timeout=20):
            assert eventually(lambda: ask(port).status == 503, timeout=20)
        eventually(lambda: ask(port).status == 200, timeout=20)


CLIENTS = """
[[client]]
subject = "CN=billing,OU=Ops,O=Shop"
name = "billing"
scopes = ["jobs:submit", "jobs:read"]
queues = ["mail*"]
"""


def test_a_certificate_is_a_credential(certified: Certified, tmp_path: Path) -> None:
    (tmp_path / "clients").write_text(CLIENTS)
    app = App(
        MemoryBroker(),
        tls_cert_file=certified.cert,
        tls_key_file=certified.key,
        tls_client_ca_file=certified.ca,
        tls_clients_file=str(tmp_path / "clients"),
        audit_file=str(tmp_path / "audit"),
    )
    job = {"task": "t", "queue": "mail1"}
    with serving(create_api(app), app.config) as port:
        billing, other = certified.client(name="billing"), certified.client(name="other")
        made = ask(port, "POST", "/v1/jobs", body=job, context=billing)
        assert made.status == 202
        assert made.headers["strict-transport-security"]
        elsewhere = {**job, "queue": "x"}
        assert ask(port, "POST", "/v1/jobs", body=elsewhere, context=billing).status == 403
        assert ask(port, "POST", "/v1/jobs", body=job, context=other).status == 401
        wrong = {"authorization": "Bearer trk_x"}
        assert ask(port, "GET", "/v1/stats", headers=wrong, context=billing).status == 401
    app.close()
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert {line["who"] for line in lines} >= {"certificate:CN=billing,OU=Ops,O=Shop"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"tls_cert_file": "nothing"}, "the certificate of the service, nothing"),
        ({"tls_key_file": "nothing"}, "and nothing: No such file"),
        ({"tls_client_ca_file": "nothing"}, "the authority for clients, nothing"),
    ],
)
def test_files_that_cannot_be_used(certified: Certified, wrong: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tls_context(replace(certified.config(), **wrong))  # type: ignore[arg-type]
