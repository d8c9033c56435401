"""Every setting, in one frozen object, from five sources.

    command line  >  App(...)  >  TASKRUNNER_*  >  taskrunner.toml or pyproject.toml  >  defaults

Settings are read once, all mistakes are reported together, and nothing has started by then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from taskrunner import _settings
from taskrunner._settings import CODE, COMMAND_LINE
from taskrunner.errors import ConfigError, OptionError
from taskrunner.hiding import HIDDEN, hide_password, hide_passwords, is_secret
from taskrunner.withheld import SERVICE_ONLY, known_with

__all__ = ["CODE", "COMMAND_LINE", "SETTING_NAMES", "Config", "hide_password", "hide_passwords"]

_URLS: Final = ("broker", "backend")
_KEYS: Final = ("encryption_keys", "signing_keys")


@dataclass(frozen=True, slots=True, repr=False)
class Config:
    """Settings after all sources were put together.

    Names carry their unit: `_s` seconds, `_bytes` bytes.
    """

    broker: str = "memory://"
    backend: str | None = None
    """None: the broker keeps results itself"""
    namespace: str = "taskrunner"
    queues: tuple[tuple[str, int], ...] | None = None
    """names and weights; None: every queue of the namespace, also those that appear later"""
    strict: bool = False
    """drain queues in the order of their weights instead of sharing by them"""
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    """the fewest, where it was given as a range"""
    grow_after_s: float = 0.5
    """how long work must wait, with every process busy, until there is one more"""
    shrink_after_s: float = 30.0
    """how long fewer processes must have been enough"""
    concurrency: int = 1
    """jobs at once in each process"""
    prefetch: int | None = None
    """jobs given to a process beyond those it runs; None: learnt from their durations"""
    prefetch_limit_bytes: int = 8 * 1024 * 1024
    max_jobs: int | None = None
    """jobs that a process is given before another takes its place"""
    max_memory_bytes: int | None = None
    """resident memory of a process from which on another takes its place"""
    timeout_s: float | None = None
    retries: int = 3
    max_crashes: int = 3
    retention_s: float = 3600.0
    failed_retention_s: float = 30 * 86_400.0
    failed_max: int = 100_000
    unknown_task_ttl_s: float = 86_400.0
    payload_limit_bytes: int = 1024 * 1024
    result_limit_bytes: int = 1024 * 1024
    traceback_limit_bytes: int = 16 * 1024
    shutdown_timeout_s: float = 25.0
    grace_s: float = 5.0
    """between asking a running task to stop and killing its process"""
    silence_stopped_s: float = 10.0
    """without a sign of life from a process that a signal has stopped, until it is killed"""
    silence_blocked_s: float = 60.0
    """the same, from one that does not use the processor either"""
    silence_busy_s: float = 300.0
    """the same, from one that computes and runs something without a time limit"""
    lease_s: float = 15.0
    start_timeout_s: float = 60.0
    """for the fork server to import the application"""
    idle_look_s: float = 5.0
    """how often an idle node looks for work that no bell announced"""
    outcomes_limit: int = 100_000
    """outcomes kept while the broker is away; beyond, nothing new is started"""
    health_port: int | None = None
    """where a supervisor answers over HTTP how it is; 0: any free port; None: nowhere"""
    health_host: str = "127.0.0.1"
    api_port: int | None = None
    """where the HTTP service answers beside a supervisor; 0: any free port; None: nowhere"""
    api_host: str = "127.0.0.1"
    api_key_file: str | None = None
    """where the key is written that is made at the start, for a broker that lives in this process"""
    api_key_secret: str | None = None
    """under which the digests of API keys are made; None: under a salt of each"""
    request_rate: float = 1000.0
    """requests a second that the HTTP service takes from one identity, and so many at once"""
    request_limit_bytes: int = 16 * 1024 * 1024
    request_timeout_s: float = 60.0
    """for a request to the HTTP service that does not wait on purpose"""
    body_timeout_s: float = 30.0
    """for the body of a request to come"""
    waits_limit: int = 500
    """requests that wait on purpose, all together"""
    waits_limit_each: int = 100
    """the same, of one identity"""
    connections_limit: int = 1000
    cors_origins: tuple[str, ...] = ()
    """whose pages may use the HTTP service from a browser"""
    trusted_proxies: tuple[str, ...] = ()
    """who is believed what X-Forwarded-For says"""
    jwt_keys_file: str | None = None
    """what tokens are checked with; None: no tokens"""
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_leeway_s: float = 30.0
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    tls_client_ca_file: str | None = None
    """clients need a certificate that this one has signed"""
    tls_clients_file: str | None = None
    """whom a client's certificate stands for"""
    tls_minimum: str = "1.2"
    audit_file: str | None = None
    """where changes over HTTP are written down; None: in the log"""
    audit_retention_s: float = 30 * 86_400.0
    audit_max: int = 20_000
    """changes that the store remembers"""
    durability_timeout_s: float = 2.0
    """how long the store may take to confirm a job's `durability`"""
    encryption_keys: tuple[str, ...] = field(default=(), repr=False)
    """`ID:SECRET` each; the first encrypts, all decrypt"""
    signing_keys: tuple[str, ...] = field(default=(), repr=False)
    require_encryption: bool = False
    """refuse what is not encrypted"""
    require_signing: bool = False
    log_level: str = "info"
    log_format: str = "text"
    processes_max: int | None = field(default=None, kw_only=True)
    """the most, where `processes` was given as a range; None: always as many as `processes`"""
    sources: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, kw_only=True
    )
    """where each setting came from: "command line", "App(...)", "TASKRUNNER_RETRIES",
    "taskrunner.toml", "pyproject.toml" or "default"; those not named here are defaults too"""

    @classmethod
    def load(
        cls,
        *,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        code: Mapping[str, Any] = MappingProxyType({}),
        environ: Mapping[str, str] | None = None,
        folder: Path | str | None = None,
    ) -> Config:
        """Put the sources together.

        `arguments` are those of the command line, as text or as values, `code` those of `App(...)`;
        None in either means: not given. `environ` is the process's own unless given, `folder` the
        current one. Raises ConfigError with every mistake of every source, also where a stronger
        source says the same setting right.
        """
        problems: list[str] = []
        weakest_first = (
            _settings.file(Path(folder) if folder is not None else Path.cwd(), problems),
            _settings.environment(known_with(os.environ) if environ is None else environ),
            _settings.code(code),
            _settings.command_line(arguments),
        )
        values: dict[str, Any] = {}
        sources = dict.fromkeys(SETTING_NAMES, "default")
        for source in weakest_first:
            for name, raw in source.values.items():
                try:
                    values[name] = source.read(name, raw)
                    sources[name] = source.fill(source.label, name)
                except ValueError as problem:
                    problems.append(str(problem))
        if problems:
            raise ConfigError(problems)
        return cls(**{**values, **span(values)}, sources=MappingProxyType(sources))

    def source(self, name: str) -> str:
        """Where this setting came from."""
        return self.sources.get(name, "default")

    def pack(self) -> dict[str, Any]:
        """As plain values, for the processes that run tasks. Passwords of URLs and keys are in it, no
        other secret."""
        values = {name: getattr(self, name) for name in (*SETTING_NAMES, "processes_max")}
        values |= dict.fromkeys(SERVICE_ONLY)
        if self.queues is not None:
            values["queues"] = [list(pair) for pair in self.queues]
        return {**values, "sources": dict(self.sources)}

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> Config:
        """The Config that `pack` made these values of."""
        values = dict(packed)
        if values["queues"] is not None:
            values["queues"] = tuple((name, weight) for name, weight in values["queues"])
        for name in (*_KEYS, "cors_origins", "trusted_proxies"):
            values[name] = tuple(values[name])
        return cls(**{**values, "sources": MappingProxyType(values["sources"])})

    @property
    def most_processes(self) -> int:
        """What `processes` allows at most."""
        return max(self.processes, self.processes_max or 0)

    def shown(self, name: str) -> Any:
        """A setting's value as it may be printed: with the password of a URL hidden, and of keys
        the ids alone."""
        value = getattr(self, name)
        if name == "processes" and self.most_processes > self.processes:
            return f"{self.processes}..{self.most_processes}"
        if name in _KEYS:
            return [text.partition(":")[0] for text in value]
        if is_secret(name) and value is not None:
            return HIDDEN
        return hide_password(value) if name in _URLS and value is not None else value

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={self.shown(name)!r}' for name in SETTING_NAMES)})"


def span(values: Mapping[str, Any]) -> dict[str, int | None]:
    """The two fields of the setting `processes`, where it is among these values. Raises OptionError
    for one that is not accepted."""
    if values.get("processes") is None:
        return {}
    kind = _settings.KINDS["processes"]
    try:
        checked = kind.check(values["processes"])
    except (ValueError, TypeError) as error:
        text = f"processes={values['processes']!r}: expected {kind.accepts}"
        raise OptionError(text) from error
    if isinstance(checked, int):
        return {"processes": checked, "processes_max": None}
    low, high = map(int, checked.split(".."))
    return {"processes": low, "processes_max": high}


_NOT_SETTINGS: Final = ("sources", "processes_max")
SETTING_NAMES: Final = tuple(f.name for f in fields(Config) if f.name not in _NOT_SETTINGS)
"""Every setting, in the order the docs list them."""

assert set(SETTING_NAMES) == set(_settings.KINDS)
