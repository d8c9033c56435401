"""What the HTTP service asks of uvicorn: TLS, limits, and what uvicorn does not do itself.

uvicorn does not hand a client's certificate on, and waits for ever for a request that does not come. So
connections are of a class of ours: what it knows of the certificate goes along with each request, and
a connection that asks nothing for `QUIET_S` is closed.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from taskrunner.config import Config
from taskrunner.errors import ConfigError, StartError

QUIET_S: Final = 20.0
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server(service: Any, *, config: Config, **options: Any) -> Any:
    """A `uvicorn.Server` for the service, with the settings' limits and TLS. `options` are those of
    `uvicorn.Config`. When INT or TERM is sent it ends what runs and returns. Raises ConfigError for
    certificates that cannot be used."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            with super().capture_signals():
                yield
                # Not raised again afterwards: whoever was told to stop has stopped in good order.
                self._captured_signals.clear()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Whoever listens to events would listen for ever.
            feed = getattr(getattr(service, "state", None), "feed", None)
            if feed is not None:
                feed.close()
            await super().shutdown(sockets)

    context = tls_context(config)
    settings = uvicorn.Config(service, **{**limits(config), **options})
    settings.load()
    if context is not None:
        # Its own way leaves the oldest version that is spoken to the system.
        settings.ssl = context
    return Server(settings)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0: any that is free. Raises StartError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise StartError(f"cannot listen on {host}, port {port}: {error.strerror}") from error


def url_of(listening: socket.socket, config: Config) -> str:
    """Where a service on that socket is found."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if config.tls_cert_file is None else 'https'}://{shown}:{port}"


def limits(config: Config) -> dict[str, Any]:
    """Options of `uvicorn.Config`."""
    return {
        "http": connection_class(),
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "timeout_graceful_shutdown": math.ceil(config.shutdown_timeout_s),
        "server_header": False,
        "limit_concurrency": config.connections_limit,
        "proxy_headers": bool(config.trusted_proxies),
        "forwarded_allow_ips": list(config.trusted_proxies),
    }


def tls_context(config: Config) -> ssl.SSLContext | None:
    """How TLS is spoken; None: not at all. Raises ConfigError, which names the file."""
    if config.tls_cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.tls_minimum]
    try:
        # A key that needs a passphrase is refused instead of asked for.
        context.load_cert_chain(config.tls_cert_file, config.tls_key_file, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        files = " and ".join(filter(None, (config.tls_cert_file, config.tls_key_file)))
        raise ConfigError([f"the certificate of the service, {files}: {_said(error)}"]) from error
    if config.tls_client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(config.tls_client_ca_file)
        except (OSError, ssl.SSLError) as error:
            where = config.tls_client_ca_file
            raise ConfigError([f"the authority for clients, {where}: {_said(error)}"]) from error
    return context


def _said(error: OSError) -> str:
    return error.strerror or str(error)


class _Watched:
    """What is ours of a connection; the rest is uvicorn's."""

    quiet: float
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    app: Any

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._inner = self.app
        self.app = self._answer
        secure = transport.get_extra_info("ssl_object")
        self._certificate = secure.getpeercert() if secure is not None else None
        self._running = 0
        self._quiet_since = self.loop.time()
        self._timer = self.loop.call_later(self.quiet, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)  # type: ignore[misc]

    def _look(self) -> None:
        passed = 0.0 if self._running else self.loop.time() - self._quiet_since
        if passed >= self.quiet:
            self.transport.close()
        else:
            self._timer = self.loop.call_later(self.quiet - passed + 0.01, self._look)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {
            **scope.get("extensions", {}),
            "taskrunner.certificate": self._certificate,
        }
        self._running += 1
        try:
            await self._inner(scope, receive, send)
        finally:
            self._running -= 1
            self._quiet_since = self.loop.time()


def connection_class(quiet: float = QUIET_S) -> type[asyncio.Protocol]:
    """The class of the service's connections; `quiet` as QUIET_S."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    made = type("Connection", (_Watched, cast(Any, AutoHTTPProtocol)), {"quiet": quiet})
    return cast("type[asyncio.Protocol]", made)
