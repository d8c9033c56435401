"""The HTTP service beside a supervisor, in one process: `run --api-port`.

    main thread: supervisor ── one App, one broker ── thread "taskrunner api": uvicorn

A store that lives in this process can be reached by nobody else, so no key can be made elsewhere: one
that may do everything is made at the start, and shown once or written to a file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taskrunner.access import KeyStore
from taskrunner.access.firstkey import first_key
from taskrunner.app import App
from taskrunner.cli.output import complain
from taskrunner.config import Config
from taskrunner.errors import ConfigError
from taskrunner.events import Events, Ran
from taskrunner.probes import Fault

if TYPE_CHECKING:
    from taskrunner.api.feed import Feed

PATIENCE_S = 5.0
"""For requests to end in, when the supervisor has."""


class ServiceBeside:
    """Listens from the moment it is made. Raises StartError where the port cannot be had, ConfigError
    where the extra is not installed or settings do not go together."""

    def __init__(self, app: App, events: Events) -> None:
        from taskrunner.api import transport
        from taskrunner.api.metrics import NodeNumbers

        config = app.config
        if config.api_key_file is not None and app.broker.capabilities.shared:
            raise ConfigError([_not_needed(config)])
        assert config.api_port is not None
        self._transport = transport
        self._socket = transport.listen(config.api_host, config.api_port)
        self._numbers = NodeNumbers()
        self._events = events
        self._feed: Feed | None = None
        events.count_runs = self._ran
        events.subscribe(self._numbers.hear)

    def _ran(self, runs: Sequence[Ran]) -> None:
        self._numbers.ran(runs)
        if self._feed is not None:
            self._feed.ran(runs)

    @contextmanager
    def __call__(self, app: App, not_ready: Callable[[], Fault | None]) -> Iterator[None]:
        """Serve while the block is open."""
        from taskrunner.api import create_api

        with self._socket:
            service = create_api(app, readiness=not_ready, numbers=self._numbers)
            self._feed = service.state.feed
            self._events.subscribe(service.state.feed.hear)
            server = self._transport.server(service, config=app.config)
            complain(f"taskrunner: the API on {self._transport.url_of(self._socket, app.config)}")
            if not app.broker.capabilities.shared:
                _show_key(app)
            thread = threading.Thread(
                target=server.run, kwargs={"sockets": [self._socket]}, name="taskrunner api"
            )
            thread.daemon = True
            thread.start()
            try:
                yield
            finally:
                server.should_exit = True
                thread.join(PATIENCE_S)
                server.force_exit = True
                thread.join(PATIENCE_S)


def _show_key(app: App) -> None:
    """Raises ConfigError where the file cannot be written."""
    path = app.config.api_key_file
    made = first_key(KeyStore(app.broker, pepper=app.config.api_key_secret), path)
    if path is None:
        complain(f"taskrunner: its key, shown this once: {made.text}")
    else:
        complain(f"taskrunner: its key is in {path}")


def _not_needed(config: Config) -> str:
    return (
        f"api_key_file (from {config.source('api_key_file')}): a key is made at the start only for a"
        " broker that lives in this process; for this one: taskrunner keys create APP --scope SCOPE"
    )
