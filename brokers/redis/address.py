"""Where a Redis is, read from a URL.

    redis://[[user]:password@]host[:port][/db]               one server, by TCP
    unix://[[user]:password@]/path/to/socket[?db=0]          by a socket of this machine
    redis+sentinel://[login@]host[:port],…/NAME[/db]         the master that sentinels call NAME
    redis+cluster://[login@]host[:port],…                    a cluster, by some of its nodes

`rediss`, `rediss+sentinel` and `rediss+cluster` are the same over TLS, with certificates verified.

Options follow as a query: `db`, `username`, `password`, `socket_timeout`,
`socket_connect_timeout` (seconds); with TLS `ssl_ca_certs`, `ssl_ca_path`, `ssl_certfile`,
`ssl_keyfile`, `ssl_password`, `ssl_cert_reqs` (required or none), `ssl_check_hostname` (true or
false), `ssl_min_version` (1.2 or 1.3); with sentinels `sentinel_username`, `sentinel_password`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import TLSVersion
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskrunner.errors import OptionError

CLUSTER: Final = "cluster"
SENTINEL: Final = "sentinel"
SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)

CONNECT_TIMEOUT: Final = 5.0
"""Seconds to reach the server."""
SOCKET_TIMEOUT: Final = 15.0
"""Seconds without an answer after which it counts as away, and so does the connection on which a
mailbox waits. No call of ours blocks in the server, so that only a server or a network in trouble
takes this long."""
PORT: Final = 6379
SENTINEL_PORT: Final = 26379


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


def _version(text: str) -> TLSVersion:
    try:
        return _VERSIONS[text]
    except KeyError:
        raise ValueError(f"expected {' or '.join(_VERSIONS)}") from None


_VERSIONS: Final = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}
"""Older ones are not spoken, whatever the system's library could do."""

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
    "ssl_min_version": _version,
}
_LOGIN: Final = ("username", "password")
_SENTINEL_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    f"sentinel_{name}": str for name in _LOGIN
}


class Server(NamedTuple):
    """One server's place on the network."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """How to connect; `shown` is the URL without its secrets."""

    scheme: str
    shown: str
    options: Mapping[str, Any] = field(repr=False)
    """arguments of a redis-py connection"""
    servers: tuple[Server, ...] = ()
    """some nodes of a cluster, or the sentinels"""
    service: str = ""
    """what the sentinels call the master"""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL. Raises OptionError, which never shows a password."""
        parts = _split(url)
        shown = _shown(parts)
        try:
            servers, service, place = _place(parts)
            options = _options(parts, place)
        except ValueError as error:
            raise OptionError(f"Redis URL {shown}: {error}") from None
        return cls(parts.scheme, shown, options, servers, service)

    @property
    def transport(self) -> str:
        """`redis`, `rediss` or `unix`."""
        return self.scheme.partition("+")[0]

    @property
    def kind(self) -> str:
        """`cluster`, `sentinel`, or nothing for one server."""
        return self.scheme.partition("+")[2]

    def at(self, server: Server) -> Address:
        """One of the servers behind this address."""
        options = {k: v for k, v in self.options.items() if k not in _SENTINEL_OPTIONS}
        return self._one(server, options)

    def sentinel(self, server: Server) -> Address:
        """One of the sentinels of this address, with the login that they want."""
        own = {f"sentinel_{name}": name for name in _LOGIN}
        drop = {*_LOGIN, *own, "db"}
        options = {name: value for name, value in self.options.items() if name not in drop}
        login = {name: self.options[ours] for ours, name in own.items() if ours in self.options}
        # A sentinel has no work that could take long.
        patience = {"socket_timeout": self.options["socket_connect_timeout"]}
        return self._one(server, options | login | patience)

    def _one(self, server: Server, options: Mapping[str, Any]) -> Address:
        place = {"host": server.host, "port": server.port}
        return Address(self.transport, f"{self.transport}://{server}", {**options, **place})


def _split(url: str) -> SplitResult:
    scheme = url.partition(":")[0]
    try:
        parts = urlsplit(url)
        for host in _hosts(parts):
            host.port  # noqa: B018  raises where it is not a number
    except ValueError:
        raise OptionError(
            f"Redis URL {scheme}://…: its host or port cannot be read "
            "(a password's special characters are written like %23 for #)"
        ) from None
    if parts.scheme not in SCHEMES:
        raise OptionError(f"Redis URL {scheme}://…: expected one of {', '.join(SCHEMES)}")
    return parts


def _hosts(parts: SplitResult) -> list[SplitResult]:
    """The hosts of a URL, each as what `urlsplit` makes of it alone."""
    return [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]


def _shown(parts: SplitResult) -> str:
    """The URL with `***` for a password and without options, one of which may be a secret."""
    _, at, host = parts.netloc.rpartition("@")
    user = f"{parts.username or ''}:***@" if at and parts.password else at and f"{parts.username}@"
    return f"{parts.scheme}://{user}{host}{parts.path}"


def _options(parts: SplitResult, place: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "db": 0,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": SOCKET_TIMEOUT,
    }
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    if parts.scheme.startswith("rediss"):
        options |= {
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_min_version": TLSVersion.TLSv1_2,
        }
    options |= place
    known = _known(parts.scheme)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"unknown option {name!r}; there are {', '.join(known)}")
        try:
            options[name] = known[name](value)
        except ValueError as error:
            raise ValueError(f"option {name!r}: {error}") from None
    if options.get("ssl_cert_reqs") == "none":
        options["ssl_check_hostname"] = False  # there is no name in what is not looked at
    if parts.scheme.endswith(CLUSTER) and options["db"]:
        raise ValueError("a cluster has no database but 0")
    return options


def _known(scheme: str) -> Mapping[str, Callable[[str], Any]]:
    """The options that a URL of this scheme may have, by name."""
    known = dict(_OPTIONS)
    if scheme.startswith("rediss"):
        known |= _TLS_OPTIONS
    if scheme.endswith(SENTINEL):
        known |= _SENTINEL_OPTIONS
    return known


def _place(parts: SplitResult) -> tuple[tuple[Server, ...], str, dict[str, Any]]:
    """The servers named, the name of a service, and what else says where to connect."""
    if parts.fragment:
        raise ValueError("expected nothing after a #")
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if parts.hostname or not path.strip("/"):
            raise ValueError("expected unix:///path/to/the/socket")
        return (), "", {"path": path}
    port = SENTINEL_PORT if parts.scheme.endswith(SENTINEL) else PORT
    servers = tuple(Server(h.hostname or "localhost", h.port or port) for h in _hosts(parts))
    service, database = "", parts.path.strip("/")
    if parts.scheme.endswith(SENTINEL):
        service, _, database = database.partition("/")
        if not service:
            raise ValueError("expected the name of the master after the hosts, as in /mymaster/0")
    place: dict[str, Any] = {"db": _path_database(database)} if database else {}
    if "+" in parts.scheme:
        return servers, unquote(service), place
    if len(servers) > 1:
        raise ValueError("expected one host (several are for redis+cluster and redis+sentinel)")
    return (), "", {**place, "host": servers[0].host, "port": servers[0].port}


def _path_database(text: str) -> int:
    try:
        return _database(text)
    except ValueError:
        raise ValueError("expected the number of a database after the host") from None
