"""Client certificates as identities: which subject may do what is said in a file of TOML.

    [[client]]
    subject = "CN=billing,O=Shop"       # all of it, the most special part first, as RFC 4514 has it
    name = "billing"
    scopes = ["jobs:submit", "jobs:read"]
    queues = ["mail*"]

Whether a certificate is genuine was decided before, by TLS: this only looks up whom it names.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taskrunner.access.identity import Identity, Kind, patterns
from taskrunner.access.scopes import Scope
from taskrunner.errors import ConfigError, NotAuthenticated, OptionError

_KNOWN: Final = {"subject", "name", "scopes", "queues", "tasks"}
_SHORT: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "userId": "UID",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A verified client certificate."""

    subject: str

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Certificate | None:
        """From what `ssl.SSLSocket.getpeercert` answers; None where there is none."""
        parts = [pair for part in (found or {}).get("subject", ()) for pair in part]
        named = [f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in reversed(parts)]
        return cls(",".join(named)) if named else None


def _escaped(value: str) -> str:
    """A value as RFC 4514 writes it, so that no value can pass for two."""
    return "".join(f"\\{letter}" if letter in '\\,+"<>;=' else letter for letter in value)


class Certificates:
    """Identities by subject."""

    def __init__(self, identities: Mapping[str, Identity]) -> None:
        self._identities = dict(identities)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Certificates:
        """From a file. Raises ConfigError with all that is wrong in it."""
        try:
            found = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError([f"the clients of {path} cannot be read: {error}"]) from error
        clients = found.pop("client", None)
        if found or not isinstance(clients, list) or not clients:
            raise ConfigError([f"{path}: expected tables [[client]], and nothing else"])
        return cls(_identities(path, clients))

    def identify(self, certificate: Certificate) -> Identity:
        """Whom a certificate names. Raises NotAuthenticated."""
        found = self._identities.get(certificate.subject)
        if found is None:
            raise NotAuthenticated("nobody here knows the subject of this certificate")
        return found


def _identities(path: str | os.PathLike[str], clients: list[Any]) -> dict[str, Identity]:
    problems: list[str] = []
    identities: dict[str, Identity] = {}
    for place, client in enumerate(clients, 1):
        try:
            identity = _identity(client)
            if identity.id in identities:
                raise OptionError(f"there was another with the subject {identity.id}")
            identities[identity.id] = identity
        except OptionError as error:
            problems.append(f"{path}: client {place}: {error}")
    if problems:
        raise ConfigError(problems)
    return identities


def _identity(client: Any) -> Identity:
    if not isinstance(client, dict) or not set(client) <= _KNOWN:
        raise OptionError(f"expected {', '.join(sorted(_KNOWN))}")
    subject = client.get("subject")
    if not isinstance(subject, str) or "=" not in subject:
        raise OptionError("subject: expected one such as CN=billing,O=Shop")
    name = client.get("name", subject)
    if not isinstance(name, str) or not 1 <= len(name) <= 255 or not name.isprintable():
        raise OptionError("name: expected 1 to 255 printable characters")
    lists = {key: client.get(key, []) for key in ("scopes", "queues", "tasks")}
    for key, value in lists.items():
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise OptionError(f"{key}: expected a list of texts")
    return Identity(
        name=name,
        kind=Kind.CERTIFICATE,
        scopes=Scope.parse(lists["scopes"]),
        queues=patterns("queue", lists["queues"]),
        tasks=patterns("task", lists["tasks"]),
        id=subject,
    )
