"""`keys`: who may use the HTTP service, and for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from taskrunner.access import KeyStore, Made, Scope, StoredKey
from taskrunner.access.keystore import OVERLAP_S, Listed
from taskrunner.cli.connect import broker_options, connected, json_option
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import ago, complain, confirmed, local, say, show_json, show_table
from taskrunner.cli.submitting import number, number_or_moment
from taskrunner.options import Options

F = TypeVar("F", bound=Callable[..., Any])

_ONCE: Final = "Keep it now: it is shown once, and nobody can look it up."


def _common(command: F) -> F:
    """Which store the keys are in, and how to show them."""
    for option in (json_option, broker_options, click.argument("target", metavar="APP")):
        command = option(command)
    return command


@contextmanager
def _store(target: str, broker: str | None, namespace: str | None) -> Iterator[KeyStore]:
    with connected(target, broker=broker, namespace=namespace) as app:
        yield KeyStore(app.broker, pepper=app.config.api_key_secret)


@click.group()
def keys() -> None:
    """Make, list, revoke and rotate API keys of the HTTP service.

    A key belongs to the broker and the namespace of APP.
    """


@keys.command(epilog=f"Scopes: {', '.join(Scope)}.")
@_common
@click.option(
    "--scope", "scopes", metavar="SCOPE", multiple=True, required=True, help="May be repeated."
)
@click.option("--name", metavar="TEXT", default="unnamed", help="Whose it is. [default: unnamed]")
@click.option("--queue", "queues", metavar="PATTERN", multiple=True, help="Only these, as 'mail*'.")
@click.option("--task", "tasks", metavar="PATTERN", multiple=True, help="Only these tasks.")
@click.option(
    "--expires", metavar="SECONDS|TIME", type=number_or_moment, help="[default: it does not]"
)
def create(  # noqa: PLR0913  as many as click hands over
    target: str,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
    scopes: tuple[str, ...],
    name: str,
    queues: tuple[str, ...],
    tasks: tuple[str, ...],
    expires: Any,
) -> None:
    """Make an API key and print it: this once."""
    until = Options.of(expires=expires)
    with _store(target, broker, namespace) as store:
        moment = until.expires_at
        if until.expires is not None:
            moment = store.now() + until.expires
        made = store.create(name, scopes, queues=queues, tasks=tasks, expires_at=moment)
    _show_made(made, wants_json)


def _show_made(made: Made, wants_json: bool) -> None:
    if wants_json:
        show_json({"id": made.key.id, "key": made.text, **_facts(made.key)})
    else:
        say(made.text)
        complain(_ONCE)


def _facts(key: StoredKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "queues": list(key.queues),
        "tasks": list(key.tasks),
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "rotated_from": key.rotated_from or None,
    }


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@keys.command("list")
@_common
def list_(target: str, broker: str | None, namespace: str | None, wants_json: bool) -> None:
    """Show the keys there are, and those that ended in the last 30 days. Never the keys
    themselves."""
    with _store(target, broker, namespace) as store:
        found, damaged, now = list(store.all()), store.damaged(), store.now()
        is_keyed = store.pepper is not None
    for key_id in damaged:
        complain(f"taskrunner: the record of key {key_id} cannot be read: it opens nothing")
    for other in [one.key.id for one in found if one.key.is_keyed is not is_keyed]:
        complain(f"taskrunner: {other} opens nothing here: {_OTHERWISE[is_keyed]}")
    if wants_json:
        show_json([_listed(one, now) for one in found])
    elif not found:
        complain("there are no API keys")
    else:
        rows = [_row(one, now) for one in found]
        show_table(["id", "name", "scopes", "queues", "tasks", "state", "ends", "used"], rows)


_OTHERWISE: Final = {
    True: "it was made without the setting api_key_secret",
    False: "it was made under an api_key_secret, and none is set",
}


def _listed(one: Listed, now: float) -> dict[str, Any]:
    return {
        "id": one.key.id,
        **_facts(one.key),
        "state": one.key.standing(now),
        "ends_at": _moment(one.key.ends_at),
        "revoked_at": _moment(one.key.revoked_at),
        "used_at": _moment(one.used_at),
    }


def _row(one: Listed, now: float) -> list[str]:
    key, moment = one.key, datetime.fromtimestamp(now, UTC)
    ends, used = _moment(key.ends_at), _moment(one.used_at)
    return [
        key.id,
        key.name,
        ",".join(sorted(key.scopes)),
        ",".join(key.queues),
        ",".join(key.tasks),
        key.standing(now),
        "never" if ends is None else ago(ends, moment),
        "never" if used is None else ago(used, moment),
    ]


@keys.command()
@_common
@click.argument("key_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(
    target: str,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
    key_id: str,
    yes: bool,
) -> int:
    """Let a key open nothing any more: everywhere within 5 seconds."""
    if not confirmed(f"Revoke the API key {key_id}?", yes):
        return Exit.REFUSED
    with _store(target, broker, namespace) as store:
        key = store.revoke(key_id)
    if wants_json:
        show_json({"id": key.id, "revoked_at": _moment(key.revoked_at)})
    else:
        say("revoked")
    return Exit.OK


@keys.command()
@_common
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    metavar="SECONDS",
    type=number,
    default=OVERLAP_S,
    help=f"How long the old one still works. [default: {OVERLAP_S:g}]",
)
def rotate(
    target: str,
    broker: str | None,
    namespace: str | None,
    wants_json: bool,
    key_id: str,
    overlap: Any,
) -> None:
    """Make a key with the same rights that takes the place of an old one, and print it: this once."""
    with _store(target, broker, namespace) as store:
        made = store.rotate(key_id, overlap=overlap)
        old = store.find(key_id)
    _show_made(made, wants_json)
    if not wants_json and old is not None and old.ends_at is not None:
        complain(f"The old one works until {local(_moment(old.ends_at))}.")
