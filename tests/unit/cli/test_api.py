from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from taskrunner.cli.exits import Exit
from tests.unit.cli.conftest import Cli


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield str(found.getsockname()[1])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--insecure-no-auth", "--host", "0.0.0.0"), Exit.CONFIG, "this machine alone"),
        (("--broker", "memory://"), Exit.CONFIG, "lives inside one process"),
        (("--tls-key", "x"), Exit.CONFIG, "needs tls_cert_file"),
        (("--tls-cert", "nothing.pem"), Exit.CONFIG, "nothing.pem"),
        (("--tls-minimum", "1.0"), Exit.CONFIG, "--tls-minimum='1.0'"),
        (("--audit-file", "/nothing/there"), Exit.CONFIG, "the audit file /nothing/there"),
        (("--broker", "redis://127.0.0.1:1/0"), Exit.BROKER, "127.0.0.1:1"),
        (("--port", "99999"), Exit.USAGE, "99999"),
        (("--host", "no.such.host.invalid"), Exit.START, "cannot listen on no.such.host.invalid"),
    ],
)
def test_it_starts_on_no_bad_ground(
    cli: Cli, words: tuple[str, ...], code: Exit, says: str
) -> None:
    ran = cli("api", "shop:app", *words)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_where_somebody_listens_already(cli: Cli, taken: str) -> None:
    ran = cli("api", "shop:app", "--port", taken)
    assert ran.code == Exit.START
    assert f"cannot listen on 127.0.0.1, port {taken}: " in ran.err
