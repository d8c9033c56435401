from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from taskrunner.access import KeyRing, KeyStore, Scope
from taskrunner.access.firstkey import first_key
from taskrunner.access.setup import check_open, guard
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.config import Config
from taskrunner.errors import ConfigError, NotAuthenticated


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"jwt_keys_file": "k"}, "jwt_keys_file \\(from .*\\) needs jwt_issuer beside it"),
        ({"jwt_audience": "a"}, "jwt_audience .* needs jwt_keys_file"),
        ({"tls_key_file": "k"}, "tls_key_file .* needs tls_cert_file"),
        ({"tls_clients_file": "k"}, "tls_clients_file .* needs tls_client_ca_file"),
        ({"audit_file": "/nothing/there"}, "audit file"),
        (
            {"jwt_keys_file": "/nothing", "jwt_issuer": "i", "jwt_audience": "a"},
            "keys for tokens, /nothing",
        ),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        guard(Config(**settings), MemoryBroker())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.8.8"])
def test_a_service_that_asks_nobody_may_listen_here(host: str) -> None:
    check_open(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_a_service_that_asks_nobody_may_not_be_reached(host: str) -> None:
    with pytest.raises(ConfigError, match="this machine alone"):
        check_open(host)


def test_the_first_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = KeyStore(MemoryBroker())
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    made = first_key(store, str(path))
    assert path.read_text() == made.text + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing(store).look(made.text).has(Scope.ADMIN)
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_where_the_key_cannot_be_written_there_is_none(tmp_path: Path) -> None:
    store = KeyStore(MemoryBroker())
    for path in (tmp_path / "nothing" / "key", tmp_path):
        with pytest.raises(ConfigError, match="the file for the API key"):
            first_key(store, str(path))
    assert {one.key.standing(0.0) for one in store.all()} == {"revoked"}
    with pytest.raises(NotAuthenticated):
        KeyRing(store).look("trk_x")
