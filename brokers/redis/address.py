"""Where a Redis is, read from a URL.

    redis://[[user]:password@]host[:port][/db]        TCP
    rediss://…                                        TLS; certificates are verified
    unix://[[user]:password@]/path/to/socket[?db=0]   a socket of this machine

Options follow as a query: `db`, `username`, `password`, `socket_timeout`,
`socket_connect_timeout` (seconds), and with rediss `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`,
`ssl_keyfile`, `ssl_password`, `ssl_cert_reqs` (required or none), `ssl_check_hostname` (true or
false).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskrunner.errors import OptionError

SCHEMES: Final = ("redis", "rediss", "unix")

CONNECT_TIMEOUT: Final = 5.0
"""Seconds to reach the server."""
SOCKET_TIMEOUT: Final = 15.0
"""Seconds without an answer after which it counts as away, and so does the connection on which a
mailbox waits. No call of ours blocks in the server, so that only a server or a network in trouble
takes this long."""


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError("expected true or false")
    return text.lower() in ("true", "1", "yes")


def _database(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("expected a number, 0 or more")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise ValueError("expected seconds, more than 0")
    return seconds


def _cert_reqs(text: str) -> str:
    if text not in ("required", "none"):
        raise ValueError("expected required or none")
    return text


_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "db": _database,
    "username": str,
    "password": str,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
}
_TLS_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_password": str,
    "ssl_cert_reqs": _cert_reqs,
    "ssl_check_hostname": _truth,
}


@dataclass(frozen=True, slots=True)
class Address:
    """How to connect; `shown` is the URL without its secrets."""

    scheme: str
    shown: str
    options: Mapping[str, Any] = field(repr=False)
    """arguments of a redis-py connection"""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL. Raises OptionError, which never shows a password."""
        parts = _split(url)
        shown = _shown(parts)
        try:
            options = _options(parts)
        except ValueError as error:
            raise OptionError(f"Redis URL {shown}: {error}") from None
        return cls(parts.scheme, shown, options)


def _split(url: str) -> SplitResult:
    scheme = url.partition(":")[0]
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises where it is not a number
    except ValueError:
        raise OptionError(
            f"Redis URL {scheme}://…: its host or port cannot be read "
            "(a password's special characters are written like %23 for #)"
        ) from None
    if parts.scheme not in SCHEMES:
        raise OptionError(f"Redis URL {scheme}://…: expected one of {', '.join(SCHEMES)}")
    return parts


def _shown(parts: SplitResult) -> str:
    """The URL with `***` for a password and without options, one of which may be a secret."""
    _, at, host = parts.netloc.rpartition("@")
    user = f"{parts.username or ''}:***@" if at and parts.password else at and f"{parts.username}@"
    return f"{parts.scheme}://{user}{host}{parts.path}"


def _options(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = {
        "db": 0,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": SOCKET_TIMEOUT,
    }
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    if parts.scheme == "rediss":
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    options |= _place(parts)
    known = {**_OPTIONS, **(_TLS_OPTIONS if parts.scheme == "rediss" else {})}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"unknown option {name!r}; there are {', '.join(known)}")
        try:
            options[name] = known[name](value)
        except ValueError as error:
            raise ValueError(f"option {name!r}: {error}") from None
    if options.get("ssl_cert_reqs") == "none":
        options["ssl_check_hostname"] = False  # there is no name in what is not looked at
    return options


def _place(parts: SplitResult) -> dict[str, Any]:
    if parts.fragment:
        raise ValueError("expected nothing after a #")
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if parts.hostname or not path.strip("/"):
            raise ValueError("expected unix:///path/to/the/socket")
        return {"path": path}
    place: dict[str, Any] = {"host": parts.hostname or "localhost", "port": parts.port or 6379}
    database = parts.path.strip("/")
    if database:
        try:
            place["db"] = _database(database)
        except ValueError:
            raise ValueError("expected the number of a database after the host") from None
    return place
