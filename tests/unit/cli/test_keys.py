from __future__ import annotations

import json
from typing import Any

import pytest

from taskrunner.access import KeyRing, KeyStore
from taskrunner.access.keystore import KIND
from taskrunner.cli.exits import Exit
from taskrunner.errors import NotAuthenticated
from tests.unit.cli.conftest import Cli, Ran

SECRET = "s3cret-" * 6


def create(cli: Cli, *more: str) -> Any:
    ran = cli("keys", "create", "shop:app", "--scope", "jobs:read", *more, "--json")
    assert ran.code == Exit.OK, ran.err
    return json.loads(ran.out)


def test_a_key_is_printed_once_and_works(cli: Cli) -> None:
    made = create(
        cli, "--scope", "jobs:submit", "--queue", "mail*", "--task", "shop.*", "--name", "me"
    )
    assert made["scopes"] == ["jobs:read", "jobs:submit"]
    assert (made["queues"], made["tasks"], made["name"]) == (["mail*"], ["shop.*"], "me")
    assert made["expires_at"] is None
    found = KeyRing(KeyStore(cli.broker)).look(made["key"])
    assert (found.id, found.name) == (made["id"], "me")
    for words in ((), ("--json",)):
        ran = cli("keys", "list", "shop:app", *words)
        assert made["id"] in ran.out
        assert made["key"][17:] not in ran.out


def test_without_json_standard_output_is_the_key_alone(cli: Cli) -> None:
    ran = cli("keys", "create", "shop:app", "--scope", "admin")
    assert ran.code == Exit.OK
    assert ran.out.startswith("trk_")
    assert len(ran.out.split()) == 1
    assert "shown once" in ran.err


def test_expiry_by_seconds_and_by_a_moment(cli: Cli) -> None:
    assert create(cli, "--expires", "60")["expires_at"] is not None
    moment = "2099-01-01T00:00:00+00:00"
    assert create(cli, "--expires", moment)["expires_at"] == moment


def test_list_revoke_rotate(cli: Cli) -> None:
    assert cli("keys", "list", "shop:app").err == "there are no API keys\n"
    old = create(cli)
    ran = cli("keys", "rotate", "shop:app", old["id"], "--overlap", "60")
    assert ran.out.startswith("trk_")
    assert "The old one works until" in ran.err
    assert cli("keys", "revoke", "shop:app", old["id"], "--yes").out == "revoked\n"
    with pytest.raises(NotAuthenticated):
        KeyRing(KeyStore(cli.broker)).look(old["key"])
    listed = json.loads(cli("keys", "list", "shop:app", "--json").out)
    assert {one["state"] for one in listed} == {"revoked", "active"}
    assert [one["rotated_from"] for one in listed if one["state"] == "active"] == [old["id"]]


def test_keys_are_made_under_the_secret_of_the_settings(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = create(cli)
    monkeypatch.setenv("TASKRUNNER_API_KEY_SECRET", SECRET)
    made = create(cli)
    assert KeyRing(KeyStore(cli.broker, pepper=SECRET)).look(made["key"]).id == made["id"]
    ran = cli("keys", "list", "shop:app")
    assert f"{plain['id']} opens nothing here: it was made without" in ran.err
    for words in (
        ("check", "shop:app"),
        ("check", "shop:app", "--json"),
        ("keys", "list", "shop:app"),
    ):
        ran = cli(*words)
        assert SECRET not in ran.out + ran.err
    monkeypatch.delenv("TASKRUNNER_API_KEY_SECRET")
    assert f"{made['id']} opens nothing here" in cli("keys", "list", "shop:app").err


@pytest.mark.parametrize("name", ["TASKRUNNER_API_KEY_SECRET", "TASKRUNNER_API_KEY_SECRE"])
def test_a_bad_secret_is_not_repeated(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "too short")
    ran = cli("keys", "list", "shop:app")
    assert ran.code == Exit.CONFIG
    assert name in ran.err
    assert "too short" not in ran.err


def test_a_record_that_cannot_be_read_is_named(cli: Cli) -> None:
    cli.broker.put_record(KIND, "abc", b"\xc1")
    assert "the record of key abc cannot be read" in cli("keys", "list", "shop:app").err


def refused(ran: Ran, code: Exit, says: str) -> None:
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_mistakes(cli: Cli) -> None:
    create_words = ("keys", "create", "shop:app")
    refused(cli(*create_words), Exit.USAGE, "--scope")
    refused(cli(*create_words, "--scope", "root"), Exit.USAGE, "jobs:submit")
    refused(cli(*create_words, "--scope", "admin", "--queue", "a b"), Exit.USAGE, "pattern 'a b'")
    refused(cli(*create_words, "--scope", "admin", "--expires", "soon"), Exit.USAGE, "expires")
    refused(cli(*create_words, "--scope", "admin", "--expires", "-1"), Exit.USAGE, "expires")
    refused(cli("keys", "revoke", "shop:app", "abc", "--yes"), Exit.NOT_FOUND, "'abc'")
    refused(cli("keys", "rotate", "shop:app", "abc"), Exit.NOT_FOUND, "'abc'")
    refused(cli("keys", "revoke", "shop:app", "abc"), Exit.USAGE, "--yes")
    refused(cli("keys", "list", "nothing:app"), Exit.CONFIG, "nothing")
    refused(cli("keys", "list", "shop:app", "--broker", "memory://"), Exit.CONFIG, "one process")
    made = create(cli)
    refused(cli("keys", "rotate", "shop:app", made["id"], "--overlap", "-1"), Exit.USAGE, "overlap")
