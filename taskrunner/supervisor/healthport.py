"""The HTTP port that tells orchestrators how a node is.

    GET /livez      200: its loop turns and its threads are there; else 503
    GET /readyz     200: besides, it would run a job now; else 503
    GET /healthz    the same as /readyz

The body is a small JSON document that names the hop that fails. Nothing is asked of the main thread
but to turn once, so a node that cannot answer here is stopped or blocked, and that is the point.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Final

from taskrunner.clock import monotonic
from taskrunner.errors import StartError
from taskrunner.probes import Fault
from taskrunner.supervisor.readiness import Readiness

MOST_CONNECTIONS: Final = 16
LONGEST_S: Final = 5.0
"""How long a connection may take, from its first byte to its last."""
POLL_S: Final = 0.25

logger = logging.getLogger("taskrunner.supervisor")


class _Server(ThreadingMixIn, HTTPServer):
    """A thread for each connection, so many at most, and none for long."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 4 * MOST_CONNECTIONS

    def __init__(self, host: str, port: int, readiness: Readiness) -> None:
        self.readiness = readiness
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name server for this host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.address_family == socket.AF_INET6:
            with contextlib.suppress(OSError, AttributeError):
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "taskrunner", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= MOST_CONNECTIONS:
                request.close()
                return
            self._open[request] = monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Hang up on whoever takes too long. Called a few times a second."""
        self._hang_up(older_than=monotonic() - LONGEST_S)

    def server_close(self) -> None:
        super().server_close()
        self._hang_up(older_than=monotonic())

    def _hang_up(self, older_than: float) -> None:
        with self._lock:
            late = [request for request, since in self._open.items() if since <= older_than]
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a connection to the health port failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = LONGEST_S
    server_version = "taskrunner"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        assert isinstance(self.server, _Server)
        readiness = self.server.readiness
        if path == "/livez":
            self._answer("live", readiness.not_alive())
        elif path in ("/readyz", "/healthz"):
            self._answer("ready", readiness.not_ready())
        else:
            self._send(404, {"error": "there are /livez, /readyz and /healthz"})

    def _answer(self, word: str, fault: Fault | None) -> None:
        if fault is None:
            self._send(200, {word: True})
        else:
            self._send(503, {word: False, "hop": str(fault.hop), "why": fault.text})

    def _send(self, code: int, what: Mapping[str, Any]) -> None:
        body = json.dumps(what).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name in the base
        logger.debug("health port: %s", format % args)


class HealthPort:
    """Listens from `start` to `stop`; not at all where the port is None."""

    def __init__(self, host: str, port: int | None, readiness: Readiness) -> None:
        self._host = host
        self._port = port
        self._readiness = readiness
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Raises StartError where the port cannot be had."""
        if self._port is None:
            return
        try:
            self._server = _Server(self._host, self._port, self._readiness)
        except (OSError, OverflowError) as error:
            where = f"{self._host} port {self._port}"
            raise StartError(f"the health port cannot listen on {where}: {error}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(POLL_S,),
            name="taskrunner health port",
            daemon=True,
        )
        self._thread.start()

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens; None before `start` and after `stop`."""
        server = self._server
        return None if server is None else (self._host, server.server_port)

    def stop(self) -> None:
        with self._lock:
            server, self._server = self._server, None
            thread, self._thread = self._thread, None
        if server is not None:
            server.shutdown()
            server.server_close()
        if thread is not None:
            thread.join()
