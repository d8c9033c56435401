"""What an App is wired to: settings, broker, backend, and the waiter for results.

    code's own settings ─▶ Config ─▶ broker, backend ─▶ ResultWaiter
    adopt(config, broker) ──▲

Each is made when it is first needed, once, and belongs to the process that made it: a child that
was forked meanwhile leaves the parent's connections alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from taskrunner import crashpoints, registry
from taskrunner.backends.base import ResultBackend
from taskrunner.brokers.base import BrokerClient, Limits
from taskrunner.config import CODE, COMMAND_LINE, SETTING_NAMES, Config
from taskrunner.errors import OptionError
from taskrunner.naming import nearest
from taskrunner.seals import Seals
from taskrunner.waiting import ResultWaiter

T = TypeVar("T")


class Wiring:
    """Settings and connections of one App. Thread-safe.

    `broker` and `backend`: a URL, an object of the user's own, or None. Raises OptionError for a
    setting that does not exist.
    """

    def __init__(
        self,
        *,
        broker: str | BrokerClient | None,
        backend: str | ResultBackend | None,
        namespace: str | None,
        settings: Mapping[str, Any],
    ) -> None:
        self._settings = _settings(broker, backend, namespace, settings)
        self._own_broker = broker if isinstance(broker, BrokerClient) else None
        self._own_backend = backend if isinstance(backend, ResultBackend) else None
        self._lock = threading.RLock()
        self._seals: Seals | None = None
        self._config: Config | None = None
        self._adopted = False
        self._broker: BrokerClient | None = None
        self._backend: ResultBackend | None = None
        self._waiter: ResultWaiter | None = None
        self._opened_in = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was given in code, as it was given."""
        return MappingProxyType(self._settings)

    @property
    def config(self) -> Config:
        """The settings: those given in code over the environment over files. Raises ConfigError."""
        if self._config is None:
            with self._lock:
                if self._config is None:
                    self._config = self._told(Config.load(code=self._settings))
        return self._config

    def _told(self, config: Config) -> Config:
        """Settings that tell of the objects given in code, which no URL names."""
        for name, own in (("broker", self._own_broker), ("backend", self._own_backend)):
            if own is not None and config.source(name) != COMMAND_LINE:
                told: dict[str, Any] = {name: repr(own)}
                sources = MappingProxyType({**config.sources, name: CODE})
                config = replace(config, **told, sources=sources)
        return config

    def config_with(self, settings: Mapping[str, Any]) -> Config:
        """The settings with these over them. Raises ConfigError."""
        if not settings:
            return self.config
        loaded = self._told(Config.load(code={**self._settings, **settings}))
        if not self._adopted:
            return loaded
        names = [*settings, *(["processes_max"] if "processes" in settings else [])]
        return replace(self.config, **{name: getattr(loaded, name) for name in names})

    @property
    def broker(self) -> BrokerClient:
        """The broker. Raises OptionError for a URL that leads to none."""
        if self._broker is None:
            with self._lock:
                if self._broker is None:
                    self._opened_in = os.getpid()
                    own = None if self._is_overruled("broker") else self._own_broker
                    self._broker = _armed(own or self._made_broker())
        return self._broker

    def _is_overruled(self, name: str) -> bool:
        """Whether the command line names another than the one that was given in code."""
        return self.config.source(name) == COMMAND_LINE

    def _made_broker(self) -> BrokerClient:
        config = self.config
        limits = Limits(
            failed_retention=config.failed_retention_s,
            failed_max=config.failed_max,
            retention=config.retention_s,
            confirm=config.durability_timeout_s,
        )
        return registry.broker_from_url(config.broker, namespace=config.namespace, limits=limits)

    @property
    def seals(self) -> Seals:
        """What the keys do. Raises ConfigError where that cannot be done here."""
        if self._seals is None:
            self._seals = Seals(self.config)
        return self._seals

    @property
    def backend(self) -> ResultBackend | None:
        """Where results are kept; None: the broker keeps them itself."""
        if self._own_backend is not None and not self._is_overruled("backend"):
            return self._own_backend
        url = self.config.backend
        if url is None or url == self.config.broker:
            return None
        if self._backend is None:
            with self._lock:
                if self._backend is None:
                    self._opened_in = os.getpid()
                    namespace = self.config.namespace
                    self._backend = _armed(registry.backend_from_url(url, namespace=namespace))
        return self._backend

    @property
    def waiter(self) -> ResultWaiter:
        """What waits for results; one for each process."""
        if self._waiter is None or self._opened_in != os.getpid():
            broker = self.broker
            with self._lock:
                if self._waiter is None or self._opened_in != os.getpid():
                    self._waiter = ResultWaiter(broker)
                    self._opened_in = os.getpid()
        return self._waiter

    def adopt(self, config: Config, broker: BrokerClient | None) -> None:
        """Use these instead of one's own, and drop connections."""
        self.close()
        with self._lock:
            self._config = self._told(config)
            self._seals = None
            self._adopted = True
            self._broker = _armed(broker)
            self._backend = None

    def close(self) -> None:
        """Let go of connections and threads; the next use opens new ones."""
        with self._lock:
            waiter, self._waiter = self._waiter, None
            if self._opened_in != os.getpid():
                return  # they are the parent's: closing them here, after a fork, would end them there
        if waiter is not None:
            waiter.close()
        for opened in (self._broker, self._backend or self._own_backend):
            if opened is not None:
                opened.close()


def _armed(made: T) -> T:
    """With crash points around its calls, where a test has armed one."""
    return crashpoints.surround(made) if crashpoints.ARMED else made


def _settings(
    broker: object, backend: object, namespace: str | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What was given in code. Raises OptionError for a setting that does not exist."""
    known = set(SETTING_NAMES)
    for name in settings:
        if name not in known:
            raise OptionError(f"there is no setting {name!r}; {nearest(name, known)}")
    found = dict(settings)
    for name, value, kind in (
        ("broker", broker, BrokerClient),
        ("backend", backend, ResultBackend),
    ):
        if isinstance(value, str):
            found[name] = value
        elif value is not None and not isinstance(value, kind):
            raise OptionError(f"{name}={value!r}: expected a URL or a {kind.__name__}")
    if namespace is not None:
        found["namespace"] = namespace
    return found
